"""Progress of a command: a bar on a terminal, elsewhere a line per minute."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich import get_console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TimeRemainingColumn,
)

from deml_tf.cli.printing import say

_EVERY = 60.0  # seconds between two lines
_Item = TypeVar("_Item")


def track(
    items: Iterable[_Item],
    title: str | None,
    total: int,
    size: Callable[[_Item], int] = lambda _: 1,
) -> Iterator[_Item]:
    """Pass items on one by one, and show how much is done.

    Args:
        items: What is worked on.
        title: Name of the work; None shows nothing.
        total: Sum of the sizes; 0 shows nothing.
        size: Size of an item, in the units shown; by default 1.

    Returns:
        The items. One is done when the next one is asked for.
    """
    if title is None or not total:
        yield from items
        return
    left = TimeRemainingColumn(elapsed_when_finished=True)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), left)
    bar = Progress(*columns, disable=not get_console().is_terminal)
    task, done, told = bar.add_task(title, total=total), 0, time.monotonic()
    with bar:
        for item in items:
            if bar.disable and time.monotonic() - told >= _EVERY:
                say(f"{title}: {done}/{total}")
                told = time.monotonic()
            yield item
            done += size(item)
            bar.update(task, completed=done)
    if bar.disable:
        say(f"{title}: {done}/{total}")
