"""What is an image, what is left out, and files that must never be waited for."""

import os
import socket

import pytest

from deml_tf.data import regular_files
from deml_tf.data.image_files import (
    count_left_out,
    find_image_files,
    is_image,
    read_image_file,
)

GIF = b"GIF89a" + bytes(20)
BMP = b"BM" + bytes(20)
WEBP = b"RIFF\x10\0\0\0WEBPVP8 "
JPEG = b"\xff\xd8\xff\xe0" + bytes(20)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("a.jpg", True),
        ("B.JPEG", True),
        ("browser.jfif", True),
        ("old.JPE", True),
        ("windows.dib", True),
        ("möwe 1.webp", True),
        ("a.b.png", True),
        ("scan.TIF", True),
        ("phone.heic", True),
        (".hidden.jpg", False),
        ("._x.png", False),
        (".jpg", False),
        ("notes.txt", False),
        ("jpg", False),
        ("a.jpg.part", False),
    ],
)
def test_names_of_images(name, listed):
    assert is_image(name) == listed
    assert is_image(f"some.folder/{name}") == listed


@pytest.mark.parametrize(
    ("content", "image"),
    [
        *((head, True) for head in (GIF, BMP, WEBP, JPEG, PNG)),
        (b"", False),
        (b"BMW is a car" + bytes(9), False),
        (b"RIFF\x10\0\0\0WAVEfmt ", False),
        (b"\xff\xd8", False),
    ],
)
def test_files_without_an_ending_are_looked_into(content, image, tmp_path):
    (tmp_path / "n0").write_bytes(content)
    (tmp_path / "n0.txt").write_bytes(content)
    assert is_image(tmp_path / "n0") == image
    assert not is_image(tmp_path / "n0.txt")


def test_images_of_a_folder(tmp_path):
    taken = ["10.png", "9.jfif", "bare", "deep/er/x.jpg", "folder.jpg", "linked/1.png"]
    left = [
        *(".ipynb_checkpoints", "._10.png", "__MACOSX", "deep/back", "deep/notes.csv"),
        *("pipe", "x.txt"),
    ]
    for name in ("deep/er", "folder.jpg", "__MACOSX", ".ipynb_checkpoints"):
        (tmp_path / "set" / name).mkdir(parents=True)
    (tmp_path / "far").mkdir()
    for name in ("10.png", "9.jfif", "deep/er/x.jpg", "._10.png", "x.txt"):
        (tmp_path / "set" / name).touch()
    for name in ("deep/notes.csv", "__MACOSX/a.png", ".ipynb_checkpoints/a.png"):
        (tmp_path / "set" / name).touch()
    (tmp_path / "set/bare").write_bytes(JPEG)
    (tmp_path / "far/1.png").touch()
    (tmp_path / "set/linked").symlink_to("../far")
    (tmp_path / "set/deep/back").symlink_to("..")
    os.mkfifo(tmp_path / "set/pipe")
    found = find_image_files(tmp_path / "set")

    def names(paths):
        return sorted(os.path.relpath(path, tmp_path / "set") for path in paths)

    assert names(found.images) == sorted(taken)
    assert names(found.left_out) == sorted(left)
    assert count_left_out(found.left_out) == (
        f"left out, because not images: 7 files or folders, such as {tmp_path}/set/"
        "._10.png"
    )
    assert count_left_out([]) == ""


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "shut").mkdir()
    scan = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("shut"):  # root may read everything
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        find_image_files(tmp_path)


def special_files(folder):
    """What is no image file, by the reason that is given."""
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "link.jpg").symlink_to("pipe.jpg")
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "lost.jpg").symlink_to("nowhere.jpg")
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind(os.path.relpath(folder / "socket.jpg"))
    with open(folder / "sparse.jpg", "wb") as file:
        file.truncate(3 * 2**30)
    return {
        "folder.jpg": "it is a folder",
        "pipe.jpg": "it is a pipe, not a file",
        "link.jpg": "it is a pipe, not a file",
        "device.jpg": "it is a device, not a file",
        "loop.jpg": "Too many levels of symbolic links",
        "lost.jpg": "No such file or directory",
        "socket.jpg": "it is a socket, not a file",
        "sparse.jpg": "it is larger than 256 MiB",
        "null\0.jpg": "no file has such a name: embedded null byte",
    }


def test_nothing_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, reason in special_files(tmp_path).items():
        with pytest.raises(OSError) as caught:
            read_image_file(tmp_path / name)
        assert caught.value.strerror == reason


def test_a_file_that_becomes_a_pipe(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.jpg")
    monkeypatch.setattr(regular_files, "stat_regular", lambda *_: None)
    assert read_image_file(tmp_path / "pipe.jpg") == b""


def test_a_file_that_has_nothing_to_say_yet(tmp_path, monkeypatch):
    """Some of /proc are regular files to wait for; a pipe stands for them."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(regular_files, "stat_regular", lambda *_: None)
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    assert read_image_file(tmp_path / "pipe") == b""
    assert not is_image(tmp_path / "pipe")
    os.close(writer)
