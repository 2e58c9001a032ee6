from unittest import mock

import numpy as np
import pytest
from made_shards import boxes_of, clusters, labels_of, paths_of, write_shards

from deml_tf.bulk import shard_reader
from deml_tf.bulk.shard_reader import ShardReader
from deml_tf.errors import DataError, UsageError

SIZES = [5, 1, 30, 14]
INVALID = (0, 5, 6, 7, 40, 49)  # 5 is a shard of its own


@pytest.fixture
def shards(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_reader, "ROWS", 4)  # several blocks a shard
    rows = clusters(50, 6)
    folder = write_shards(tmp_path / "made", rows * 3, sizes=SIZES, invalid=INVALID)
    return ShardReader(folder), rows


def test_valid_rows_come_in_order_and_in_blocks(shards):
    reader, rows = shards
    blocks = list(reader.blocks())
    kept = [n for n in range(50) if n not in INVALID]
    assert reader.count == len(kept) == sum(len(b.embeddings) for b in blocks)
    assert max(len(b.embeddings) for b in blocks) == 4
    paths, labels, boxes = (
        [value for block in blocks for value in getattr(block, name).to_pylist()]
        for name in ("paths", "labels", "boxes")
    )
    assert paths == [paths_of(50)[n] for n in kept] == reader.paths().to_pylist()
    assert labels == [labels_of(50)[n] for n in kept]
    np.testing.assert_array_equal(np.array(boxes, np.float32), boxes_of(50)[kept])
    joined = np.concatenate([block.embeddings for block in blocks])
    np.testing.assert_allclose(joined, rows[kept], atol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(joined, axis=1), 1, atol=1e-6)


def test_a_sample_is_drawn_once_each_from_everywhere(shards):
    reader, _ = shards
    every = np.concatenate([block.embeddings for block in reader.blocks()])
    np.testing.assert_array_equal(reader.sample(1000, seed=1), every)
    seen = np.zeros(reader.count, int)
    for seed in range(30):
        drawn = reader.sample(9, seed)
        places = [np.flatnonzero((every == row).all(axis=1)) for row in drawn]
        places = np.concatenate(places)
        assert len(places) == 9 and (np.diff(places) > 0).all()
        seen[places] += 1
    assert (seen > 0).all()  # 30 x 9 draws of 44
    np.testing.assert_array_equal(reader.sample(9, 5), reader.sample(9, 5))


def test_missing_shards_are_named(tmp_path):
    folder = write_shards(tmp_path / "made", clusters(9, 4), sizes=[3, 3, 3])
    (folder / "shard_00001.parquet").unlink()
    with pytest.raises(DataError, match="lacks shard_00001.parquet, one of 3 shards"):
        ShardReader(folder)


def test_shards_are_looked_for_up_to_the_first_that_is_missing(tmp_path, monkeypatch):
    named = mock.Mock(wraps=shard_reader.shard_name)
    monkeypatch.setattr(shard_reader, "shard_name", named)
    folder = write_shards(tmp_path / "made", clusters(9, 4), shards=10**5)
    with pytest.raises(
        DataError, match="lacks shard_00001.parquet, one of 100000 shards"
    ):
        ShardReader(folder)
    assert named.call_count == 2


def test_a_broken_shard_is_named(tmp_path):
    folder = write_shards(tmp_path / "made", clusters(9, 4), sizes=[3, 6])
    path = folder / "shard_00001.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="shard_00001.parquet cannot be read"):
        ShardReader(folder)


def test_a_shard_of_other_weights_is_refused(tmp_path):
    rows = clusters(6, 4)
    folder = write_shards(tmp_path / "made", rows)
    other = write_shards(tmp_path / "other", rows, weights="f" * 64)
    (other / "shard_00000.parquet").replace(folder / "shard_00000.parquet")
    with pytest.raises(DataError, match="weights ffffffffffff, and .* birds 3"):
        ShardReader(folder)


def test_a_shard_of_another_width_is_refused(tmp_path):
    folder = write_shards(tmp_path / "made", clusters(6, 4), embedding_dim=5)
    with pytest.raises(DataError, match="'embedding' is fixed_size_list.*not fixed"):
        ShardReader(folder)


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_embeddings_without_a_direction_are_refused(tmp_path, value):
    rows = clusters(6, 4)
    rows[2] = value
    reader = ShardReader(write_shards(tmp_path / "made", rows))
    with pytest.raises(DataError, match="shard_00000.parquet: 1 of 6 rows"):
        list(reader.blocks())


def test_no_valid_image_at_all(tmp_path):
    folder = write_shards(tmp_path / "made", clusters(3, 4), invalid=range(3))
    with pytest.raises(DataError, match="holds no valid image"):
        ShardReader(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "is of format 2"),
        ({"shards": 0}, "says shards=0"),
        ({"embedding_dim": "4"}, "says embedding_dim='4'"),
        ({"embedding_dim": 2**31}, "says embedding_dim=2147483648"),
        ({"scales": 10**6 + 1}, "says scales=1000001"),
        ({"shards": 10**8 + 1}, "says shards=100000001"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path, changes, said):
    folder = write_shards(tmp_path / "made", clusters(6, 4), **changes)
    with pytest.raises(DataError, match=said):
        ShardReader(folder)


def test_a_folder_without_embeddings_is_refused(tmp_path):
    with pytest.raises(UsageError, match="add=.*/none: .* cannot be read"):
        ShardReader(tmp_path / "none", "add")
    (tmp_path / "embeddings.json").write_text("[1]")
    with pytest.raises(DataError, match="lacks 'format'"):
        ShardReader(tmp_path)
