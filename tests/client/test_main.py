"""The command's parts: what is kept when it ends early, and what it prints."""

import types
from typing import Any

import numpy as np
import pytest

from deml_tf.cli.termination import Terminated
from deml_tf.client import __main__ as command
from deml_tf.client.answers import Answer
from deml_tf.errors import DataError
from tests.client.made_up import rows_of


class Ending:
    """Gives answers to two images, then ends so."""

    def __init__(self, error):
        self.error, self.closed = error, False

    def answers(self, images):
        for index in (1, 0):
            yield index, Answer(np.full(4, 0.5, "float32"), np.zeros((1, 4), "float32"))
        raise self.error

    def close(self):
        self.closed = True


@pytest.mark.parametrize(
    "error, leaves",
    [
        (DataError("It is gone."), DataError),
        (KeyboardInterrupt(), SystemExit),
        (RuntimeError("a fault of ours"), RuntimeError),
    ],
)
def test_what_came_is_kept(error, leaves, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "FLAGS", types.SimpleNamespace(max_side=0))
    paths = [tmp_path / f"{n}.jpg" for n in range(3)]
    output = tmp_path / "out.jsonl"
    client: Any = Ending(error)
    with pytest.raises(leaves) as caught:
        command.receive(client, paths, output, 4)
    kept = f"2 of 3 images were received and are in {tmp_path}/out.partial.jsonl"
    told = [str(caught.value), *getattr(caught.value, "__notes__", [])]
    assert kept in "".join(told) + capsys.readouterr().err
    rows = rows_of(tmp_path / "out.partial.jsonl")
    assert rows["path"] == [str(path) for path in paths[:2]]
    assert rows["version"] == [4, 4] and rows["valid"] == [True, True]
    assert client.closed and not output.exists()


@pytest.mark.parametrize(
    "error, word, status",
    [(KeyboardInterrupt(), "Interrupted", 130), (Terminated(), "Terminated", 143)],
)
def test_how_it_was_ended_is_said(error, word, status, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "FLAGS", types.SimpleNamespace(max_side=0))
    paths = [tmp_path / f"{n}.jpg" for n in range(3)]
    client: Any = Ending(error)
    with pytest.raises(SystemExit) as caught:
        command.receive(client, paths, tmp_path / "out.jsonl", 4)
    assert caught.value.code == status
    assert capsys.readouterr().err.startswith(f"error: {word}; 2 of 3 images were")


def test_names_cannot_forge_lines(tmp_path, capsys):
    paths = [tmp_path / "a\x1b[2J\n\udcff.jpg"]
    command.report(paths, [Answer(reason="not an image")], {}, 1.0)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(line.isprintable() for line in lines)
    assert lines[1].endswith(r"a\x1b[2J\n\xff.jpg: not an image")
