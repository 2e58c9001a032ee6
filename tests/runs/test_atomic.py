import errno
import os
import re
import socket
import stat
import threading
from pathlib import Path
from unittest import mock

import pytest

from deml_tf.errors import UsageError
from deml_tf.runs.atomic import (
    check_output,
    check_tensorflow_path,
    is_written_into,
    write_atomically,
)
from deml_tf.runs.replaced_folder import replaced_folder


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


def test_a_read_only_disk_names_the_file(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    for name in ("open", "unlink"):
        monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(OSError) as caught:
        write_atomically(tmp_path / "x", b"all")
    assert caught.value.filename == str(tmp_path / "x")


def test_content_is_on_disk_before_it_takes_the_name(tmp_path, disk_calls):
    write_atomically(tmp_path / "x", b"all of it")
    assert disk_calls == ["sync", b"all of it", "sync"]


def test_a_disk_that_cannot_wait_for_a_folder(tmp_path, monkeypatch):
    """Some shared and network disks: there all else goes on as elsewhere."""
    sync, refused = os.fsync, errno.EINVAL

    def only_files(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(refused, os.strerror(refused))
        sync(handle)

    monkeypatch.setattr(os, "fsync", only_files)
    write_atomically(tmp_path / "x", b"all")
    with replaced_folder(tmp_path / "folder") as folder:
        (folder / "y").write_text("all")
    assert (tmp_path / "x").read_bytes() == b"all"
    assert (tmp_path / "folder" / "y").read_text() == "all"
    refused = errno.EIO
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        write_atomically(tmp_path / "x", b"all")


def test_a_file_that_is_not_on_disk_is_an_error(tmp_path, monkeypatch):
    invalid = OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    monkeypatch.setattr(os, "fsync", mock.Mock(side_effect=invalid))
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        write_atomically(tmp_path / "x", b"all")


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.json").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "a.json")
    (tmp_path / "again").symlink_to("link")
    write_atomically(tmp_path / "again", b"new")
    assert (tmp_path / "again").is_symlink() and (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a.json").read_bytes() == b"new"
    (tmp_path / "dangling").symlink_to("real/b.json")
    write_atomically(tmp_path / "dangling", b"made")
    assert (tmp_path / "real" / "b.json").read_bytes() == b"made"


def test_a_pipe_is_written_into(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_output("output", pipe)  # does not wait for a reader
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, b"all of it")
    reader.join(10)
    assert got == [b"all of it"] and stat.S_ISFIFO(os.stat(pipe).st_mode)


def test_a_device_is_written_into():
    """A terminal of the test's own: the null device would be lost with the rule."""
    reader, writer = os.openpty()
    path = os.ttyname(writer)
    assert is_written_into(path)
    check_output("output", path)
    write_atomically(path, b"written")
    assert os.read(reader, 100) == b"written"
    assert stat.S_ISCHR(os.stat(path).st_mode)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1"])
def test_standard_output_is_written_into_where_it_stands(capfd, path):
    """It goes to a file here: one replaced, or begun anew, would lose what is said."""
    print("before")
    check_output("output", path)
    write_atomically(path, b"written\n")
    print("after")
    assert capfd.readouterr().out == "before\nwritten\nafter\n"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("loop", "cannot be written (Too many levels of symbolic links)"),
        ("x" * 300, "cannot be written (File name too long)"),
        ("new/" + "x" * 300, "has too long a name"),
        ("a\0b", "cannot be written (embedded null byte)"),
        ("socket", "is a disk or a socket"),
        ("file/a/b", "leads through the file"),
        (".", "is a folder"),
    ],
)
def test_what_cannot_be_written_is_refused_beforehand(
    tmp_path, monkeypatch, name, wrong
):
    monkeypatch.chdir(tmp_path)
    os.symlink("loop", "loop")
    Path("file").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(UsageError, match=re.escape(f"output={name} {wrong}")):
            check_output("output", name)


def test_a_mounted_file_is_refused_beforehand(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "a")
    (tmp_path / "a").touch()
    said = "output=.*a is a mount point, which cannot be replaced: name a file else"
    with pytest.raises(UsageError, match=said):
        check_output("output", tmp_path / "a")


def test_a_name_as_long_as_names_may_be(tmp_path):
    path = tmp_path / ("x" * 255)
    check_output("output", path)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_folder_that_tensorflow_does_not_take():
    check_tensorflow_path("run_dir", "bïrds (1), {2}")
    with pytest.raises(UsageError, match=r"^run_dir=b.rds is no UTF-8, and TensorFlow"):
        check_tensorflow_path("run_dir", Path(os.fsdecode(b"b\xffrds")))


@pytest.mark.parametrize("path", ["runs/lr[12]", "runs/lr*", "a?/lr1", "runs\\lr"])
def test_a_folder_that_tensorflow_takes_for_a_pattern(path):
    """It would restore nothing, and remove the checkpoints of runs/lr1 and runs/lr2."""
    said = f"run_dir={path} holds *, ?, [ or \\, which TensorFlow takes for a pattern"
    with pytest.raises(UsageError, match=f"^{re.escape(said)}: give run_dir="):
        check_tensorflow_path("run_dir", path)
