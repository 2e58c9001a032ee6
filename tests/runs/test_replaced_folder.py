"""A folder is replaced in one step, or not at all."""

import errno
import os
import subprocess

import pytest

from deml_tf.errors import DataError, UsageError
from deml_tf.runs import replaced_folder as module
from deml_tf.runs.replaced_folder import replaced_folder


def fill(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text(text)
    return folder


def text_of(folder):
    return (folder / "file").read_text()


def test_a_folder_is_made_and_then_replaced(tmp_path):
    target = tmp_path / "deep" / "target"
    for text in ("one", "two"):
        with replaced_folder(target) as folder:
            assert not list(folder.iterdir())
            fill(folder, text)
            assert not target.exists() or text_of(target) == "one"
        assert text_of(target) == text
    assert os.listdir(tmp_path / "deep") == ["target"]


def test_the_name_is_never_without_a_folder(tmp_path, monkeypatch):
    """A rename and another one would leave a moment with nothing in between."""
    target = fill(tmp_path / "target", "one")

    def refused(*paths):
        raise AssertionError("a folder that was there is renamed away")

    monkeypatch.setattr(os, "rename", refused)
    monkeypatch.setattr(os, "replace", refused)
    handle = os.open(target, os.O_RDONLY)
    with replaced_folder(target) as folder:
        inside = os.stat(folder).st_ino
        fill(folder, "two")
    assert os.stat(target).st_ino == inside
    assert os.fstat(handle).st_ino != inside
    os.close(handle)


@pytest.mark.parametrize("there", [False, True])
def test_content_is_on_disk_before_it_takes_the_name(there, tmp_path, monkeypatch):
    target, calls = tmp_path / "parent" / "target", []
    if there:
        target.mkdir(parents=True)
    sync = os.fsync

    def synced(handle):
        calls.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")))
        sync(handle)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", noted(calls, "named", os.rename))
    monkeypatch.setattr(module, "_swap", noted(calls, "named", module._swap))
    with replaced_folder(target) as folder:
        calls.clear()  # of the trial
        fill(folder / "deep", "two")
    assert sorted(calls[:3]) == ["content", "deep", "file"]
    assert calls[3:] == ["named", "parent"]


def noted(calls, name, function):
    """The function, whose calls are noted."""
    return lambda *given: (calls.append(name), function(*given))[1]


def test_an_error_leaves_the_old_folder(tmp_path):
    target = fill(tmp_path / "target", "one")
    with pytest.raises(KeyError), replaced_folder(target) as folder:
        fill(folder, "two")
        raise KeyError
    with pytest.raises(KeyError), replaced_folder(tmp_path / "new") as folder:
        raise KeyError
    assert text_of(target) == "one"
    assert os.listdir(tmp_path) == ["target"]


def test_a_link_stays(tmp_path):
    fill(tmp_path / "real", "one")
    (tmp_path / "link").symlink_to("real")
    with replaced_folder(tmp_path / "link") as folder:
        fill(folder, "two")
    assert (tmp_path / "link").is_symlink() and text_of(tmp_path / "real") == "two"


def test_a_disk_that_cannot_swap_is_named_before_the_work(tmp_path, monkeypatch):
    target = fill(tmp_path / "target", "one")

    def refused(first, second):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(module, "_swap", refused)
    said = "target cannot be replaced, for its disk cannot swap .*Invalid argument"
    with pytest.raises(DataError, match=said), replaced_folder(target):
        pytest.fail("the work has begun")
    assert text_of(target) == "one"
    assert os.listdir(tmp_path) == ["target"]
    with replaced_folder(tmp_path / "new") as folder:  # nothing to swap with
        fill(folder, "two")
    assert text_of(tmp_path / "new") == "two"


@pytest.fixture
def mounted(tmp_path):
    """A folder of this very disk, mounted where the user may."""
    source, folder = tmp_path / "source", tmp_path / "mounted"
    source.mkdir()
    folder.mkdir()
    try:
        mount = ["mount", "--bind", str(source), str(folder)]
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a folder needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_mount_point_is_refused_before_the_work(mounted):
    said = "mounted is a mount point, which cannot be replaced: name a folder in it"
    with pytest.raises(UsageError, match=said), replaced_folder(mounted):
        pytest.fail("the work has begun")
    with replaced_folder(mounted / "in_it") as folder:
        fill(folder, "one")
    assert text_of(mounted / "in_it") == "one"


def test_what_cannot_take_its_place_in_the_end_is_kept(tmp_path, monkeypatch):
    target = fill(tmp_path / "target", "one")
    real = module._swap

    def busy(first, second):
        if second == target:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        real(first, second)

    monkeypatch.setattr(module, "_swap", busy)
    said = r"target cannot be written \(Device or resource busy\): what was made for"
    with pytest.raises(DataError, match=said):
        with replaced_folder(target) as folder:
            fill(folder, "two")
    one, two = sorted(tmp_path.iterdir())
    assert one == target and text_of(one) == "one"
    assert two.match("target.????????") and text_of(two) == "two"


@pytest.mark.parametrize("there", [False, True])
def test_what_another_process_wrote_meanwhile_is_not_replaced(there, tmp_path):
    target = tmp_path / "target"
    if there:
        fill(target, "zero")
    said = r"target cannot be written \(another process has written it meanwhile\): "
    with pytest.raises(DataError, match=said), replaced_folder(target) as slow:
        with replaced_folder(target) as quick:
            fill(quick, "one")
        fill(slow, "two")
    one, two = sorted(tmp_path.iterdir())
    assert one == target and text_of(one) == "one"
    assert two.match("target.????????") and text_of(two) == "two"
