"""What a wrong input is: how it is made, what is typed, what the user then reads."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One kind of wrong input.

    Attributes:
        what: what is wrong, in words.
        command: what is typed after `python -m deml_tf.` in a folder as `world.lay_out`
            makes it; `TINY` stands for `--flagfile=tiny.cfg`.
        status: the exit status, 2 for usage and 1 for data.
        message: all of the standard error after `error: `, the folder written as DIR.
        make: puts the wrong input into the folder.
        leaves: what the command may leave behind although it fails.
    """

    what: str
    command: str
    status: int
    message: str
    make: Callable[[Path], object] = lambda folder: None
    leaves: frozenset[str] = frozenset()

    @property
    def typed(self):
        return self.command.replace("TINY", "--flagfile=tiny.cfg")

    def arguments(self):
        """The module and its flags."""
        module, *flags = shlex.split(self.typed)
        return module, flags
