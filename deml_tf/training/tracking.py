"""Forwards the journal of a training to an experiment tracker."""

import contextlib
import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from deml_tf.cli.error_text import first_sentence
from deml_tf.cli.printing import say
from deml_tf.errors import DataError, UsageError
from deml_tf.runs.folder import RunFolder

FILE = "tracking.json"
"""In the run folder: the tracker's own names of the run, to resume it there."""

Forward = Callable[[int, Mapping[str, float]], None]


class Tracker(Protocol):
    """A run as a tracker keeps it.

    Attributes:
        id: The tracker's name of the run.
    """

    id: str

    def log(self, step: int, record: Mapping[str, float]) -> None:
        """Log numbers of a step, by name."""
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


class MLflow:
    """A run of MLflow, at the server that MLFLOW_TRACKING_URI names.

    Args:
        library: The package mlflow.
        name: Name of the run.
        flags: Its settings.
        known: The run's id, if it was begun before.
    """

    def __init__(
        self, library: Any, name: str, flags: Mapping[str, object], known: str | None
    ):
        self._library = library
        if known:
            self.id = library.start_run(run_id=known).info.run_id
        else:
            self.id = library.start_run(run_name=name).info.run_id
            library.log_params(flags)

    def log(self, step: int, record: Mapping[str, float]) -> None:
        """Log numbers of a step."""
        self._library.log_metrics(dict(record), step=step)

    def close(self) -> None:
        """End the run."""
        self._library.end_run()


class Wandb:
    """A run of Weights & Biases, of the project that WANDB_PROJECT names.

    Args:
        library: The package wandb.
        name: Name of the run.
        flags: Its settings.
        known: The run's id, if it was begun before.
    """

    def __init__(
        self, library: Any, name: str, flags: Mapping[str, object], known: str | None
    ):
        self._run = library.init(
            name=name, config=dict(flags), id=known, resume="allow"
        )
        self.id = self._run.id

    def log(self, step: int, record: Mapping[str, float]) -> None:
        """Log numbers of a step."""
        self._run.log(dict(record), step=step)

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()


TRACKERS: Mapping[str, Callable[..., Tracker]] = {"mlflow": MLflow, "wandb": Wandb}
"""Trackers by the name of their package, which is also that of the extra."""


def load_tracker(name: str) -> Any:
    """Return a tracker's package.

    Args:
        name: A key of `TRACKERS`.

    Raises:
        UsageError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UsageError(
            f"track={name} needs {name}, which is not installed: run "
            f"pip install 'deml_tf[{name}]'."
        ) from None


@contextlib.contextmanager
def tracked(
    name: str | None, run: RunFolder, flags: Mapping[str, object]
) -> Iterator[Forward | None]:
    """Open a tracker for a training, and close it at the end.

    A resumed training resumes there too. A tracker that fails during the training is
    named in a warning; the training continues without it.

    Args:
        name: A key of `TRACKERS`; None for none.
        run: The open run folder.
        flags: The run's settings.

    Yields:
        A function that takes the step and its numbers; None without a tracker.

    Raises:
        UsageError: The tracker's package is not installed.
        DataError: The tracker does not accept the run.
    """
    if name is None:
        yield None
        return
    library = load_tracker(name)
    ids = run.read_json(FILE) if (run.path / FILE).exists() else {}
    try:
        tracker = TRACKERS[name](library, run.path.name, flags, ids.get(name))
    except Exception as error:  # whatever the package raises
        raise DataError(
            f"track={name} does not take the run ({first_sentence(error)}): see to "
            "that, or leave it out."
        ) from error
    run.write_json(FILE, {**ids, name: tracker.id})
    failed = False

    def forward(step: int, record: Mapping[str, float]) -> None:
        nonlocal failed
        if not failed:
            failed = _failed(name, lambda: tracker.log(step, record))

    try:
        yield forward
    finally:
        _failed(name, tracker.close)


def _failed(name: str, call: Callable[[], object]) -> bool:
    try:
        call()
    except Exception as error:  # whatever the package raises
        said = first_sentence(error)
        say(f"WARNING: {name} fails ({said}): the run is kept here alone from now on.")
        return True
    return False
