from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from deml_tf.bulk.listed_images import ListedImage
from deml_tf.bulk.served_export import Export
from deml_tf.bulk.shard_format import shard_name, shard_number, shard_schema
from deml_tf.bulk.shard_writer import ShardWriter

EXPORT = Export(Path("e"), "birds", 3, "5" * 64, "float32", 3, 2, None, {})
IMAGES = [
    ListedImage("/a/0.jpg", "a"),
    ListedImage("/1.jpg", None),
    ListedImage("/caf\udce9/2.jpg", "caf\udce9"),
    ListedImage("/a/3.jpg", "a"),
]
REASONS = ["", "it is empty", "", "not there"]


def filled(embedding, boxes, cuts=(0, 1, 4)):
    shard = ShardWriter(IMAGES, EXPORT)
    for start, stop in zip(cuts, cuts[1:], strict=False):
        assert not shard.full
        rows = slice(start, stop)
        shard.add(embedding[rows], boxes[rows], REASONS[rows])
    assert shard.full
    return shard


@pytest.fixture
def numbers():
    random = np.random.default_rng(0)
    return (
        random.random((4, 3), dtype=np.float32),
        random.random((4, 8), dtype=np.float32),
    )


def test_rows_come_back(numbers, tmp_path):
    embedding, boxes = numbers
    filled(embedding, boxes).write(tmp_path / "x.parquet")
    table = parquet.read_table(tmp_path / "x.parquet")
    assert table.schema.equals(shard_schema(3, 2, "5" * 64), check_metadata=True)
    paths = ["/a/0.jpg", "/1.jpg", "/caf\\xe9/2.jpg", "/a/3.jpg"]
    assert table["path"].to_pylist() == paths
    assert table["label"].to_pylist() == ["a", None, "caf\\xe9", "a"]
    assert table["valid"].to_pylist() == [True, False, True, False]
    assert table["reason"].to_pylist() == [None, "it is empty", None, "not there"]
    for name, given in (("embedding", embedding), ("boxes", boxes)):
        found = table[name].to_pylist()
        assert found[1] is None and found[3] is None
        for row in (0, 2):
            np.testing.assert_array_equal(np.float32(found[row]), given[row])


def test_the_same_rows_give_the_same_bytes(numbers, tmp_path):
    embedding, boxes = numbers
    spoilt = embedding.copy()
    spoilt[[1, 3]] = np.nan  # what is not valid is not written
    filled(embedding, boxes).write(tmp_path / "x")
    filled(spoilt, boxes, (0, 2, 3, 4)).write(tmp_path / "y")
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_a_shard_without_valid_images(tmp_path):
    shard = ShardWriter(IMAGES[:2], EXPORT)
    shard.add(np.zeros((2, 3)), np.zeros((2, 8)), ["no", "no"])
    shard.write(tmp_path / "x")
    table = parquet.read_table(tmp_path / "x")
    assert table["embedding"].null_count == table["boxes"].null_count == 2


def test_names_of_shards():
    assert [shard_name(n) for n in (0, 123456)] == [
        "shard_00000.parquet",
        "shard_123456.parquet",
    ]
    for number in (0, 7, 99999, 100000):
        assert shard_number(shard_name(number)) == number
    for name in ("shard_1.parquet", "shard_00001.parquet.tmp", "x_00001.parquet"):
        assert shard_number(name) is None
