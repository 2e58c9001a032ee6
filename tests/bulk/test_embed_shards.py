"""What is written, whoever writes it and however often he begins."""

import errno
import os
import weakref

import numpy as np
import pytest
import tensorflow as tf
from pyarrow import parquet

from deml_tf.bulk import embed_shards as module
from deml_tf.bulk import read_ahead
from deml_tf.bulk.embed_shards import embed_shards, reasons
from deml_tf.bulk.listed_images import ListedImage, list_images
from deml_tf.bulk.progress import EmbeddingProgress
from deml_tf.bulk.read_ahead import Content
from deml_tf.bulk.served_export import Embedded, ServedExport, read_export
from deml_tf.bulk.shard_plan import ShardPlan
from deml_tf.bulk.shard_writer import ShardWriter
from deml_tf.bulk.whole_shards import missing_shards
from deml_tf.errors import DataError
from deml_tf.serving.proof_images import drawn_images


@pytest.fixture(scope="module")
def served(exported):
    return ServedExport(read_export(exported))


@pytest.fixture
def write(served, mixed):
    """Embeds shards of the eleven files into a folder."""
    images = list_images(str(mixed))

    plan = ShardPlan(11, 4, 3)

    def embed(output, shards=None, served=served):
        output.mkdir(exist_ok=True)
        weights = served.export.weights_sha256
        given = range(plan.shards) if shards is None else shards
        missing = missing_shards(output, given, plan, weights)
        progress = EmbeddingProgress(11)
        embed_shards(served, images, plan, missing, output, progress)
        return progress

    return embed


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rows(folder):
    return [
        row
        for path in sorted(folder.iterdir())
        for row in parquet.read_table(path).to_pylist()
    ]


def test_each_image_has_the_numbers_of_the_export(write, served, mixed, tmp_path):
    progress = write(tmp_path / "out")
    assert progress.done == 11 and progress.rate > 0
    found = rows(tmp_path / "out")
    assert [row["path"] for row in found] == [
        str(path) for path in sorted(mixed.glob("*/*"))
    ]
    assert [row["label"] for row in found] == ["left"] * 6 + ["right"] * 5
    bad = {
        "02.jpg": "Unknown image file format",
        "06.jpg": "it is empty",
        "09.jpg": "cannot be read (it is a folder)",
    }
    signature = tf.saved_model.load(str(served.export.folder)).signatures
    for row in found:
        name = row["path"][-6:]
        if name in bad:
            assert not row["valid"] and row["embedding"] is row["boxes"] is None
            assert bad[name] in row["reason"]
            continue
        assert row["valid"] and row["reason"] is None
        encoded = tf.io.read_file(row["path"])[None]
        alone = signature["serving_default"](image_bytes=encoded)
        np.testing.assert_allclose(row["embedding"], alone["embedding"][0], atol=1e-5)
        np.testing.assert_allclose(row["boxes"], alone["boxes"][0, 0], atol=1e-5)


def test_parts_and_new_beginnings_give_the_same_files(write, tmp_path, monkeypatch):
    write(tmp_path / "at once")
    expected = contents(tmp_path / "at once")
    assert len(expected) == 3
    for part in ((1,), (0, 2)):
        write(tmp_path / "parts", part)
    assert contents(tmp_path / "parts") == expected

    add, calls = ShardWriter.add, []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) % 5 == 0:  # the shards have 2, 2 and 1 batches
            raise KeyboardInterrupt
        add(*arguments)

    monkeypatch.setattr(ShardWriter, "add", failing)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "again")
    assert len(contents(tmp_path / "again")) == 2
    write(tmp_path / "again")
    assert contents(tmp_path / "again") == expected


def test_a_batch_is_what_the_plan_says(served, mixed, write, tmp_path):
    sizes = []

    class Counting:
        export = served.export

        def __call__(self, encoded):
            sizes.append(len(encoded))
            return served(encoded)

    write(tmp_path, served=Counting())
    assert sizes == [3, 1, 3, 1, 3]  # images that cannot be read among them


def test_memory_holds_no_more_than_two_shards(served, tmp_path, monkeypatch):
    alive, most = [], []

    class Watched(ShardWriter):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            alive.append(weakref.ref(self))
            most.append(sum(shard() is not None for shard in alive))

    (tmp_path / "x.png").write_bytes(drawn_images(1)[0])
    monkeypatch.setattr(module, "ShardWriter", Watched)
    images = [ListedImage(str(tmp_path / "x.png"), None)] * 12
    plan, output = ShardPlan(12, 2, 2), tmp_path / "out"
    embed_shards(served, images, plan, range(6), output, EmbeddingProgress(12))
    assert len(most) == 6 and max(most) <= 2


def test_numbers_that_are_none_are_not_valid():
    good = drawn_images(1)[0]
    embedding = np.eye(6, 4, dtype=np.float32)
    embedding[1], embedding[2] = np.nan, 0.4
    found = Embedded(
        embedding, np.zeros((6, 4)), np.array([True, True, True, True, False, False])
    )
    given = [Content(good)] * 3 + [Content(b"", "gone"), Content(b"x"), Content(good)]
    said = reasons(given, found)
    assert said[:4] == ["", *["the embedding is not of length one"] * 2, "gone"]
    assert "Unknown image file format" in said[4]
    assert said[5] == "the export does not take it"


@pytest.mark.parametrize("first", [1, 5])
def test_a_disk_that_goes_away_leaves_no_shard(first, write, tmp_path, monkeypatch):
    """Its images would count as broken, and never be embedded."""
    write(tmp_path / "expected")
    real, asked = read_ahead.read_image_file, []

    def read(path):
        asked.append(path)
        if len(asked) > first:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return real(path)

    monkeypatch.setattr(read_ahead, "_THREADS", 1)
    for place in (read_ahead, module):
        monkeypatch.setattr(place, "read_image_file", read)
    with pytest.raises(DataError, match="was read before, cannot be read any more"):
        write(tmp_path / "out")
    assert len(contents(tmp_path / "out")) == first // 4
    for place in (read_ahead, module):
        monkeypatch.setattr(place, "read_image_file", real)
    write(tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "expected")
