"""Searching the images of one label alone, against loops."""

import numpy as np
import pyarrow
import pytest
from made_shards import clusters, labels_of, paths_of, write_shards

from deml_tf.bulk import index_reader
from deml_tf.bulk.hnsw import Hnsw
from deml_tf.bulk.index_builder import build_index
from deml_tf.bulk.index_reader import IndexReader
from deml_tf.bulk.ivfpq import IvfPq
from deml_tf.bulk.shard_reader import ShardReader
from deml_tf.errors import UsageError

DIM = 16


def build(folder, rows, kind, parameters=None):
    shards = ShardReader(write_shards(folder / "shards", rows))
    build_index(shards, folder / "index", kind, parameters)
    return IndexReader(folder / "index")


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    rows = clusters(300, DIM)
    rows[100:160] = rows[7]
    folder = tmp_path_factory.mktemp("few")
    return build(folder, rows, "flat"), rows


def test_names_are_spelled_out_once_for_all_questions(few, monkeypatch):
    """Not for each of 100,000 labels whenever somebody asks for one there is not."""
    index, _ = few
    spelled = []
    monkeypatch.setattr(
        index_reader, "printable", lambda name: spelled.append(name) or name
    )
    for _ in range(3):
        assert index.label_named("none such") is None
    assert len(spelled) <= len(index.labels)


def naive(rows, query, label):
    """Places by a loop: the greatest cosine first, equal ones by place."""
    labels = labels_of(len(rows))
    places = [n for n in range(len(rows)) if labels[n] == label]
    cosines = [float(rows[n].astype(float) @ query.astype(float)) for n in places]
    order = sorted(range(len(places)), key=lambda n: (-round(cosines[n], 6), n))
    return [places[n] for n in order]


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_the_images_of_a_label_are_searched_exactly(few, kind, tmp_path):
    reader, rows = few
    if kind == "hnsw":
        reader = build(tmp_path, rows, kind, Hnsw(m=2, ef_search=1))
    queries = np.concatenate([clusters(4, DIM, seed=1), rows[[7]]])
    for label in ("class 0", "class 6"):
        expected = [naive(rows, query, label) for query in queries]
        for k in (1, 9, 300):
            cosines, found = reader.search(queries, k, label=label)
            assert found.ids.tolist() == [places[:k] for places in expected]
            assert set(found.labels.ravel()) == {label}
            assert (np.diff(cosines) <= 0).all()
    every, _ = reader.search(queries, 300)
    of_label, found = reader.search(queries, 300, label="class 0")
    _, places = reader.search(queries, 300)
    for n in range(len(queries)):  # the same numbers as without a label
        chosen = np.isin(places.ids[n], found.ids[n])
        if kind == "flat":
            np.testing.assert_array_equal(every[n][chosen], of_label[n])


def test_rounded_vectors_of_a_label_are_all_looked_at(tmp_path):
    rows = clusters(10_000, DIM)
    reader = build(tmp_path, rows, "ivfpq", IvfPq(nlist=64, m=8, nprobe=1))
    queries = clusters(3, DIM, seed=1)
    own = reader.labels["class 3"]
    cosines, found = reader.search(queries, 10_000, label="class 3")
    assert found.ids.shape == (3, own)
    expected = [n for n, label in enumerate(labels_of(10_000)) if label == "class 3"]
    for ids in found.ids:
        assert sorted(ids) == expected
    assert (np.diff(cosines) <= 0).all()
    # Lists of other centres too, if one of them holds enough.
    assert (reader.search(queries, 5, label="class 3")[1].ids == found.ids[:, :5]).all()


def test_labels_are_counted_and_ordered(few):
    reader, rows = few
    labels = labels_of(len(rows))
    names = sorted(set(labels) - {None})
    assert list(reader.labels.items()) == [(n, labels.count(n)) for n in names]
    for name in names:
        expected = [n for n, label in enumerate(labels) if label == name]
        assert reader.ids(name).tolist() == expected
    assert reader.ids().tolist() == list(range(300))


def test_rows_are_found_by_their_ids(few):
    reader, _ = few
    found = reader.rows_of([299, 0, 5])
    assert found.ids.tolist() == [299, 0, 5]
    assert found.paths.tolist() == [paths_of(300)[n] for n in (299, 0, 5)]
    assert found.boxes.shape == (3, 2, 4)
    for wrong in ([300], [-1], [0, 2**40]):
        with pytest.raises(UsageError, match=f"ids={wrong[-1]} is not in index="):
            reader.rows_of(wrong)


def test_there_is_room_for_more_text_than_two_gigabytes(few):
    """Strings of 32-bit places cannot be taken from beyond 2 GiB."""
    kinds = {few[0]._table.schema.field(name).type for name in ("path", "label")}
    assert kinds == {pyarrow.large_string()}


def test_a_label_that_no_image_has(few):
    for label in ("class 9", "", "caf\udce9"):
        with pytest.raises(UsageError, match="label=.*: no image of index=.* has it"):
            few[0].search(np.ones((1, DIM)), label=label)
