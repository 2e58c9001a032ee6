"""Scores against brute force, known answers and hand-made ties."""

import json
import math

import numpy as np
import pytest

from deml_tf.errors import DataError, UsageError
from deml_tf.retrieval import clustering, evaluate, per_class, score_queries
from deml_tf.retrieval.inputs import check_inputs
from deml_tf.retrieval.neighbours import TIE
from deml_tf.retrieval.relevance import (
    average_precision_at_r,
    first_hits,
    r_precision,
)


def naive_cosine(a, b):
    a, b = [float(x) for x in a], [float(x) for x in b]
    lengths = (
        math.sqrt(math.fsum(x * x for x in a)),
        math.sqrt(math.fsum(x * x for x in b)),
    )
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / math.prod(lengths)


def naive_scores(rows, labels, ranks, gallery=None, gallery_labels=None):
    """By the definition: a hit stands behind all others that are as near."""
    alone = gallery is None
    if alone:
        gallery, gallery_labels = rows, labels
    columns = {f"recall_at_{k}": [] for k in ranks}
    columns |= {"r_precision": [], "map_at_r": []}
    left_out = 0
    for i, row in enumerate(rows):
        same, other = [], []
        for j, candidate in enumerate(gallery):
            if alone and i == j:
                continue
            side = same if gallery_labels[j] == labels[i] else other
            side.append(naive_cosine(row, candidate))
        if not same:
            left_out += 1
            continue
        places = [
            n + sum(cosine >= hit - TIE for cosine in other)
            for n, hit in enumerate(sorted(same, reverse=True), start=1)
        ]
        r = len(same)
        for k in ranks:
            columns[f"recall_at_{k}"].append(places[0] <= k)
        columns["r_precision"].append(sum(place <= r for place in places) / r)
        columns["map_at_r"].append(
            sum(n / place for n, place in enumerate(places, 1) if place <= r) / r
        )
    means = {name: math.fsum(column) / len(column) for name, column in columns.items()}
    return means | {"queries": len(rows) - left_out, "queries_left_out": left_out}


def random_problem(seed):
    """Few directions, many copies of them, classes of all sizes."""
    rng = np.random.default_rng(seed)
    n, width = int(rng.integers(4, 45)), int(rng.integers(1, 7))
    kind = seed % 4
    if kind == 0:
        rows = rng.normal(size=(n, width))
    elif kind == 1:  # copies
        rows = rng.normal(size=(max(1, n // 4), width))[rng.integers(0, n // 4, n)]
    elif kind == 2:  # whole numbers: ties between different directions
        rows = rng.integers(-1, 2, size=(n, width)).astype(float)
        rows[~rows.any(axis=1)] = 1.0
    else:  # copies of many lengths, in float32
        rows = rng.normal(size=(3, width))[rng.integers(0, 3, n)]
        rows = (rows * rng.uniform(0.1, 10, size=(n, 1))).astype(np.float32)
    classes = int(rng.integers(1, n + 1))
    labels = rng.integers(0, classes, size=n)
    labels[:2] = labels[0]  # at least one pair
    return rows, labels


@pytest.mark.parametrize("seed", range(120))
def test_brute_force(seed):
    rows, labels = random_problem(seed)
    ranks = (1, 2, 3, 7)
    expected = naive_scores(rows, labels, ranks)
    found = evaluate(rows, labels, ranks)
    assert found == pytest.approx(expected, abs=1e-12)
    assert found == evaluate(rows, labels, ranks, block_size=1 + seed % 5)


@pytest.mark.parametrize("seed", range(40))
def test_brute_force_with_a_gallery(seed):
    rows, labels = random_problem(seed)
    cut = max(1, len(rows) // 3)
    split = (rows[:cut], labels[:cut]), (rows[cut:], labels[cut:])
    (queries, names), (gallery, gallery_names) = split
    if not np.isin(names, gallery_names).any():
        gallery_names = gallery_names.copy()
        gallery_names[-1] = names[0]
    expected = naive_scores(queries, names, (1, 4), gallery, gallery_names)
    found = evaluate(
        queries,
        names,
        (1, 4),
        gallery_embeddings=gallery,
        gallery_labels=gallery_names,
    )
    assert found == pytest.approx(expected, abs=1e-12)


# Six queries on which the field's most used library states its answers: the labels of
# each one's first neighbours, itself left out, and its own label and R.
NEIGHBOURS = np.array(
    [
        [1, 1, 2, 2],
        [0, 1, 1, 3],
        [4, 4, 4, 2],
        [1, 3, 1, 3],
        [0, 4, 2, 2],
        [2, 3, 4, 5],
    ]
)
LABELS = np.array([1, 1, 2, 3, 4, 0])
COUNTS = np.array([2, 2, 4, 3, 4, 1])
ANSWERS = {"recall_at_1": 1 / 6, "r_precision": 7 / 18, "map_at_r": 77 / 288}


def test_known_answers_from_relevance():
    relevant = NEIGHBOURS == LABELS[:, None]
    assert np.mean(first_hits(relevant) <= 1) == pytest.approx(ANSWERS["recall_at_1"])
    precision, average = (
        score(relevant, COUNTS).mean()
        for score in (r_precision, average_precision_at_r)
    )
    assert precision == pytest.approx(ANSWERS["r_precision"])
    assert average == pytest.approx(ANSWERS["map_at_r"])
    assert (round(precision, 5), round(average, 5)) == (0.38889, 0.26736)


def test_known_answers_from_embeddings():
    # Each query an axis of its own with four neighbours at falling cosines; what is
    # missing of its R lies behind it.
    rows, names = [], []
    for i, (neighbours, label) in enumerate(zip(NEIGHBOURS, LABELS, strict=True)):
        missing = COUNTS[i] - np.sum(neighbours == label)
        cosines = [0.9, 0.8, 0.7, 0.6] + [-0.5] * missing
        for cosine, name in zip(
            cosines, [*neighbours, *[label] * missing], strict=True
        ):
            row = np.zeros(12)
            row[2 * i], row[2 * i + 1] = cosine, math.sqrt(1 - cosine**2)
            rows.append(row)
            names.append(f"{i}:{name}")
    found = evaluate(
        np.eye(12)[::2],
        [f"{i}:{label}" for i, label in enumerate(LABELS)],
        (1,),
        gallery_embeddings=rows,
        gallery_labels=names,
    )
    assert found == pytest.approx({**ANSWERS, "queries": 6, "queries_left_out": 0})


def test_relevance_by_hand():
    relevant = np.array([[0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]], bool)
    counts = np.array([3, 2, 1])
    np.testing.assert_array_equal(first_hits(relevant), [2, 1, np.inf])
    np.testing.assert_allclose(r_precision(relevant, counts), [2 / 3, 1 / 2, 0])
    np.testing.assert_allclose(
        average_precision_at_r(relevant, counts), [(1 / 2 + 2 / 3) / 3, 1 / 2, 0]
    )
    with pytest.raises(ValueError, match="2 neighbours are too few for R=3"):
        r_precision(relevant[:, :2], counts)


def test_ties_by_hand():
    # Along the circle: query at 0, its class at 20 degrees, another's at -20.
    degrees = np.radians([0, 20, -20, 90])
    rows = np.stack([np.cos(degrees), np.sin(degrees)], axis=1)
    scores = score_queries(rows, [0, 0, 1, 1])
    # 0: tie, second. 20: query 0 is nearest. -20: 0, 20 and 90, third. 90: 20, 0, -20.
    np.testing.assert_array_equal(scores.first_hit, [2, 1, 3, 3])
    np.testing.assert_array_equal(scores.r_precision, [0, 1, 0, 0])


def test_all_embeddings_equal():
    rows = np.ones((60, 16), np.float32)
    scores = evaluate(rows, np.arange(60) % 3, (1, 8, 40, 41))
    assert scores["recall_at_1"] == scores["recall_at_8"] == scores["r_precision"] == 0
    assert scores["recall_at_40"] == 0 and scores["recall_at_41"] == 1
    alone = evaluate(rows, ["one"] * 60)
    assert alone["recall_at_1"] == alone["r_precision"] == alone["map_at_r"] == 1


@pytest.mark.parametrize(
    "labels", [np.arange(80) % 8, [f"c{i % 8}" for i in range(80)]]
)
def test_perfect_and_adversarial(labels):
    near = np.eye(8)[np.arange(80) % 8] + 1e-3
    perfect = evaluate(near, labels, nmi=True)
    assert perfect.pop("queries") == 80 and perfect.pop("queries_left_out") == 0
    assert perfect.pop("nmi") == pytest.approx(1.0)
    assert perfect == dict.fromkeys(
        ["recall_at_1", "recall_at_2", "recall_at_4", "recall_at_8"]
        + ["r_precision", "map_at_r"],
        1.0,
    )
    # Every direction holds ten classes; those of a class are opposite to each other.
    rows = np.eye(2)[np.arange(80) // 40] * [[1.0, -1.0]]
    worst = evaluate(rows, np.arange(80) % 40, (1, 39))
    assert worst["recall_at_39"] == worst["r_precision"] == worst["map_at_r"] == 0


def test_queries_with_nothing_to_find_are_left_out_and_counted():
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(9, 3)), np.array(list("aabbcdeff"))
    scores = evaluate(rows, labels)
    assert (scores["queries"], scores["queries_left_out"]) == (6, 3)
    assert scores == pytest.approx(naive_scores(rows, labels, (1, 2, 4, 8)))
    np.testing.assert_array_equal(
        score_queries(rows, labels).queries, [0, 1, 2, 3, 7, 8]
    )
    assert [row["label"] for row in per_class(rows, labels)] == ["a", "b", "f"]


def test_invariant_to_order_length_and_names():
    rows, labels = random_problem(5)
    rng = np.random.default_rng(0)
    expected = evaluate(rows, labels)
    order = rng.permutation(len(rows))
    scales = rng.uniform(1e-3, 1e3, size=(len(rows), 1))
    names = np.array([f"class {i}" for i in labels])
    objects = names.astype(object)
    for other in (
        evaluate(rows[order], labels[order]),
        evaluate(rows * scales, labels),
        evaluate((rows * scales).astype(np.float32), labels),
        evaluate(rows, names),
        evaluate(rows, objects),
        evaluate(rows, np.char.encode(names).astype(object)),
        evaluate(rows, labels.astype(np.float32)),
        evaluate(rows.tolist(), labels.tolist()),
    ):
        assert other == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "int64"])
def test_other_number_types(dtype):
    tf = pytest.importorskip("tensorflow")
    rng = np.random.default_rng(1)
    rows = rng.integers(-20, 20, size=(40, 5)) + 0.0
    labels = rng.integers(0, 8, size=40)
    found = evaluate(tf.cast(rows, dtype), tf.constant(labels))
    assert found == evaluate(rows, labels)


def test_a_rank_beyond_the_gallery_means_all_of_it():
    rows, labels = random_problem(4)
    assert evaluate(rows, labels, (len(rows) - 1, 1000))["recall_at_1000"] == 1


def test_classes_of_very_different_size_cost_no_accuracy():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(90, 3))
    labels = np.array([0] * 60 + [1] * 20 + [2] * 6 + [3, 3, 4, 5])
    expected = naive_scores(rows, labels, (1, 2))
    for block_size in (1, 7, 4096):
        found = evaluate(rows, labels, (1, 2), block_size=block_size)
        assert found == pytest.approx(expected, abs=1e-12)


def test_table_by_class_averages_to_the_summary():
    rng = np.random.default_rng(3)
    rows, labels = rng.normal(size=(50, 3)), rng.integers(0, 9, size=50)
    table = per_class(rows, labels)
    assert [row["label"] for row in table] == sorted(row["label"] for row in table)
    json.dumps(table)
    summary = evaluate(rows, labels)
    json.dumps(summary)
    assert sum(row["queries"] for row in table) == summary["queries"]
    for name in ("recall_at_1", "r_precision", "map_at_r"):
        mean = np.average(
            [row[name] for row in table], weights=[row["queries"] for row in table]
        )
        assert mean == pytest.approx(summary[name])


def test_one_ranking_serves_summary_and_table():
    rows, labels = random_problem(8)
    scores = score_queries(rows, labels, depth=4)
    assert scores.summary((1, 4)) == evaluate(rows, labels, (1, 4))
    assert scores.by_class() == per_class(rows, labels)
    with pytest.raises(UsageError, match="depth=8"):
        scores.summary((1, 8))


def test_nmi():
    rng = np.random.default_rng(4)
    labels = np.repeat(np.arange(12), 9)
    centres = rng.normal(size=(12, 10))
    rows = centres[labels] + 0.01 * rng.normal(size=(108, 10))
    apart = evaluate(rows, labels, nmi=True, seed=1)["nmi"]
    assert apart == pytest.approx(1.0)
    noise = rng.normal(size=(108, 10))
    mixed = evaluate(noise, labels, nmi=True, seed=1)["nmi"]
    assert 0 < mixed < 0.7
    assert mixed == evaluate(noise, labels, nmi=True, seed=1)["nmi"]
    lengths = rng.uniform(0.1, 10, size=(108, 1))
    assert evaluate(rows * lengths, labels, nmi=True)["nmi"] == pytest.approx(1.0)
    equal = evaluate(np.ones((108, 10)), labels, nmi=True)["nmi"]
    assert equal == pytest.approx(0.0)
    joined = evaluate(
        rows[::2],
        labels[::2],
        nmi=True,
        gallery_embeddings=rows[1::2],
        gallery_labels=labels[1::2],
    )
    assert joined["nmi"] == pytest.approx(1.0)
    assert "nmi" not in evaluate(rows, labels)


def test_nmi_by_hand():
    """Clusters of 6 and 2, classes of 4 and 4; 4, 2 and 2 images have both in common.

    With a = 3/4 log2(3), H(clusters) = 2 - a, H(classes) = 1 and H(both) = 3/2.
    """
    rows = np.eye(2)[[0] * 6 + [1] * 2]
    a = 0.75 * math.log2(3)
    found = evaluate(rows, [0] * 4 + [1] * 4, nmi=True)["nmi"]
    assert found == pytest.approx(2 * (1.5 - a) / (3 - a))


@pytest.mark.parametrize(
    "most, settings",
    [
        (2**28, {"init": "k-means++", "n_init": 3, "max_iter": 100}),
        (0, {"init": "random", "n_init": 1, "max_iter": 20}),
    ],
)
def test_clusters_of_few_and_of_many_images(monkeypatch, most, settings):
    given = {}

    def spy(clusters, **arguments):
        given.update(arguments)
        return kmeans(clusters, **arguments)

    kmeans = clustering.KMeans
    monkeypatch.setattr(clustering, "KMeans", spy)
    monkeypatch.setattr(clustering, "_CAREFUL", most)
    labels = np.arange(40) % 2
    rows = np.eye(5)[labels] + 0.01 * np.random.default_rng(0).normal(size=(40, 5))
    assert evaluate(rows, labels, nmi=True, seed=7)["nmi"] == pytest.approx(1.0)
    assert given == {**settings, "random_state": 7}


@pytest.mark.parametrize(
    "ranks, message",
    [
        ((), "ranks is empty"),
        ((1, 0), "holds 0"),
        ((-3,), "holds -3"),
        ((1.5,), "holds 1.5"),
        ((True,), "holds True"),
        (("1",), "holds 1"),
    ],
)
def test_wrong_ranks(ranks, message):
    with pytest.raises(UsageError, match=message):
        evaluate(np.eye(4), [0, 0, 1, 1], ranks)


def test_a_rank_beyond_all_numbers_means_all_images():
    for rank in (10**20, 10**400):
        scores = evaluate(np.eye(4), [0, 0, 1, 1], (1, rank))
        assert scores[f"recall_at_{rank}"] == 1
    with pytest.raises(UsageError, match="holds -10000000000000000000000;"):
        evaluate(np.eye(4), [0, 0, 1, 1], (1, -(10**22)))


@pytest.mark.parametrize(
    "labels",
    [
        [2**63 + 1, 2**63 + 1, 2**63 + 2, 2**63 + 2, 7, 7],
        [2**53 + 1, 2**53 + 1, 2**53, 2**53, -1, -1],
        [2**63 + 1, 2**63 + 1, 2**63 + 2, 2**63 + 2, -7, -7],
        [2**70 + 1, 2**70 + 1, 2**70 + 2, 2**70 + 2, -7, -7],
        np.array([2**63 + 1, 2**63 + 1, 2**63 + 2, 2**63 + 2, 7, 7], np.uint64),
        np.array([1, 1, 2, 2, 3, 3], object),
        np.array(list("aabbcc"), np.dtypes.StringDType()),
        np.array(list("aabbcc"), object),
        ["a", "a", "a\0", "a\0", "c", "c"],
        [b"\xe9", b"\xe9", b"\xff", b"\xff", b"c", b"c"],
        [np.str_("a")] * 2 + ["b"] * 2 + [b"c"] * 2,
        [1.0, 1.0, 1.5, 1.5, 2, 2],
    ],
    ids=repr,
)
def test_labels_keep_their_identity(labels):
    rows = np.eye(6)[[0, 1, 0, 1, 4, 4]]
    plain = np.repeat([0, 1, 2], 2)
    assert evaluate(rows, labels, (1,)) == evaluate(rows, plain, (1,))
    table = per_class(rows, labels)
    assert [row["queries"] for row in table] == [2, 2, 2]


def test_queries_and_gallery_are_compared_exactly():
    scores = evaluate(
        np.eye(2),
        np.array([2**53 + 1, 2**53], np.uint64),
        (1,),
        gallery_embeddings=np.eye(2)[::-1],
        gallery_labels=np.array([2**53 + 1, 2**53]),  # as floats they are equal
    )
    assert scores["recall_at_1"] == 0


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 1, "2", "2"], "something else than labels"),
        ([None] * 4, "something else than labels"),
        ([[1], [1], [2], [2]], "one label an image"),
        ([[1], [1, 2], [2], [2]], "something else than labels"),
        ([1.0, 1.0, np.nan, 2.0], "something else than labels"),
        ([2.0**53, 2.0**53, 2.0**53 + 2, 1.0], "rounds whole numbers"),
        (np.array([2**24, 2**24 + 1, 1, 1], np.float32), "rounds whole numbers"),
        (np.array(["2024-01-01"] * 4, "datetime64[D]"), "something else than labels"),
    ],
    ids=repr,
)
def test_what_is_no_label_is_refused(labels, message):
    with pytest.raises(UsageError, match=message):
        evaluate(np.eye(4), labels, (1,))


def test_wrong_input():
    with pytest.raises(DataError, match="at least one class needs two"):
        evaluate(np.eye(4), [0, 1, 2, 3])
    with pytest.raises(DataError, match="at least one class needs two"):
        evaluate([[1.0]], [0])
    with pytest.raises(UsageError, match="labels has 3 entries for 4 rows"):
        evaluate(np.eye(4), [0, 0, 1])
    with pytest.raises(UsageError, match="block_size is 0"):
        evaluate(np.eye(4), [0, 0, 1, 1], block_size=0)
    with pytest.raises(DataError, match="hold NaN or inf, the first at index 3"):
        per_class(np.diag([1, 1, 1, np.nan]), [0, 0, 1, 1])


@pytest.mark.parametrize("dtype", ["<f8", ">f8"])
def test_no_order_of_bytes_loses_digits(dtype):
    rows = np.array([[1, 0], [1, 1e-10], [0, 1]], dtype)
    found = check_inputs(rows, [0, 0, 1]).queries
    assert found.dtype == np.float64 and found[1, 1] == 1e-10
