import os
import threading

import pytest

from deml_tf.bulk import read_ahead
from deml_tf.bulk.read_ahead import Content, reading


@pytest.fixture
def files(tmp_path):
    for n in range(30):
        (tmp_path / str(n)).write_bytes(b"%d" % n)
    return [str(tmp_path / str(n)) for n in range(30)]


def test_contents_come_in_order(files):
    batches = [files[n : n + 4] for n in range(0, 30, 4)]
    with reading(batches) as contents:
        found = [[content.encoded for content in batch] for batch in contents]
    numbers = [b"%d" % n for n in range(30)]
    assert found == [numbers[n : n + 4] for n in range(0, 30, 4)]


def test_no_more_than_one_batch_is_read_ahead(files):
    asked = []

    def batches():
        for n in range(10):
            asked.append(n)
            yield files[n : n + 3]

    with reading(batches()) as contents:
        for n, _ in enumerate(contents):
            assert len(asked) == min(n + 2, 10)


def test_the_next_batch_is_read_meanwhile(files, monkeypatch):
    begun = {path: threading.Event() for path in files}

    def read(path):
        begun[path].set()
        return b""

    monkeypatch.setattr(read_ahead, "read_image_file", read)
    with reading([files[:2], files[2:4], files[4:6]]) as contents:
        next(contents)
        assert all(begun[path].wait(60) for path in files[:4])
        assert not begun[files[4]].is_set()


def test_files_that_cannot_be_read_have_a_reason(files, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    names = ("gone", "pipe", "a\0b", "x" * 300)
    paths = [files[0], str(tmp_path), *(str(tmp_path / name) for name in names)]
    with reading([paths]) as contents:
        (found,) = contents
    assert found[0] == Content(b"0")
    assert all(content.encoded == b"" for content in found[1:])
    for content, words in zip(
        found[1:],
        ("it is a folder", "No such file", "it is a pipe", "null byte", "too long"),
        strict=True,
    ):
        assert content.reason.startswith("cannot be read (") and words in content.reason


def test_an_error_ends_the_threads(files):
    before = set(threading.enumerate())
    with (
        pytest.raises(RuntimeError),
        reading([files[n : n + 2] for n in range(20)]) as contents,
    ):
        next(contents)
        raise RuntimeError
    assert set(threading.enumerate()) <= before
