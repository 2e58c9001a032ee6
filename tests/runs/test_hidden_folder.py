"""Hidden folders of killed processes are removed, those of live ones are not."""

import errno
import fcntl
import os
import shutil
import time
from pathlib import Path

import pytest
from forks import Fork

from deml_tf.errors import DataError
from deml_tf.runs.hidden_folder import hidden_folder

LONG = "鳥" * 81  # 243 bytes


def hold(target):
    with hidden_folder(target) as folder:
        (folder / "half").write_text("x")
        print("working", flush=True)
        time.sleep(60)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("name", ["1", "birds", LONG])
def test_what_a_killed_process_leaves_is_swept(tmp_path, name):
    process = Fork(hold, tmp_path / name)
    assert process.stdout.readline() == "working\n"
    (theirs,) = names(tmp_path)
    for other in (".own.tmp", f".{name[:40]}.0123abcd.notes", "data"):
        (tmp_path / other).mkdir()
    foreign = set(names(tmp_path)) - {theirs}
    try:
        with hidden_folder(tmp_path / name) as folder:
            assert (tmp_path / theirs).is_dir()  # that of a live process stays
            folder.rename(tmp_path / name)
    finally:
        process.kill()
        process.communicate()
    assert theirs in names(tmp_path)
    (tmp_path / f".{name[:40]}.0123abcd.part").mkdir()  # as older versions left one
    with hidden_folder(tmp_path / name):
        assert theirs not in names(tmp_path)
    assert set(names(tmp_path)) == foreign | {name}


def test_a_swept_folder_is_not_used(tmp_path, monkeypatch):
    """Another process removes it between its making and its lock."""
    from deml_tf.runs import hidden_folder as module

    lock, calls = module._lock, []

    def late(place):
        calls.append(place)
        if len(calls) == 1:
            place.rmdir()
        return lock(place)

    monkeypatch.setattr(module, "_lock", late)
    with hidden_folder(tmp_path / "1") as folder:
        assert folder.is_dir() and folder.parent == calls[1]
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("module", "name", "number", "raised"),
    [
        (fcntl, "flock", errno.ENOSYS, DataError),
        (os, "open", errno.EMFILE, OSError),
    ],
)
def test_where_nothing_can_be_locked_nothing_is_left(
    tmp_path, monkeypatch, module, name, number, raised
):
    calls = []

    def refused(*_):
        calls.append(1)
        assert len(calls) == 1
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(module, name, refused)
        with pytest.raises(raised, match=os.strerror(number)):
            with hidden_folder(tmp_path / "new" / "1"):
                pytest.fail("nothing is locked")
    assert names(tmp_path) == []


def test_nothing_stays_where_open_files_cannot_go(tmp_path, monkeypatch):
    """NFS keeps an open file under another name until it is closed."""
    real, close = shutil.rmtree, os.close

    def as_on_nfs(place, **_):
        for entry in Path(place).iterdir():
            if entry.is_dir():
                real(entry)
            elif entry.name != ".lock":
                entry.unlink()
        (Path(place) / ".lock").rename(Path(place) / ".nfs01")

    def as_nfs_does(lock):
        close(lock)
        for entry in tmp_path.glob("*/.nfs01"):
            entry.unlink()

    monkeypatch.setattr(shutil, "rmtree", as_on_nfs)
    monkeypatch.setattr(os, "close", as_nfs_does)
    with hidden_folder(tmp_path / "1") as folder:
        (folder / "half").write_text("x")
    assert names(tmp_path) == []
