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
            makes it; `TINY` stands for `--flagfile=tiny.cfg`, and `NAME=VALUE` in front
            is a variable of the environment.
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

    def job(self):
        """The module, its flags and its variables."""
        words, environment = shlex.split(self.typed), {}
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            environment[name] = value
        return {"module": words[0], "flags": words[1:], "environment": environment}
