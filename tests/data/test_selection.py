from dataclasses import replace

import pytest

from deml_tf.config import DataConfig
from deml_tf.data.example import Example
from deml_tf.data.selection import fill_batches, read_split
from deml_tf.data.sets import SETS
from deml_tf.data.splits import Split
from deml_tf.errors import DataError, UsageError


@pytest.fixture
def products(tmp_path):
    """Three images of each of four classes, in the layout of a benchmark."""
    for role, classes in (("train", "12"), ("test", "34")):
        rows = ["image_id class_id super_class_id path"]
        for label in classes:
            for n in range(3):
                (tmp_path / f"{label}{n}.jpg").touch()
                rows.append(f"{label}{n} {label} 1 {label}{n}.jpg")
        (tmp_path / f"Ebay_{role}.txt").write_text("\n".join(rows))
    return str(tmp_path)


def test_counts_that_are_not_the_published_ones_are_warned_of(products, capsys):
    split = read_split(DataConfig("sop", products), 0)
    assert len(split.train) == len(split.test) == 6
    assert capsys.readouterr().out.splitlines() == [
        "train: 2 classes, 6 images",
        "test: 2 classes, 6 images",
        "WARNING: sop has 2 classes with 6 images to train on, and 11,318 classes with "
        "59,551 images are published",
        "WARNING: sop has 2 classes with 6 images to test on, and 11,316 classes with "
        "60,502 images are published",
    ]


def some(classes, images, first=0):
    """So many examples of so many classes."""
    return [Example("", f"{first + n % classes:03}") for n in range(images)]


def test_held_out_classes_count_as_training_classes(capsys, monkeypatch):
    examples = some(100, 5_864) + some(100, 5_924, 100)
    birds = replace(SETS["cub200_2011"], read=lambda data: examples)
    monkeypatch.setitem(SETS, "cub200_2011", birds)
    split = read_split(DataConfig("cub200_2011", "", validation_classes=0.1), 0)
    assert len({e.label for e in split.validation}) == 10
    assert "WARNING" not in capsys.readouterr().out


def test_a_gallery_is_compared_with_the_published_one(capsys, monkeypatch):
    roles = {"train": (3_997, 25_882), "query": (3_985, 14_218)}
    roles["gallery"] = (3_984, 12_000)
    examples = [
        Example("", f"{role == 'train'}{n % classes}", role)
        for role, (classes, images) in roles.items()
        for n in range(images)
    ]
    shop = replace(SETS["in_shop"], read=lambda data: examples)
    monkeypatch.setitem(SETS, "in_shop", shop)
    read_split(DataConfig("in_shop", ""), 0)
    assert [x for x in capsys.readouterr().out.splitlines() if "WARN" in x] == [
        "WARNING: in_shop has 3,984 classes with 12,000 images to search in, and 3,985 "
        "classes with 12,612 images are published"
    ]


def test_a_gallery_is_counted(tmp_path, capsys):
    rows = ["path,label,split"]
    roles = ["train"] * 4 + ["query"] * 2 + ["gallery"] * 2
    for label, role in zip("aabbcdcd", roles, strict=True):
        name = f"{len(rows)}.jpg"
        (tmp_path / name).touch()
        rows.append(f"{name},{label},{role}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    split = read_split(DataConfig("list", str(tmp_path)), 0)
    assert [e.label for e in split.gallery] == ["c", "d"]
    assert "test: 2 classes, 2 images\ngallery: 2 classes, 2 images\n" in (
        capsys.readouterr().out
    )


def test_what_cannot_be_split_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.jpg").touch()
    with pytest.raises(DataError, match=f"^data_dir={tmp_path}: 0 classes left"):
        read_split(DataConfig("folder", str(tmp_path)), 0)


def test_small_classes_are_left_out_and_told(capsys):
    train = tuple(Example(f"{label}{n}", label) for n, label in enumerate("aabbcdee"))
    split = fill_batches(Split(train, (), ()), 3, 2)
    assert {e.label for e in split.train} == set("abe")
    assert capsys.readouterr().out == (
        "left out of training: 2 classes with fewer than 2 images (images_per_class), "
        "2 images\n"
    )
    fill_batches(Split(tuple(e for e in train if e.label != "d"), (), ()), 3, 2)
    said = "1 class with fewer than 2 images (images_per_class), 1 image\n"
    assert capsys.readouterr().out == f"left out of training: {said}"
    assert fill_batches(split, 3, 2) is split
    assert capsys.readouterr().out == ""
    with pytest.raises(UsageError, match="leaves 3 of the 4 classes of a batch"):
        fill_batches(Split(train, (), ()), 4, 2)
