import os
from pathlib import Path

import pytest

from deml_tf.config import DataConfig
from deml_tf.data.example import Example
from deml_tf.data.selection import read_examples


def read(where):
    return read_examples(DataConfig("folder", str(where)))


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize("below", ["", "images"])
def test_folder(below, tmp_path):
    root = tmp_path / below
    touch(
        root / "b. Möwe/Zug vogel.JPG",
        root / "b. Möwe/a.webp",
        root / "b. Möwe/.hidden.jpg",
        root / "b. Möwe/notes.txt",
        root / "b. Möwe/deeper/c.jpg",
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
    ]


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
