"""The seam `SETS`: what each data set publishes, where it is looked for, a new one."""

import os

import pytest
from PIL import Image

from deml_tf.config import DataConfig
from deml_tf.data.data_folder import data_folder
from deml_tf.data.data_set import DataSet
from deml_tf.data.example import Example
from deml_tf.data.selection import read_examples, read_split
from deml_tf.data.sets import SETS, find_set
from deml_tf.errors import DataError, UsageError


@pytest.mark.parametrize(
    ("dataset", "images"),
    [("cub200_2011", 11_788), ("cars196", 16_185), ("sop", 120_053)]
    + [("in_shop", 52_712), ("tfds:caltech_birds2011/any:0.1.0", 11_788)],
)
def test_published_roles_add_up_to_the_set(dataset, images):
    assert sum(count for _, count in find_set(dataset).counts.values()) == images


@pytest.mark.parametrize(
    ("dataset", "ranks"),
    [
        ("cub200_2011", (1, 2, 4, 8)),
        ("folder", (1, 2, 4, 8)),
        ("tfds:mnist", (1, 2, 4, 8)),
        ("sop", (1, 10, 100, 1000)),
        ("tfds:stanford_online_products:1.0.0", (1, 10, 100, 1000)),
        ("in_shop", (1, 10, 20, 30)),
    ],
)
def test_ranks(dataset, ranks):
    assert find_set(dataset).ranks == ranks


def test_only_tensorflow_datasets_need_no_place():
    assert [name for name in SETS if not SETS[name].needs_data_dir] == ["tfds:NAME"]
    assert not find_set("tfds:cars196").needs_data_dir
    with pytest.raises(UsageError, match="dataset=tfds: names no set; give one of"):
        read_examples(DataConfig("tfds:", ""))


@pytest.mark.parametrize("dataset", [name for name in SETS if name != "tfds:NAME"])
def test_no_place(dataset):
    with pytest.raises(UsageError, match=f"dataset={dataset} needs data_dir=FOLDER"):
        read_examples(DataConfig(dataset, ""))


@pytest.mark.parametrize("dataset", ["imagenet", "list:x", "tfds", "", None])
def test_unknown_sets(dataset):
    message = (
        "is unknown; use one of folder, list, cub200_2011, cars196, sop, in_shop, "
        "tfds:NAME, plumage$"
    )
    with pytest.raises(UsageError, match=f"dataset={dataset} {message}"):
        find_set(dataset)


@pytest.mark.parametrize(
    ("files", "dataset", "data_dir", "error", "message"),
    [
        (["a/1.jpg"], "folder", "gone", UsageError, "data_dir=.*gone does not exist"),
        (["a/1.jpg"], "folder", "a/1.jpg", UsageError, "is a file; .* dataset=list"),
        (["1.jpg"], "sop", "1.jpg", UsageError, "is a file; .* dataset=sop,"),
        (["1.jpg"], "folder", "", DataError, "holds no class folders; put the"),
        (
            ["a/1.jpg", "b/1.txt"],
            "folder",
            "",
            DataError,
            "class folder .*/b holds no image; remove",
        ),
        (["a/1.jpg", "b/x", "c/x", "d/x"], "folder", "", DataError, "and 2 more folde"),
        (["a/1.jpg"], "list", "", UsageError, "neither list.csv nor list.tsv"),
        (
            ["list.csv", "list.tsv"],
            "list",
            "",
            UsageError,
            "both list.csv and list.tsv",
        ),
        (["a/1.jpg"], "list", "gone.csv", UsageError, "gone.csv does not exist"),
    ],
)
def test_bad_places(files, dataset, data_dir, error, message, tmp_path):
    for path in (tmp_path / name for name in files):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with pytest.raises(error, match=message):
        read_examples(DataConfig(dataset, str(tmp_path / data_dir)))


def test_a_set_of_ones_own(tmp_path, monkeypatch, capsys):
    """One reader and one line in `SETS` are all it takes."""

    def read_tiles(data):
        paths = sorted(data_folder(data).glob("*.png"))
        return [Example(str(path), path.stem[0]) for path in paths]

    for n, name in enumerate(["a0", "a1", "b0", "b1", "c0", "c1", "d0", "d1"]):
        Image.new("RGB", (8, 8), (30 * n, 0, 0)).save(tmp_path / f"{name}.png")
    counts = {"train": (2, 4), "test": (2, 5)}
    with monkeypatch.context() as patch:
        patch.setitem(SETS, "tiles", DataSet(read_tiles, counts, ranks=(1, 3)))
        split = read_split(DataConfig("tiles", str(tmp_path)), seed=0)
        assert find_set("tiles").ranks == (1, 3)
    assert [e.label for e in split.train] == list("aabb")
    assert [e.label for e in split.test] == list("ccdd")
    assert capsys.readouterr().out.splitlines() == [
        "train: 2 classes, 4 images",
        "test: 2 classes, 4 images",
        "WARNING: tiles has 2 classes with 4 images to test on, and 2 classes with 5 "
        "images are published",
    ]
    with pytest.raises(UsageError, match="dataset=tiles is unknown"):
        find_set("tiles")


def test_plumage_is_drawn_on_first_use(tmp_path):
    folder = str(tmp_path / "p")
    data = DataConfig("plumage", folder, plumage_species=4, plumage_images=2)
    found = read_examples(data)
    assert len(found) == 8 and len({e.label for e in found}) == 4
    assert all(e.box and e.split is None for e in found)
    time = (tmp_path / "p/annotations.csv").stat().st_mtime_ns
    assert read_examples(data) == found
    assert (tmp_path / "p/annotations.csv").stat().st_mtime_ns == time


def test_data_that_cannot_be_read(tmp_path, monkeypatch):
    """Root may read everything, so permission is taken from the function."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match=r"loop cannot be read \(Too many levels"):
        read_examples(DataConfig("folder", str(tmp_path / "loop")))
    with pytest.raises(UsageError, match=r"cannot be read \(embedded null byte\)"):
        read_examples(DataConfig("folder", f"{tmp_path}/\0"))

    def refuse(path, **_):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(UsageError, match=r"cannot be read \(Permission denied\)"):
        read_examples(DataConfig("list", str(tmp_path)))
