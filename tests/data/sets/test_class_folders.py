import contextlib
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from deml_tf.config import DataConfig
from deml_tf.data.example import Example
from deml_tf.data.selection import read_examples
from deml_tf.errors import DataError


def read(where):
    return read_examples(DataConfig("folder", str(where)))


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize("below", ["", "images"])
def test_folder(below, tmp_path, capsys):
    root = tmp_path / below
    touch(
        root / "b. Möwe/Zug vogel.JPG",
        root / "b. Möwe/a.webp",
        root / "b. Möwe/.hidden.jpg",
        root / "b. Möwe/notes.txt",
        root / "b. Möwe/deeper/c.jfif",
        root / "b. Möwe/__MACOSX/d.jpg",
        root / "__MACOSX/d.jpg",
        root / "a,x/1.png",
        root / "a,x/10.jpeg",
        root / "a,x/2.gif",
        root / ".git/no.jpg",
        root / "loose.jpg",
    )
    found = read(tmp_path)
    assert found == [
        Example(str(root / "a,x/1.png"), "a,x"),
        Example(str(root / "a,x/10.jpeg"), "a,x"),
        Example(str(root / "a,x/2.gif"), "a,x"),
        Example(str(root / "b. Möwe/Zug vogel.JPG"), "b. Möwe"),
        Example(str(root / "b. Möwe/a.webp"), "b. Möwe"),
        Example(str(root / "b. Möwe/deeper/c.jfif"), "b. Möwe"),
    ]
    left = f"6 files or folders, such as {root}/.git"
    assert capsys.readouterr().out == f"left out, because not images: {left}\n"


def test_images_may_be_a_class(tmp_path):
    touch(tmp_path / "images/1.jpg", tmp_path / "other/1.jpg")
    assert [e.label for e in read(tmp_path)] == [
        "images",
        "other",
    ]


def test_images_folder_goes_before_its_neighbours(tmp_path):
    touch(tmp_path / "images/a/1.jpg", tmp_path / "attributes/1.jpg")
    assert [e.label for e in read(tmp_path)] == ["a"]


@pytest.mark.skipif(os.name == "nt", reason="such names exist on POSIX alone")
def test_names_need_not_be_unicode(tmp_path):
    folder = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    os.mkdir(folder)
    Path(os.fsdecode(os.path.join(folder, b"1.jpg"))).touch()
    (example,) = read(tmp_path)
    assert os.fsencode(example.path) == os.path.join(folder, b"1.jpg")


@pytest.mark.parametrize("top", ["train", "cats"])
def test_folders_of_class_folders_are_refused(top, tmp_path):
    touch(tmp_path / top / "a/1.jpg", tmp_path / "zebra/1.jpg")
    with pytest.raises(DataError, match=f"give data_dir={tmp_path}/{top}, or else"):
        read(tmp_path)
    # With an image of its own, it is a class.
    touch(tmp_path / top / "2.jpg")
    assert [e.label for e in read(tmp_path)] == [top, top, "zebra"]


def test_linked_and_looped_class_folders(tmp_path):
    touch(tmp_path / "far/1.jpg", tmp_path / "set/a/1.jpg")
    (tmp_path / "set/b").symlink_to("../far")
    (tmp_path / "set/loop").symlink_to("loop")
    assert [e.label for e in read(tmp_path / "set")] == ["a", "b"]


def test_a_class_folder_that_cannot_be_read(tmp_path, monkeypatch):
    touch(tmp_path / "a/1.jpg", tmp_path / "b/1.jpg")
    scan = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("/b"):  # root may read everything
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"/b cannot be read \(Permission denied\)"):
        read(tmp_path)


class Name(str):
    comparisons = 0

    def __eq__(self, other):
        Name.comparisons += 1
        return super().__eq__(other)

    __hash__ = str.__hash__


def test_names_are_not_compared_with_each_other(tmp_path, monkeypatch):
    """With 100,000 classes that took minutes."""
    for n in range(50):
        touch(tmp_path / f"{n:02d}" / "1.png")
    real = os.scandir

    @contextlib.contextmanager
    def scandir(path):
        with real(path) as entries:
            if Path(path) != tmp_path:
                yield entries
            else:
                yield [
                    SimpleNamespace(name=Name(e.name), path=e.path, is_dir=e.is_dir)
                    for e in entries
                ]

    monkeypatch.setattr(os, "scandir", scandir)
    assert len(read(tmp_path)) == 50
    assert Name.comparisons < 10 * 50
