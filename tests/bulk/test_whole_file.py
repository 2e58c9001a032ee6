import errno
import os

import pytest

from deml_tf.bulk.whole_file import write_whole


def listed(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_a_file_is_written_into_a_new_folder(tmp_path):
    path = tmp_path / "new" / "x"
    write_whole(path, lambda file: file.write(b"all"))
    assert path.read_bytes() == b"all" and listed(path.parent) == ["x"]
    write_whole(path, lambda file: file.write(b"other"))
    assert path.read_bytes() == b"other" and listed(path.parent) == ["x"]


@pytest.mark.parametrize("linkable", [True, False])
def test_a_file_that_is_to_be_new(tmp_path, monkeypatch, linkable):
    def refused(*paths):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    if not linkable:
        monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "x"
    write_whole(path, lambda file: file.write(b"all"), may_replace=False)
    assert path.read_bytes() == b"all" and listed(tmp_path) == ["x"]
    if linkable:
        write_whole(path, lambda file: file.write(b"other"), may_replace=False)
        assert path.read_bytes() == b"all" and listed(tmp_path) == ["x"]


def test_a_disk_that_fails_replaces_nothing(tmp_path, monkeypatch):
    def fail(*paths):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = tmp_path / "x"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        write_whole(path, lambda file: file.write(b"all"), may_replace=False)
    assert path.read_bytes() == b"old" and listed(tmp_path) == ["x"]


def test_content_is_on_disk_before_it_takes_the_name(tmp_path, disk_calls):
    write_whole(tmp_path / "x", lambda file: file.write(b"all of it"))
    assert disk_calls == ["sync", b"all of it", "sync"]


def test_a_failure_leaves_the_old_file_and_names_it(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError) as raised:
        write_whole(path, fail)
    assert raised.value.filename == str(path)
    assert path.read_bytes() == b"old" and listed(tmp_path) == ["x"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    for name in (".x.0123abcd.tmp", ".y.0123abcd.tmp"):
        (tmp_path / name / "content").mkdir(parents=True)
        (tmp_path / name / "content" / "file").write_bytes(b"half")
    write_whole(tmp_path / "x", lambda file: file.write(b"all"))
    assert sorted(p.name for p in tmp_path.iterdir()) == [".y.0123abcd.tmp", "x"]
