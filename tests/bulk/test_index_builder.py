"""Building and changing an index: what is in the folder, and when."""

import contextlib
import errno
import os
import re
import resource

import faiss
import numpy as np
import pyarrow as pa
import pytest
from forks import Fork
from made_shards import (
    OTHER_WEIGHTS,
    clusters,
    few_vectors_train,
    paths_of,
    write_shards,
)
from pyarrow import parquet

from deml_tf.bulk import available_memory
from deml_tf.bulk.flat import Flat
from deml_tf.bulk.hnsw import Hnsw
from deml_tf.bulk.index_builder import build_index
from deml_tf.bulk.index_change import change_index
from deml_tf.bulk.index_folder import read_description
from deml_tf.bulk.index_reader import IndexReader
from deml_tf.bulk.ivfpq import IvfPq
from deml_tf.bulk.kinds import KINDS
from deml_tf.bulk.shard_reader import ShardReader
from deml_tf.errors import DataError, UsageError
from deml_tf.runs import replaced_folder

SMALL = {
    "flat": Flat(),
    "hnsw": Hnsw(m=4, ef_construction=20),
    "ivfpq": IvfPq(m=4, nlist=8, nprobe=8),
}


@pytest.fixture(scope="module")
def quick_ivfpq():
    with few_vectors_train():
        yield


def tree(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def made(folder, rows, **given):
    return ShardReader(write_shards(folder, rows, **given))


@pytest.fixture
def one_thread():
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


@pytest.mark.parametrize("kind", KINDS)
def test_two_builds_are_the_same_bytes(tmp_path, kind, one_thread, quick_ivfpq):
    rows = clusters(1500, 16)
    for name in ("a", "b"):
        shards = made(tmp_path / f"{name}_shards", rows, sizes=[700, 800])
        build_index(shards, tmp_path / name, kind, SMALL[kind])
    first, second = tree(tmp_path / "a"), tree(tmp_path / "b")
    assert first.keys() == {"index.faiss", "rows.parquet", "index.json"}
    assert first == second


@pytest.mark.parametrize("short", [1, 3000, 100_000])
def test_a_full_disk_leaves_the_index_as_it_was(tmp_path, short):
    build_index(made(tmp_path / "a", clusters(1000, 64)), tmp_path / "index", "flat")
    before = tree(tmp_path / "index")
    more = made(tmp_path / "b", clusters(200, 64), name="more")
    change_index(tmp_path / "index", more)
    whole = (tmp_path / "index" / "index.faiss").stat().st_size
    for name, content in before.items():
        (tmp_path / "index" / name).write_bytes(content)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (whole - short, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            change_index(tmp_path / "index", more)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert tree(tmp_path / "index") == before


def test_sizes_of_shards_make_no_difference(tmp_path):
    rows, lost = clusters(400, 16), (0, 1, 2, 300)
    for name, sizes in (("a", [400]), ("b", [3, 1, 296, 100])):
        shards = made(tmp_path / f"{name}_shards", rows, sizes=sizes, invalid=lost)
        build_index(shards, tmp_path / name, "flat")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_rows_are_what_the_format_says(tmp_path):
    shards = made(tmp_path / "shards", clusters(20, 8), invalid=(3,))
    build_index(shards, tmp_path / "index", "flat")
    table = parquet.read_table(tmp_path / "index" / "rows.parquet")
    assert table.schema.names == ["id", "path", "label", "boxes"]
    assert table.schema.types == [
        pa.int64(),
        pa.string(),
        pa.string(),
        pa.list_(pa.float32(), 8),
    ]
    assert table["id"].to_pylist() == [*range(19)]
    assert table["path"].to_pylist() == [p for p in paths_of(20) if "image3." not in p]


def test_rows_written_in_groups_are_there_once(tmp_path, monkeypatch):
    monkeypatch.setattr("deml_tf.bulk.index_folder._GROUP", 8)
    rows, index = clusters(20, 8), tmp_path / "index"
    build_index(made(tmp_path / "shards", rows, sizes=[5, 5, 10]), index, "flat")
    table = parquet.read_table(index / "rows.parquet")
    assert table["id"].to_pylist() == [*range(20)]
    assert table["path"].to_pylist() == paths_of(20)
    change_index(index, made(tmp_path / "more", -rows, name="new"), paths_of(20)[:3])
    table = parquet.read_table(index / "rows.parquet")
    assert table["id"].to_pylist() == [*range(3, 40)]
    assert table["path"].to_pylist() == paths_of(20)[3:] + paths_of(20, "new")


def test_faiss_alone_gives_the_ids(tmp_path):
    rows = clusters(50, 8)
    build_index(made(tmp_path / "shards", rows), tmp_path / "index", "flat")
    change_index(tmp_path / "index", removed=paths_of(50)[:10])
    index = faiss.read_index(str(tmp_path / "index" / "index.faiss"))
    assert index.search(rows[10:], 1)[1][:, 0].tolist() == [*range(10, 50)]


def changed_and_rebuilt(folder, kind):
    """An index that was changed, one that was built of what is left, and queries."""
    rows, more = clusters(1400, 16), clusters(200, 16, seed=1)
    lost = [*range(5), 77, *range(1100, 1300)] if SMALL[kind].removes else []
    index = folder / "index"
    shards = made(folder / "shards", rows, sizes=[600, 800], invalid=(9,))
    build_index(shards, index, kind, SMALL[kind])
    removed = [paths_of(1400)[n] for n in lost]
    added = made(folder / "more", more, sizes=[150, 50], name="new", invalid=(3,))
    change_index(index, added, removed)
    kept = [n for n in range(1400) if n not in {*lost, 9}]
    new = [n for n in range(200) if n != 3]
    paths = [paths_of(1400)[n] for n in kept] + [paths_of(200, "new")[n] for n in new]
    rebuilt = made(folder / "again", np.concatenate([rows[kept], more[new]]))
    build_index(rebuilt, folder / "whole", kind, SMALL[kind])
    return IndexReader(index), IndexReader(folder / "whole"), paths


def assert_as_if_never_added(folder, queries, cosines, ids):
    """Adds to the changed index, emptied, the vectors that should be in it."""
    index = faiss.read_index(str(folder / "index" / "index.faiss"))
    index.reset()
    table = parquet.read_table(folder / "index" / "rows.parquet")
    vectors = {
        path: vector
        for name in ("shards", "more")
        for block in ShardReader(folder / name).blocks()
        for path, vector in zip(block.paths.to_pylist(), block.embeddings, strict=True)
    }
    rows = np.array([vectors[path] for path in table["path"].to_pylist()])
    index.add_with_ids(rows, table["id"].to_numpy())
    units = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    expected, others = index.search(units, 10)
    np.testing.assert_allclose(cosines, expected, atol=1e-6)
    for row, other, values in zip(ids, others, expected, strict=True):
        clear = np.abs(np.diff(values)).min() > 1e-5  # vectors of equal bytes tie
        assert not clear or row.tolist() == other.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_index_is_like_a_rebuilt_one(tmp_path, kind, quick_ivfpq):
    changed, rebuilt, paths = changed_and_rebuilt(tmp_path, kind)
    queries = clusters(40, 16, seed=2)
    cosines, found = changed.search(queries, 10)
    expected, others = rebuilt.search(queries, 10)
    assert changed.count == rebuilt.count == len(paths)
    by_place = np.array(paths)[others.ids]
    if kind == "flat":
        np.testing.assert_array_equal(cosines, expected)
        assert found.paths.tolist() == by_place.tolist()
    elif kind == "hnsw":  # another graph
        same = [
            len(set(a) & set(b)) for a, b in zip(found.paths, by_place, strict=True)
        ]
        assert np.mean(same) > 9.5
    else:  # the centres are those of the first build
        assert_as_if_never_added(tmp_path, queries, cosines, found.ids)
    table = parquet.read_table(tmp_path / "index" / "rows.parquet")
    assert table["path"].to_pylist() == paths
    ids = table["id"].to_pylist()
    # Ids stay, and those of the added go on from the last one that was given.
    assert ids[-199:] == [*range(1399, 1399 + 199)]
    assert changed.description.next_id == 1399 + 199
    for row, image in zip(found.ids.ravel(), found.paths.ravel(), strict=True):
        assert paths[ids.index(row)] == image


@pytest.mark.parametrize("kind", ["flat", "ivfpq"])
def test_what_was_removed_may_come_back_with_a_new_id(tmp_path, kind, quick_ivfpq):
    rows = clusters(1100, 16)
    shards = made(tmp_path / "shards", rows)
    build_index(shards, tmp_path / "index", kind, SMALL[kind])
    change_index(tmp_path / "index", removed=paths_of(1100)[-2:])
    assert read_description(tmp_path / "index" / "index.json", "").next_id == 1100
    fresh = made(tmp_path / "fresh", -rows[:1])  # image0, embedded anew
    change_index(tmp_path / "index", fresh, paths_of(1))
    reader = IndexReader(tmp_path / "index")
    assert reader.count == 1098
    _, found = reader.search(-rows[:1], 1)
    assert (found.paths[0, 0], found.ids[0, 0]) == (paths_of(1)[0], 1100)


def test_hnsw_forgets_no_image(tmp_path):
    shards = made(tmp_path / "shards", clusters(30, 8))
    build_index(shards, tmp_path / "index", "hnsw")
    before = tree(tmp_path / "index")
    with pytest.raises(UsageError, match="is of kind hnsw, which forgets no image"):
        change_index(tmp_path / "index", removed=paths_of(1))
    assert tree(tmp_path / "index") == before


def test_wrong_changes_are_refused(tmp_path):
    index = tmp_path / "index"
    build_index(made(tmp_path / "shards", clusters(30, 8)), index, "flat")
    before = tree(index)
    other = made(tmp_path / "a", clusters(3, 8), weights=OTHER_WEIGHTS, model="cars")
    with pytest.raises(DataError, match="come from cars 3.*holds.*of birds 3"):
        change_index(index, other)
    with pytest.raises(UsageError, match="'x.jpg' is no path in output="):
        change_index(index, removed=[*paths_of(2), "x.jpg"])
    again = made(tmp_path / "b", clusters(40, 8), invalid=range(29))
    with pytest.raises(UsageError, match="1 of its images are in .*image29.jpg'"):
        change_index(index, again)
    with pytest.raises(UsageError, match="would hold no image any more"):
        change_index(index, removed=paths_of(30))
    with pytest.raises(UsageError, match="is no index"):
        change_index(tmp_path / "shards", removed=paths_of(1))
    assert tree(index) == before
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "index", "shards"]


def test_a_broken_index_is_not_changed(tmp_path):
    shards = made(tmp_path / "shards", clusters(30, 8))
    more = made(tmp_path / "more", clusters(3, 8), name="new")
    index = tmp_path / "index"
    for name in ("rows.parquet", "index.faiss"):
        for kept in (None, 0, 20, -1):
            build_index(shards, index, "flat")
            whole = (index / name).read_bytes()
            (index / name).unlink()
            if kept is not None:
                (index / name).write_bytes(whole[:kept])
            before = tree(index)
            for change in ((more, ()), (None, paths_of(1))):
                with pytest.raises(DataError) as caught:
                    change_index(index, *change)
                said = str(caught.value)
                assert said.startswith(f"output={index}") and "\n" not in said
                assert said.endswith("build it again.")
            assert tree(index) == before


@pytest.mark.parametrize(
    "name", ["at-12:30", os.fsdecode(b"at \xff")], ids=["colon", "no UTF-8"]
)
def test_folders_that_pyarrow_would_not_find(tmp_path, monkeypatch, name):
    """A relative path that looks like an address, and one that is no UTF-8."""
    monkeypatch.chdir(tmp_path)
    rows = clusters(30, 8)
    made(tmp_path / "made", rows[:20], sizes=[15, 5])
    made(tmp_path / "more", rows[20:], name="new")
    for folder in ("made", "more"):
        os.rename(folder, f"{name} {folder}")
    build_index(ShardReader(f"{name} made"), name, "flat")
    change_index(name, ShardReader(f"{name} more"), paths_of(1))
    reader = IndexReader(name)
    _, found = reader.search(rows[1:], 1)
    assert found.paths[:, 0].tolist() == paths_of(20)[1:] + paths_of(10, "new")


def test_what_is_no_index_is_never_replaced(tmp_path):
    shards = made(tmp_path / "shards", clusters(30, 8))
    with pytest.raises(UsageError, match="holds embeddings.json, which is no part"):
        build_index(shards, tmp_path / "shards", "flat")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="leads through the file .*/file"):
        build_index(shards, tmp_path / "file", "flat")
    with pytest.raises(UsageError, match="leads through the file .*/file"):
        build_index(shards, tmp_path / "file" / "index", "flat")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real").mkdir()
    build_index(shards, tmp_path / "link", "flat")
    assert (tmp_path / "link").is_symlink() and len(tree(tmp_path / "real")) == 3


def test_what_comes_meanwhile_is_never_replaced(tmp_path, monkeypatch):
    index, add = tmp_path / "index", Flat.add
    shards = made(tmp_path / "shards", clusters(30, 8))
    more = made(tmp_path / "more", clusters(3, 8), name="new")

    def meanwhile(self, *given):
        index.mkdir(exist_ok=True)
        (index / "notes.txt").write_text("mine")
        add(self, *given)

    monkeypatch.setattr(Flat, "add", meanwhile)
    said = r"index cannot be written \(output=.*index holds notes.txt, which is no .*\)"
    with pytest.raises(DataError, match=f"{said}: what was made for it is whole, and"):
        build_index(shards, index, "flat")
    assert tree(index) == {"notes.txt": b"mine"}
    (kept,) = tmp_path.glob("index.*")
    assert IndexReader(kept).count == 30
    (index / "notes.txt").unlink()
    index.rmdir()
    kept.rename(index)
    before = tree(index)
    with pytest.raises(DataError, match=said):
        change_index(index, more)
    assert tree(index) == before | {"notes.txt": b"mine"}
    (kept,) = tmp_path.glob("index.*")
    assert IndexReader(kept).count == 33


def test_an_index_on_a_disk_that_cannot_swap(tmp_path, monkeypatch):
    shards = made(tmp_path / "shards", clusters(30, 8))
    build_index(shards, tmp_path / "index", "flat")
    before = tree(tmp_path / "index")

    def refused(first, second):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(replaced_folder, "_swap", refused)
    said = r"index cannot be replaced, for its disk cannot swap two .*argument\): "
    with pytest.raises(DataError, match=f"{said}copy it to a disk of this machine, ch"):
        change_index(tmp_path / "index", removed=paths_of(1))
    with pytest.raises(DataError, match=f"{said}name a new folder, or one on another"):
        build_index(shards, tmp_path / "index", "flat")
    assert tree(tmp_path / "index") == before


def test_a_build_that_fails_leaves_the_old_index(tmp_path, monkeypatch):
    rows = clusters(30, 8)
    build_index(made(tmp_path / "shards", rows), tmp_path / "index", "flat")
    before = tree(tmp_path / "index")
    spoilt = rows.copy()
    spoilt[29] = np.nan
    more = made(tmp_path / "more", spoilt, sizes=[15, 15], name="new")
    with pytest.raises(DataError, match="NaN"):
        change_index(tmp_path / "index", more)
    with pytest.raises(DataError, match="NaN"):
        build_index(more, tmp_path / "index", "flat")
    with pytest.raises(DataError, match="NaN"):
        build_index(more, tmp_path / "new", "flat")
    assert tree(tmp_path / "index") == before
    assert sorted(os.listdir(tmp_path)) == ["index", "more", "shards"]


def killed_while_it_adds(folder):
    """Builds over an index, and is killed at the second block."""
    add = Flat.add

    def once(self, index, vectors, ids):
        if ids[0]:
            print(*os.listdir(folder), flush=True)
            os.kill(os.getpid(), 9)
        add(self, index, vectors, ids)

    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(Flat, "add", once)
        build_index(ShardReader(folder / "more"), folder / "index", "flat")


def test_a_killed_build_leaves_the_old_index(tmp_path):
    build_index(made(tmp_path / "shards", clusters(30, 8)), tmp_path / "index", "flat")
    before = tree(tmp_path / "index")
    more = made(tmp_path / "more", clusters(40, 8), sizes=[20, 20])
    process = Fork(killed_while_it_adds, tmp_path)
    said, errors = process.communicate()
    assert process.returncode == -9, errors
    assert re.search(r"\.index\.[0-9a-f]{8}\.tmp", said)  # there was half a one
    assert tree(tmp_path / "index") == before
    build_index(more, tmp_path / "index", "flat")
    assert IndexReader(tmp_path / "index").count == 40
    assert sorted(os.listdir(tmp_path)) == ["index", "more", "shards"]


def test_an_open_index_stays_as_it_was(tmp_path):
    rows = clusters(300, 8)
    build_index(made(tmp_path / "shards", rows), tmp_path / "index", "flat")
    reader = IndexReader(tmp_path / "index")
    change_index(tmp_path / "index", removed=paths_of(300)[:250])
    _, found = reader.search(rows, 1)
    assert found.paths[:, 0].tolist() == paths_of(300)
    assert IndexReader(tmp_path / "index").count == 50


def test_too_much_memory_is_refused_before_the_work(tmp_path, monkeypatch, capsys):
    shards = made(tmp_path / "shards", clusters(20_000, 8))
    need = Flat().build_bytes(8, 20_000) + available_memory.BUFFERS
    monkeypatch.setattr(available_memory, "available_memory", lambda: need - 1)
    with pytest.raises(UsageError) as caught:
        build_index(shards, tmp_path / "index", "flat")
    assert str(caught.value) == (
        "kind=flat takes about 0.15 GB of memory, and 0.15 GB are available: use "
        "a machine with more."
    )
    with pytest.raises(UsageError, match="give kind=flat, or use a machine with more"):
        build_index(shards, tmp_path / "index", "hnsw")
    assert not (tmp_path / "index").exists()
    capsys.readouterr()
    monkeypatch.setattr(available_memory, "available_memory", lambda: need)
    build_index(shards, tmp_path / "index", "flat")
    said = capsys.readouterr().out
    assert said.startswith("An index of kind flat: about 0.15 GB of memory, of")
    monkeypatch.setattr(available_memory, "available_memory", lambda: need + 10)
    more = made(tmp_path / "more", clusters(10, 8), name="new")
    with pytest.raises(UsageError, match="kind=flat takes about 0.15 GB"):
        change_index(tmp_path / "index", more)


def test_sizes_can_be_compared(monkeypatch, capsys):
    monkeypatch.setattr(available_memory, "available_memory", lambda: 128_400_000_000)
    with pytest.raises(UsageError, match="takes about 204 GB .* 128 GB are available"):
        available_memory.require_memory("flat", 203_400_000_000)
    available_memory.require_memory("flat", 2_030_000_000)
    said = capsys.readouterr().out
    assert said.endswith("about 2.2 GB of memory, of 128 GB available.\n")


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_room_is_reserved(kind):
    """Adding block by block moves nothing to a larger place."""
    index = SMALL[kind].create(16, 4000)
    flat = index.index if kind == "flat" else index.storage
    codes = faiss.downcast_index(flat).codes
    rows = clusters(4000, 16)
    places = set()
    for start in range(0, 4000, 500):
        ids = np.arange(start, start + 500)
        SMALL[kind].add(index, rows[start : start + 500], ids)
        places.add(faiss.rev_swig_ptr(codes.data(), 1).ctypes.data)
    assert index.ntotal == 4000 and len(places) == 1


def test_memory_is_what_the_machine_or_the_container_leaves(tmp_path, monkeypatch):
    info = tmp_path / "meminfo"
    info.write_text("MemTotal: 9 kB\nMemFree: 5 kB\nMemAvailable:    1000 kB\n")
    monkeypatch.setattr(available_memory, "MACHINE", info)
    monkeypatch.setattr(available_memory, "GROUP", tmp_path)
    assert available_memory.available_memory() == 1_024_000
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 3\ninactive_file 100000\n")
    assert available_memory.available_memory() == 1_024_000
    (tmp_path / "memory.max").write_text("900000\n")
    assert available_memory.available_memory() == 300_000
    monkeypatch.setattr(available_memory, "MACHINE", tmp_path / "none")
    assert available_memory.available_memory() == 300_000
    monkeypatch.setattr(available_memory, "GROUP", tmp_path / "none")
    assert available_memory.available_memory() is None


def test_what_the_embeddings_do_not_suit_is_told_by_its_flag(tmp_path):
    shards = made(tmp_path / "shards", clusters(9_984, 8))
    with pytest.raises(UsageError, match=r"^ivfpq_m=9: give at most 8"):
        build_index(shards, tmp_path / "index", "ivfpq", IvfPq(m=9))
