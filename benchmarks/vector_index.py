"""Search among many embeddings: each kind of index beside bare FAISS.

    python -m benchmarks.vector_index --embeddings=DIR --work=DIR [--count=1000000]

Takes the embeddings that `deml_tf.embed` has written and adds random ones until there
are `--count`: each is a real one, moved by half the difference of two other real ones.
So they have the real ones' groups and spectrum. The queries are made in the same way.

Of each kind it prints, for `deml_tf.index` and for the same FAISS index made of an
array in memory: seconds and peak memory of the build, bytes of the file, queries a
second, milliseconds of a single query, and recall@10 against an exact search. Searches
take turns in one process, builds have one each. OMP_NUM_THREADS sets their threads.
"""

import shutil
import statistics
import time
from pathlib import Path

import faiss
import numpy as np
from absl import app, flags

from benchmarks.memory import in_fresh_process, peak_of, resident
from benchmarks.timing import interleaved
from deml_tf.bulk.description import describe, write_description
from deml_tf.bulk.flat import exact_nearest
from deml_tf.bulk.index_builder import build_index
from deml_tf.bulk.index_kind import unit
from deml_tf.bulk.index_reader import IndexReader
from deml_tf.bulk.kinds import KINDS
from deml_tf.bulk.listed_images import ListedImage
from deml_tf.bulk.served_export import Export
from deml_tf.bulk.shard_format import shard_name
from deml_tf.bulk.shard_plan import ShardPlan
from deml_tf.bulk.shard_reader import ShardReader
from deml_tf.bulk.shard_writer import ShardWriter

FLAGS = flags.FLAGS
K, QUERIES, SINGLES, REPEATS, MOVED, SHARD = 10, 1000, 100, 5, 0.5, 10_000


def random_near(real: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Move real vectors by half the difference of two others, to length 1.

    Args:
        real: (r, d).
        count: Number of vectors, n.
        seed: Seed of the draws.

    Returns:
        (n, d) float32.
    """
    found = np.empty((count, real.shape[1]), np.float32)
    draws = np.random.default_rng(seed)
    for start in range(0, count, SHARD):
        some = slice(start, min(start + SHARD, count))
        own, plus, minus = draws.integers(len(real), size=(3, some.stop - some.start))
        found[some] = unit(real[own] + MOVED * (real[plus] - real[minus]))
    return found


def lay_out(work: Path) -> None:
    """Write vectors.npy, queries.npy, truth.npy and the shards."""
    source = ShardReader(FLAGS.embeddings)
    real = np.concatenate([block.embeddings for block in source.blocks()])
    more = FLAGS.count - len(real)
    vectors = np.concatenate([real[: FLAGS.count], random_near(real, max(0, more), 0)])
    queries = random_near(real, QUERIES, 1)
    np.save(work / "vectors.npy", vectors)
    np.save(work / "queries.npy", queries)
    known = {**source.description, "folder": Path()}
    export = Export(**{name: known[name] for name in Export._fields})
    images = [ListedImage(f"/images/{n:07d}.jpg", None) for n in range(len(vectors))]
    plan = ShardPlan(len(images), SHARD, SHARD)
    write_description(work / "embeddings", describe(export, images, plan))
    for number in range(plan.shards):
        rows = plan.rows(number)
        shard = ShardWriter(images[rows.start : rows.stop], export)
        boxes = np.tile(np.array([0, 0, 1, 1], np.float32), (len(rows), export.scales))
        shard.add(vectors[rows.start : rows.stop], boxes, [""] * len(rows))
        shard.write(work / "embeddings" / shard_name(number))
    exact = faiss.IndexFlatIP(vectors.shape[1])
    exact.add(vectors)
    np.save(work / "truth.npy", exact_nearest(exact, queries, K)[1])
    nearest = (vectors[np.load(work / "truth.npy")[:, -1]] * queries).sum(axis=1)
    print(
        f"{len(real):,} real of {len(vectors):,} vectors of {vectors.shape[1]}; the "
        f"tenth neighbour of a query has a cosine of {np.median(nearest):.2f}",
        flush=True,
    )


def build_ours(work: Path, kind: str) -> tuple[float, int]:
    """Build an index from the shards; return seconds and bytes of memory."""
    shards, before = ShardReader(work / "embeddings"), resident()
    started = time.perf_counter()
    peak = peak_of(lambda: build_index(shards, work / f"{kind}.index", kind))
    return time.perf_counter() - started, peak - before


def build_bare(work: Path, kind: str) -> tuple[float, int]:
    """Build the same FAISS index from an array; return seconds and bytes of memory."""
    vectors = np.load(work / "vectors.npy")
    chosen, before = KINDS[kind](), resident()
    index = chosen.create(vectors.shape[1], len(vectors))

    def build() -> None:
        size = chosen.training_size(len(vectors))
        if size:
            draws = np.random.default_rng(0)
            index.train(vectors[draws.choice(len(vectors), size, replace=False)])
        if kind == "hnsw":
            index.add(vectors)
        else:
            index.add_with_ids(vectors, np.arange(len(vectors)))
        faiss.write_index(index, str(work / f"{kind}.faiss"))

    started = time.perf_counter()
    peak = peak_of(build)
    return time.perf_counter() - started, peak - before


def search(work: Path, kind: str) -> list[tuple[float, float, float]]:
    """Search in both; return queries per second, ms of one, and recall@10 of each."""
    queries, truth = np.load(work / "queries.npy"), np.load(work / "truth.npy")
    ours = IndexReader(work / f"{kind}.index")
    bare = faiss.read_index(str(work / f"{kind}.faiss"))
    searches = {
        "ours": lambda asked: ours.search(asked, K)[1].ids,
        "bare": lambda asked: bare.search(asked, K)[1],
    }
    together = interleaved(
        {name: lambda find=find: find(queries) for name, find in searches.items()},
        REPEATS,
    )
    alone = interleaved(
        {
            name: lambda find=find: [find(queries[n : n + 1]) for n in range(SINGLES)]
            for name, find in searches.items()
        },
        REPEATS,
    )
    rows = []
    for name, find in searches.items():
        pairs = zip(find(queries), truth, strict=True)
        recall = sum(len({*row} & {*true}) for row, true in pairs) / truth.size
        seconds = statistics.median(alone[name]) / SINGLES
        rows.append(
            (QUERIES / statistics.median(together[name]), 1e3 * seconds, recall)
        )
    return rows


def main(_: list[str]) -> None:
    """Measure, and print."""
    work = Path(FLAGS.work)
    if not (work / "truth.npy").exists():
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        lay_out(work)
    for kind in FLAGS.kinds:
        built = [in_fresh_process(f, work, kind) for f in (build_ours, build_bare)]
        found = in_fresh_process(search, work, kind)
        files = (work / f"{kind}.index" / "index.faiss", work / f"{kind}.faiss")
        dim = np.load(work / "queries.npy").shape[1]
        said = KINDS[kind]().build_bytes(dim, FLAGS.count)
        print(f"{kind}, {said / 1e9:.2f} GB said before:")
        for name, (seconds, memory), file, (rate, one, recall) in zip(
            ("ours", "bare"), built, files, found, strict=True
        ):
            print(
                f"  {name}: built in {seconds:,.0f} s, {memory / 1e9:.2f} GB; "
                f"{file.stat().st_size / 1e6:,.0f} MB; {rate:,.0f} queries a second, "
                f"one in {one:.1f} ms; recall@10 {recall:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    flags.DEFINE_string(
        "embeddings", None, "Folder that deml_tf.embed has written.", required=True
    )
    flags.DEFINE_string("work", None, "Folder to work in.", required=True)
    flags.DEFINE_integer("count", 1_000_000, "Number of vectors in an index.")
    flags.DEFINE_list(
        "kinds", [*KINDS], "Kinds of index to measure, separated by commas."
    )
    app.run(main)
