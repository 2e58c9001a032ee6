import pytest

from deml_tf.data.catalog import load_examples, needs_folder
from deml_tf.errors import DataError, UsageError


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("files", "dataset", "data_dir", "error", "message"),
    [
        (
            ["a/1.jpg"],
            "imagenet",
            "",
            UsageError,
            "--dataset=imagenet is unknown; use one of folder, list, cub200_2011, "
            "cars196, sop, in_shop, tfds:NAME, plumage$",
        ),
        (["a/1.jpg"], "folder", "gone", UsageError, "gone does not exist"),
        (["a/1.jpg"], "folder", "a/1.jpg", UsageError, "is a file; .* --dataset=list"),
        (["1.jpg"], "folder", "", DataError, "holds no class folders; put the"),
        (
            ["a/1.jpg", "b/1.tif"],
            "folder",
            "",
            DataError,
            "class folder .*/b holds no p",
        ),
        (
            ["a/1.jpg", "b/x", "c/x", "d/x"],
            "folder",
            "",
            DataError,
            r"and 2 more folde",
        ),
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
    touch(*(tmp_path / name for name in files))
    with pytest.raises(error, match=message):
        load_examples(dataset, tmp_path / data_dir)


def test_no_place(tmp_path):
    with pytest.raises(UsageError, match="--dataset=list needs --data_dir"):
        load_examples("list", "")


def test_only_tensorflow_datasets_need_no_place():
    assert not needs_folder("tfds:mnist")
    assert needs_folder("list") and needs_folder("cub200_2011")
    with pytest.raises(UsageError, match="--dataset=tfds: names no set; give one of"):
        load_examples("tfds:", "")
