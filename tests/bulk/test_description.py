import json
from pathlib import Path

import pytest

from deml_tf.bulk.description import describe, refuse_other, write_description
from deml_tf.bulk.listed_images import ListedImage
from deml_tf.bulk.served_export import Export
from deml_tf.bulk.shard_format import KEYS
from deml_tf.bulk.shard_plan import ShardPlan
from deml_tf.bulk.whole_file import write_whole
from deml_tf.errors import DataError, UsageError

EXPORT = Export(
    Path("e"), "birds", 3, "5" * 64, "float32", 24, 2, 0.1 + 0.2, {"fit": "pad"}
)
IMAGES = [ListedImage(f"/{n}.jpg", "a" if n % 2 else None) for n in range(5)]


def about(export=EXPORT, images=IMAGES, shard_size=2, batch_size=4):
    return describe(export, images, ShardPlan(len(images), shard_size, batch_size))


def test_what_is_written(tmp_path):
    write_description(tmp_path / "new", about())
    found = json.loads((tmp_path / "new" / "embeddings.json").read_bytes())
    assert tuple(found) == KEYS
    assert found.pop("list_sha256") != found.pop("weights_sha256") == "5" * 64
    assert found == {
        "format": 1,
        "model": "birds",
        "version": 3,
        "precision": "float32",
        "embedding_dim": 24,
        "scales": 2,
        "threshold": 0.1 + 0.2,
        "preprocessing": {"fit": "pad"},
        "images": 5,
        "shard_size": 2,
        "batch_size": 4,
        "shards": 3,
    }


def test_the_same_command_goes_on(tmp_path):
    refuse_other(tmp_path / "none", about())
    refuse_other(tmp_path, about())
    write_description(tmp_path, about())
    before = (tmp_path / "embeddings.json").stat()
    write_description(tmp_path, about(EXPORT._replace(folder=Path("moved"))))
    assert (tmp_path / "embeddings.json").stat() == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"export": EXPORT._replace(version=4)}, "of another export .birds 3 with"),
        ({"export": EXPORT._replace(weights_sha256="6" * 64)}, "this is birds 3 .* 66"),
        ({"export": EXPORT._replace(precision="bfloat16")}, "of another export"),
        ({"export": EXPORT._replace(threshold=None)}, "of another export"),
        ({"export": EXPORT._replace(preprocessing={})}, "of another export"),
        ({"images": IMAGES[:4]}, r"of other images \(5 with .*, these are 4\)"),
        ({"images": IMAGES[::-1]}, "of other images"),
        ({"images": [*IMAGES[:4], ListedImage("/4.jpg", "b")]}, "of other images"),
        ({"images": [*IMAGES[:4], ListedImage("/4.jpg", "None")]}, "of other images"),
        ({"shard_size": 3}, "^shard_size=3, but .* was begun with 2: give that"),
        ({"batch_size": 3}, "^batch_size=3, but .* was begun with 4: give that"),
    ],
)
def test_another_command_is_refused(change, sentence, tmp_path):
    write_description(tmp_path, about())
    for hold in (refuse_other, write_description):
        with pytest.raises(UsageError, match=sentence):
            hold(tmp_path, about(**change))


def test_another_command_that_was_faster_is_not_overwritten(tmp_path, monkeypatch):
    def later(*given, **kind):
        monkeypatch.undo()
        write_description(tmp_path, about())
        write_whole(*given, **kind)

    monkeypatch.setattr("deml_tf.bulk.description.write_whole", later)
    with pytest.raises(UsageError, match="of other images"):
        write_description(tmp_path, about(images=IMAGES[:4]))
    refuse_other(tmp_path, about())


def test_shards_of_nobody_knows_what(tmp_path):
    (tmp_path / "shard_00002.parquet").touch()
    with pytest.raises(UsageError, match="shard_00002.parquet but no embeddings.json"):
        refuse_other(tmp_path, about())


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff"])
def test_a_description_that_cannot_be_read(content, tmp_path):
    (tmp_path / "embeddings.json").write_bytes(content)
    with pytest.raises(DataError, match="embeddings.json cannot be read"):
        refuse_other(tmp_path, about())
