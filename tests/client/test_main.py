"""The command's parts: what is kept when it ends early, and what it prints."""

import io
import signal
import types
from typing import Any
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from deml_tf.cli import termination
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


def test_what_came_in_earlier_runs_is_kept_too(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "FLAGS", types.SimpleNamespace(max_side=0))
    for names in ("abc", "def", "ghi"):
        client: Any = Ending(DataError("It is gone."))
        paths = [tmp_path / name for name in names]
        with pytest.raises(DataError):
            command.receive(client, paths, tmp_path / "out.jsonl", 4)
    for number, names in (("", "ab"), ("2", "de"), ("3", "gh")):
        rows = rows_of(tmp_path / f"out.partial{number}.jsonl")
        assert rows["path"] == [str(tmp_path / name) for name in names]


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


class Given(types.SimpleNamespace):
    """Flags; their values are also found as absl's are."""

    def __getitem__(self, name):
        return types.SimpleNamespace(value=getattr(self, name), help="")


def test_every_flag_reaches_the_client(tmp_path, monkeypatch):
    names = {
        "protocol": "rest",
        "version": 3,
        "label": "canary",
        "signature": "explain",
        "batch_size": 5,
        "concurrency": 6,
        "timeout": 7.0,
        "retries": 9,
        "total_timeout": 10.0,
        "tls": True,
        "ca": "ca.pem",
    }
    where = {"server": "far:8501", "model": "birds", "header": ["key=secret"]}
    output = str(tmp_path / "out.npz")
    flags = Given(**names, **where, output=output, max_side=0)
    monkeypatch.setattr(command, "FLAGS", flags)
    client = mock.Mock(side_effect=DataError("It is gone."))
    monkeypatch.setattr(command, "Client", client)
    (tmp_path / "a.jpg").touch()
    with pytest.raises(DataError, match="It is gone"):
        command.main([str(tmp_path / "a.jpg")])
    headers = {"key": "secret"}
    client.assert_called_once_with("far:8501", "birds", **names, headers=headers)


def test_what_was_received_is_written_before_the_end(tmp_path, monkeypatch):
    """SIGTERM that comes while the output is written."""
    names = ("server", "model", "protocol", "version", "label", "signature", "ca")
    numbers = ("batch_size", "concurrency", "timeout", "retries", "total_timeout")
    output = tmp_path / "out.jsonl"
    given = dict.fromkeys([*names, *numbers, "tls"]) | {"server": "a:1", "model": "b"}
    flags = Given(**given, header=[], output=str(output), max_side=0)
    monkeypatch.setattr(command, "FLAGS", flags)
    client = mock.MagicMock()
    client.return_value.__enter__.return_value.check.return_value = 3
    monkeypatch.setattr(command, "Client", client)
    monkeypatch.setattr(command, "receive", lambda *_: [Answer(reason="not asked")])
    write = command.write_embeddings
    ends = lambda *a: (termination._come(signal.SIGTERM, mock.Mock()), write(*a))  # noqa: E731
    monkeypatch.setattr(command, "write_embeddings", ends)
    monkeypatch.setattr(termination, "_asked", False)
    (tmp_path / "a.jpg").touch()
    with pytest.raises(Terminated):
        command.main([str(tmp_path / "a.jpg")])
    assert rows_of(output)["valid"] == [False]


def test_images_are_sent_as_small_as_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "FLAGS", types.SimpleNamespace(max_side=40))
    Image.new("RGB", (60, 80)).save(tmp_path / "a.png")
    sent = []

    def answers(images):
        for index, image in enumerate(images):
            sent.append(Image.open(io.BytesIO(image.read())).size)
            yield index, Answer(reason="not asked")

    client: Any = types.SimpleNamespace(answers=answers)
    command.receive(client, [tmp_path / "a.png"], tmp_path / "out.jsonl", 1)
    assert sent == [(30, 40)]


def test_of_many_images_that_failed_some_are_named(tmp_path, capsys):
    paths = [tmp_path / f"{n}.jpg" for n in range(25)]
    command.report(paths, [Answer(reason="not an image")] * 25, {}, 1.0)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 22 and lines[20] == f"not embedded: {paths[19]}: not an image"
    assert lines[21] == "... and 5 more, which the output names"


def test_names_cannot_forge_lines(tmp_path, capsys):
    paths = [tmp_path / "a\x1b[2J\n\udcff.jpg"]
    command.report(paths, [Answer(reason="not an image")], {}, 1.0)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(line.isprintable() for line in lines)
    assert lines[1].endswith(r"a\x1b[2J\n\xff.jpg: not an image")
