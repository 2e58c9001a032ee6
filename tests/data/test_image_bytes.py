import functools
import os

import numpy as np
import pytest
import tensorflow as tf

from deml_tf.data.image_bytes import (
    ShardPlace,
    containing_file,
    read_bytes,
    read_record,
    read_tensor,
    shard_place,
)
from deml_tf.data.scan import find_bad

elsewhere = functools.partial(read_tensor, elsewhere=True)


@pytest.fixture
def shard(tmp_path):
    """Five records of random bytes, and the places of a part of each."""
    random = np.random.default_rng(0)
    path = tmp_path / "ünï\ncode @1" / "set-train.tfrecord-00000-of-00001"
    path.parent.mkdir()
    begin, places, parts = 0, [], []
    with tf.io.TFRecordWriter(str(path)) as writer:
        for n in range(5):
            data = random.bytes(1000 + n)
            writer.write(data)
            places.append(ShardPlace(str(path), begin, 10 * n, 500 + n).path)
            parts.append(data[10 * n :][: 500 + n])
            begin += len(data) + 16
    return places, parts


def test_images_in_a_shard(shard):
    places, parts = shard
    assert [read_bytes(place) for place in places] == parts
    for read in (read_tensor, elsewhere, read_record):
        assert [read(place).numpy() for place in places] == parts
        found = tf.data.Dataset.from_tensor_slices(places).map(read)
        assert list(found.as_numpy_iterator()) == parts


@pytest.mark.parametrize(
    "name", [b"a.jpg", b"caf\xe9 \xff.png", b"a\nb.jpg", b"x@1:2+3", b"a.tfrecord@1"]
)
def test_files_of_their_own(name, tmp_path):
    path = os.path.join(os.fsencode(tmp_path), name)
    with open(path, "wb") as file:
        file.write(b"an image")
    text = os.fsdecode(path)
    assert shard_place(text) is None and containing_file(text) == text
    assert read_bytes(text) == read_tensor(path).numpy() == b"an image"


def test_a_shard_whose_name_is_no_unicode(tmp_path):
    folder = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    os.mkdir(folder)
    shard = os.path.join(folder, b"s.tfrecord-0")
    with tf.io.TFRecordWriter(shard) as writer:
        writer.write(b"0123456789")
    path = ShardPlace(os.fsdecode(shard), 0, 2, 3).path
    assert read_tensor(os.fsencode(path)).numpy() == read_bytes(path) == b"234"


def test_places_are_taken_apart():
    place = ShardPlace("a@7:8+9/s.tfrecord-00000-of-00001", 12, 34, 56)
    assert place.path == "a@7:8+9/s.tfrecord-00000-of-00001@12:34+56"
    assert shard_place(place.path) == place
    assert containing_file(place.path) == place.shard


def test_damage_is_an_error(shard):
    places, _ = shard
    path = containing_file(places[0])
    with open(path, "r+b") as file:
        file.seek(20)
        file.write(b"damage")
    for read in (elsewhere, read_record):
        with pytest.raises(tf.errors.DataLossError):
            read(places[0])
    for read in (read_tensor, elsewhere, read_record):
        assert len(read(places[1]).numpy()) == 501
    assert "corrupted record" in find_bad(places)[places[0]]
    assert "corrupted" not in find_bad(places)[places[1]]  # no image, but whole
    os.truncate(path, 3000)
    for read in (elsewhere, read_record):
        with pytest.raises(tf.errors.OpError):
            read(places[3])


def test_missing_files_are_errors(tmp_path):
    for name in ("a.jpg", ShardPlace("s.tfrecord-0", 0, 0, 1).path):
        with pytest.raises(tf.errors.NotFoundError):
            elsewhere(str(tmp_path / name))
        with pytest.raises((OSError, tf.errors.NotFoundError)):
            read_tensor(str(tmp_path / name))
        with pytest.raises(FileNotFoundError):
            read_bytes(str(tmp_path / name))
