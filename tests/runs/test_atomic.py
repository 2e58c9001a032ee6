import os
from pathlib import Path

import pytest

from deml_tf.runs.atomic import write_atomically


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_failing_write_leaves_the_old_file_whole(tmp_path, monkeypatch, failing):
    write_atomically(tmp_path / "a" / "model.bin", b"old")

    def fail(*arguments):
        raise OSError("disk full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr(os, failing, fail)
        write_atomically(tmp_path / "a" / "model.bin", b"new, longer")
    assert (tmp_path / "a" / "model.bin").read_bytes() == b"old"
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["model.bin"]


def test_content_is_on_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("sync"), sync(fd)))
    monkeypatch.setattr(
        os, "replace", lambda a, b: (calls.append(Path(a).read_bytes()), replace(a, b))
    )
    write_atomically(tmp_path / "x", b"all of it")
    assert calls == ["sync", b"all of it", "sync"]
