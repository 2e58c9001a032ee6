"""Search against loops: exact where it must be, near enough elsewhere."""

import json
import math
import os
import re
import shutil
from pathlib import Path

import faiss
import numpy as np
import pytest
from made_shards import (
    OTHER_WEIGHTS,
    WEIGHTS,
    boxes_of,
    clusters,
    few_vectors_train,
    labels_of,
    paths_of,
    write_shards,
)

from deml_tf.bulk import index_files, index_reader
from deml_tf.bulk.hnsw import Hnsw
from deml_tf.bulk.index_builder import build_index
from deml_tf.bulk.index_change import change_index
from deml_tf.bulk.index_reader import IndexReader
from deml_tf.bulk.ivfpq import IvfPq
from deml_tf.bulk.kinds import KINDS, MOST_FLAT, MOST_HNSW
from deml_tf.bulk.model_id import ModelId
from deml_tf.bulk.shard_reader import ShardReader
from deml_tf.errors import DataError, UsageError


@pytest.fixture(scope="module")
def quick_ivfpq():
    with few_vectors_train():
        yield


def build(folder, rows, kind="flat", parameters=None, **given):
    shards = ShardReader(write_shards(folder / "shards", rows, **given))
    build_index(shards, folder / "index", kind, parameters)
    return IndexReader(folder / "index")


def naive(rows, query):
    """Cosines by math.fsum, and places: the greatest first, equal ones by place."""
    length = math.sqrt(math.fsum(float(x) ** 2 for x in query))
    cosines = [
        math.fsum(float(a) * float(b) for a, b in zip(row, query, strict=True)) / length
        for row in rows
    ]
    order = sorted(range(len(rows)), key=lambda n: (-round(cosines[n], 12), n))
    return [cosines[n] for n in order], order


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """An index in which many images are copies of another."""
    rows = clusters(300, 24, noise=0.3)
    rows[100:160] = rows[7]
    rows[200:203] = rows[8]
    return build(tmp_path_factory.mktemp("flat"), rows, sizes=[100, 150, 50]), rows


@pytest.mark.parametrize("k", [1, 5, 30, 300])
def test_flat_is_a_loop_over_all(flat, k):
    reader, rows = flat
    queries = np.concatenate([clusters(6, 24, seed=1), rows[[7, 8, 9]]]) * 5
    cosines, found = reader.search(queries, k)
    assert cosines.dtype == np.float32 and found.ids.dtype == np.int64
    shards = ShardReader(_shards(reader))
    stored = np.concatenate([block.embeddings for block in shards.blocks()])
    for n, query in enumerate(queries):
        expected, order = naive(stored, query)
        assert found.ids[n].tolist() == order[:k]
        np.testing.assert_allclose(cosines[n], expected[:k], rtol=0, atol=1e-7)
    if k >= 5:  # copies come by their ids
        assert found.ids[6, :3].tolist() == [7, 100, 101]
        assert found.ids[7, :4].tolist() == [8, 200, 201, 202]


def _shards(reader):
    return reader._named.removeprefix("index=").removesuffix("index") + "shards"


def test_an_answer_does_not_depend_on_the_others_asked_with_it(flat):
    reader, rows = flat
    queries = np.concatenate([clusters(40, 24, seed=2), rows[[7]]])
    cosines, found = reader.search(queries, 20)
    for n in (0, 1, 39, 40):
        alone, row = reader.search(queries[n : n + 1], 20)
        np.testing.assert_array_equal(alone[0], cosines[n])
        np.testing.assert_array_equal(row.ids[0], found.ids[n])


def test_an_answer_does_not_depend_on_how_much_is_compared_at_once(flat, monkeypatch):
    reader, _ = flat
    queries = clusters(10, 24, seed=4)
    for label in (None, "class 1"):
        cosines, found = reader.search(queries, 30, label=label)
        with monkeypatch.context() as patch:
            patch.setattr("deml_tf.bulk.flat._PAIRS", 16)
            patch.setattr("deml_tf.bulk.flat._QUERIES", 4)
            in_blocks, rows = reader.search(queries, 30, label=label)
        np.testing.assert_array_equal(in_blocks, cosines)
        np.testing.assert_array_equal(rows.ids, found.ids)


def test_rows_hold_path_label_and_boxes(flat):
    reader, _ = flat
    _, found = reader.search(clusters(4, 24, seed=3), 6)
    ids = found.ids
    assert found.paths.tolist() == np.array(paths_of(300))[ids].tolist()
    assert found.labels.tolist() == np.array(labels_of(300), object)[ids].tolist()
    np.testing.assert_array_equal(found.boxes, boxes_of(300)[ids].reshape(4, 6, 2, 4))


def test_invalid_rows_are_not_found(tmp_path):
    rows = clusters(60, 8)
    reader = build(tmp_path, rows, sizes=[20, 20, 20], invalid=(0, 20, 21, 59))
    assert reader.count == 56
    _, found = reader.search(rows[[0, 20, 30]], 56)
    lost = {paths_of(60)[n] for n in (0, 20, 21, 59)}
    assert all(set(row) == set(paths_of(60)) - lost for row in found.paths)
    assert found.paths[2, 0] == paths_of(60)[30]
    assert found.ids[2, 0] == 27


def test_more_than_there_are(flat):
    reader, _ = flat
    cosines, found = reader.search(clusters(2, 24), 1000)
    assert cosines.shape == found.ids.shape == (2, 300)
    assert (np.sort(found.ids, axis=1) == np.arange(300)).all()


def recall(found, rows, queries, k=10):
    exact = np.argsort(-(queries.astype(float) @ rows.T.astype(float)), axis=1)[:, :k]
    pairs = zip(found.ids.tolist(), exact.tolist(), strict=True)
    return np.mean([len(set(a) & set(b)) / k for a, b in pairs])


@pytest.fixture(scope="module")
def many():
    """Images and queries of the same classes."""
    rows = clusters(3200, 32, noise=0.4)
    return rows[:3000], rows[3000:]


@pytest.fixture(scope="module", params=["hnsw", "ivfpq"])
def approximate(request, many, tmp_path_factory, quick_ivfpq):
    folder = tmp_path_factory.mktemp(request.param)
    parameters = {
        "hnsw": Hnsw(m=8, ef_construction=50),
        "ivfpq": IvfPq(m=8, nlist=16, nprobe=4),
    }[request.param]
    return build(folder, many[0], request.param, parameters, sizes=[1500, 1, 1499])


def test_near_search_finds_most(approximate, many):
    rows, queries = many
    cosines, found = approximate.search(queries, 10)
    bound = {"hnsw": 0.97, "ivfpq": 0.55}[approximate.description.kind]
    assert recall(found, rows, queries) > bound
    assert (np.diff(cosines) <= 0).all()
    units = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    true = np.einsum("qd,qkd->qk", units, rows[found.ids])
    errors = np.abs(cosines - true)
    assert errors.max() < {"hnsw": 1e-6, "ivfpq": 0.2}[approximate.description.kind]


def test_near_search_finds_as_many_as_asked_for(approximate):
    """Though the lists or the neighbourhood that it looks into hold fewer."""
    cosines, found = approximate.search(clusters(2, 32, seed=5), 2_900)
    assert all(len(set(row)) == 2_900 for row in found.ids.tolist())
    assert np.isfinite(cosines).all()


def test_copies_that_are_linked_with_one_another_alone(tmp_path):
    rows = np.repeat(clusters(3, 8, classes=3), 400, axis=0)
    reader = build(tmp_path, rows, "hnsw", Hnsw(m=2, ef_construction=2, ef_search=2))
    _, found = reader.search(rows[[0, 400, 800]], 900)
    assert (found.ids >= 0).all()
    assert all(len(set(row)) == 900 for row in found.ids.tolist())
    assert [row[0] // 400 for row in found.ids.tolist()] == [0, 1, 2]


def test_size_is_no_multiple_of_bytes(tmp_path, quick_ivfpq):
    rows = clusters(2000, 21, noise=0.2)
    reader = build(tmp_path, rows, "ivfpq", IvfPq(nlist=20, nprobe=20, m=4))
    cosines, found = reader.search(rows[:50], 10)
    assert np.abs(cosines - 1).max() < 0.2  # all 10 are of the query's class
    assert recall(found, rows, rows[:50]) > 0.5


def test_parameters_reach_faiss_and_the_description(approximate):
    description = approximate.description
    kind, settings = description.kind, description.settings
    index = faiss.read_index(f"{_shards(approximate)[:-6]}index/index.faiss")
    if kind == "hnsw":
        assert settings == {"m": 8, "ef_construction": 50, "ef_search": 256}
        graph = faiss.downcast_index(index).hnsw
        assert (graph.efConstruction, graph.efSearch) == (50, 256)
        assert graph.nb_neighbors(0) == 16
    else:
        assert settings == {"nlist": 16, "m": 8, "nprobe": 4, "seed": 0}
        lists = faiss.downcast_index(faiss.extract_index_ivf(index))
        assert (lists.nlist, lists.nprobe, lists.pq.M) == (16, 4, 8)
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    assert description.model_id == ModelId("birds", 3, WEIGHTS)
    assert (description.threshold, description.count) == (0.4, 3000)


def test_more_lists_or_candidates_find_more(tmp_path, quick_ivfpq):
    rows = clusters(1130, 16, noise=2)
    rows, queries = rows[:1030], rows[1030:]
    pairs = {
        "hnsw": (Hnsw(m=4, ef_construction=10, ef_search=v) for v in (1, 100)),
        "ivfpq": (IvfPq(nlist=32, m=4, nprobe=v) for v in (1, 32)),
    }
    for kind, two in pairs.items():
        shares = []
        for parameters in two:
            folder = tmp_path / f"{kind}{len(shares)}"
            folder.mkdir()
            reader = build(folder, rows, kind, parameters)
            shares.append(recall(reader.search(queries, 10)[1], rows, queries))
        assert shares[0] + 0.1 < shares[1], kind


def test_queries_of_another_model_are_refused(flat):
    reader, _ = flat
    reader.require(ModelId("renamed", 9, WEIGHTS))  # names do not count
    with pytest.raises(
        DataError,
        match="the queries come from cars 2 .weights ffffffffffff., and index=.* "
        "holds embeddings of birds 3 .weights 0123456789ab., .*: embed with birds 3, "
        "or build an index of cars 2",
    ):
        reader.require(ModelId("cars", 2, OTHER_WEIGHTS))
    with pytest.raises(DataError, match="cars 2"):
        IndexReader(_shards(reader)[:-6] + "index", ModelId("cars", 2, OTHER_WEIGHTS))


def test_wrong_queries_are_refused(flat):
    reader, _ = flat
    with pytest.raises(UsageError, match="queries have 23 numbers each.* of 24"):
        reader.search(np.ones((2, 23)), 1)
    with pytest.raises(UsageError, match="k=0: it must be at least 1"):
        reader.search(np.ones((2, 24)), 0)
    with pytest.raises(DataError, match="queries: 1 of 2 rows are all zero"):
        reader.search(np.eye(2, 24) * [[1], [0]], 1)


def test_a_folder_that_is_no_index_is_refused(tmp_path):
    with pytest.raises(UsageError, match="index=.*/none is no index, for it cannot"):
        IndexReader(tmp_path / "none")
    with pytest.raises(UsageError, match="is no index, for index.json cannot"):
        IndexReader(tmp_path)
    (tmp_path / "index.json").write_text("{}")
    (tmp_path / "rows.parquet").write_text("")
    with pytest.raises(UsageError, match="is no index, for index.faiss cannot"):
        IndexReader(tmp_path)
    (tmp_path / "index.faiss").write_text("")
    with pytest.raises(DataError, match="is not what this command writes .KeyError"):
        IndexReader(tmp_path)


def test_files_that_do_not_fit_together_are_refused(tmp_path):
    build(tmp_path, clusters(20, 8))
    folder = tmp_path / "index"
    described = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(described | {"count": 19}))
    with pytest.raises(DataError, match="holds 20 vectors, 20 rows, and 19 by its"):
        IndexReader(folder)
    (folder / "index.json").write_text(json.dumps(described | {"format": 7}))
    with pytest.raises(DataError, match="is of format 7"):
        IndexReader(folder)
    (folder / "index.json").write_text(json.dumps(described))
    vectors = (folder / "index.faiss").read_bytes()
    for cut in (3, 100, len(vectors) - 1):
        (folder / "index.faiss").write_bytes(vectors[:cut])
        with pytest.raises(DataError, match="cannot be read|bytes of"):
            IndexReader(folder)


@pytest.fixture
def two(tmp_path):
    """The folders of two indexes of 50 rows, which differ in one image."""
    rows = clusters(51, 8)
    for name, invalid in (("old", 50), ("new", 0)):
        (tmp_path / name).mkdir()
        build(tmp_path / name, rows, invalid=(invalid,))
    return tmp_path / "old" / "index", tmp_path / "new" / "index"


@pytest.mark.parametrize(
    "copied",
    [["index.faiss"], ["index.faiss", "index.json"], ["index.json"], ["rows.parquet"]],
)
def test_a_copy_that_was_cut_off_is_refused(two, copied):
    old, new = two
    for name in copied:
        shutil.copy(new / name, old / name)
    said = "its files are not of one index: copy it anew, or build it again"
    with pytest.raises(DataError, match=f"index={old}: {said}"):
        IndexReader(old)
    with pytest.raises(DataError, match=f"output={old}: {said}"):
        change_index(old, removed=paths_of(5)[4:])


def test_vectors_that_differ_between_the_blocks_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(index_files, "_BLOCK", 1)
    rows = clusters(50, 8)
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        build(tmp_path / name, rows)
        rows[20:22] *= -1
    old, new = tmp_path / "old" / "index", tmp_path / "new" / "index"
    assert (old / "rows.parquet").read_bytes() == (new / "rows.parquet").read_bytes()
    shutil.copy(new / "index.faiss", old / "index.faiss")
    with pytest.raises(DataError, match="its files are not of one index"):
        IndexReader(old)


def test_an_index_of_an_older_version_opens(tmp_path):
    rows = clusters(50, 8)
    build(tmp_path, rows)
    folder = tmp_path / "index"
    described = json.loads((folder / "index.json").read_text())
    without = {name: value for name, value in described.items() if name != "sha256"}
    (folder / "index.json").write_text(json.dumps(without))
    assert IndexReader(folder).search(rows, 1)[1].ids[:, 0].tolist() == [*range(50)]
    without["weights_sha256"] = OTHER_WEIGHTS
    (folder / "index.json").write_text(json.dumps(without))
    with pytest.raises(DataError, match="its files are not of one index"):
        IndexReader(folder)


def test_an_index_that_is_replaced_while_it_is_opened(tmp_path, monkeypatch):
    rows = clusters(100, 8)
    build(tmp_path, rows)
    read = index_reader.read_description

    def read_and_replace(path, named):
        found = read(path, named)
        monkeypatch.undo()
        change_index(tmp_path / "index", removed=paths_of(100)[:60])
        return found

    monkeypatch.setattr(index_reader, "read_description", read_and_replace)
    reader = IndexReader(tmp_path / "index")
    assert reader.search(rows, 1)[1].paths[:, 0].tolist() == paths_of(100)
    assert IndexReader(tmp_path / "index").count == 40


def test_files_of_two_indexes_are_never_mixed(tmp_path, monkeypatch):
    rows = clusters(100, 8)
    build(tmp_path, rows)
    more = write_shards(tmp_path / "more", -rows[:60], name="new")
    opened = os.open

    def open_and_replace(name, *arguments, **named):
        handle = opened(name, *arguments, **named)
        if os.path.basename(name) == "index.json":
            monkeypatch.undo()
            change = (ShardReader(more), paths_of(100)[:60])
            change_index(tmp_path / "index", *change)  # as many as before
        return handle

    monkeypatch.setattr(os, "open", open_and_replace)
    with pytest.raises(UsageError, match="for rows.parquet cannot be read"):
        IndexReader(tmp_path / "index")


def test_the_page_runs(tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "docs" / "search.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", text, re.S)
    rows = clusters(40, 8)
    build(tmp_path, rows)
    (tmp_path / "index").rename(tmp_path / "photos.index")
    monkeypatch.chdir(tmp_path)
    names = {"embeddings": np.concatenate([rows[:3], -rows.sum(0, keepdims=True)])}
    exec(compile(block, "docs/search.md", "exec"), names)
    assert names["rows"].paths[:3, 0].tolist() == paths_of(3)
    assert names["unknown"].tolist() == [False, False, False, True]


def test_the_page_names_every_parameter_with_its_default():
    text = (Path(__file__).parents[2] / "docs" / "search.md").read_text()
    for kind, rule in KINDS.items():
        for name, default in rule().settings().items():
            value = r"\S.*" if default is None else str(default)
            assert re.search(rf"^\| `--{kind}_{name}` \| {value} \|", text, re.M), name
    assert f"{MOST_FLAT:,}" in text and f"{MOST_HNSW:,}" in text
