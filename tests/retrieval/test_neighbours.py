"""Ranking against sorting in plain Python; ties, cuts and bad input."""

import numpy as np
import pytest

from deml_tf.errors import DataError, UsageError
from deml_tf.retrieval import nearest, neighbours
from deml_tf.retrieval.inputs import check_inputs
from deml_tf.retrieval.neighbours import TIE, Ranker


def random_turn(width, rng):
    """A random rotation: spreads a flat construction over `width` coordinates."""
    return np.linalg.qr(rng.normal(size=(width, width)))[0]


def in_plane(cosines):
    """Unit vectors of the plane at these cosines to the first axis."""
    cosines = np.asarray(cosines, np.float64)
    return np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)


def test_nearest_equals_a_sorted_matrix():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(57, 6)) * rng.uniform(0.01, 100, size=(57, 1))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    expected = np.argsort(-cosines, axis=1)[:, :9]
    indices, found = nearest(rows, 9)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(
        found, np.take_along_axis(cosines, expected, axis=1), atol=1e-6
    )
    assert indices.dtype == np.int64 and found.dtype == np.float32


def test_nearest_in_a_gallery_finds_the_query_itself():
    rows = np.random.default_rng(1).normal(size=(30, 4))
    indices, cosines = nearest(rows[10:15], 30, gallery_embeddings=rows)
    np.testing.assert_array_equal(indices[:, 0], np.arange(10, 15))
    np.testing.assert_allclose(cosines[:, 0], 1.0, atol=1e-6)
    np.testing.assert_array_equal(np.sort(indices, axis=1), [np.arange(30)] * 5)


def test_nearest_for_some_queries_only():
    rows = np.random.default_rng(2).normal(size=(30, 4))
    everything, cosines = nearest(rows, 5)
    some, some_cosines = nearest(rows, 5, queries=[7, 2, 7])
    np.testing.assert_array_equal(some, everything[[7, 2, 7]])
    np.testing.assert_allclose(some_cosines, cosines[[7, 2, 7]], atol=1e-6)


@pytest.mark.parametrize("copies, k", [(2, 1), (30, 1), (30, 20), (300, 1), (300, 20)])
def test_never_itself_even_among_copies_of_itself(copies, k):
    rng = np.random.default_rng(3)
    rows = np.concatenate(
        [np.tile(rng.normal(size=(1, 33)), (copies, 1)), rng.normal(size=(10, 33))]
    )
    rows = rows[rng.permutation(len(rows))]
    indices, _ = nearest(rows, k)
    assert not np.any(indices == np.arange(len(rows))[:, None])
    assert all(len(set(row)) == k for row in indices.tolist())


@pytest.mark.parametrize("others", [1, 5, 40, 200])
def test_copies_of_another_class_come_first(others):
    # One query, one copy of its own class, many copies of other classes.
    rng = np.random.default_rng(4)
    copies = np.tile(rng.normal(size=(1, 65)), (others + 2, 1)).astype(np.float32)
    rows = np.concatenate([copies, rng.normal(size=(70, 65)).astype(np.float32)])
    labels = np.array([0, 0] + [1] * others + [2] * 70)
    order = rng.permutation(len(rows))
    place = np.argsort(order)
    for k in (1, others, others + 1):
        indices, _ = nearest(rows[order], k, labels=labels[order], queries=[place[0]])
        hits = labels[order][indices[0]] == 0
        assert not hits[:others].any()
        assert hits[others:].all()


@pytest.mark.parametrize("k", [1, 3, 60])
@pytest.mark.parametrize("lead, hit", [(4 * TIE, True), (0.0, False), (TIE / 2, False)])
def test_a_lead_below_float32_is_seen_and_one_below_the_tie_is_not(lead, hit, k):
    # 99 others share a cosine; one of the query's class leads by a hair.
    rng = np.random.default_rng(5)
    angles = in_plane([1.0, 0.8 + lead] + [0.8] * 99)
    rows = np.pad(angles, [(0, 0), (0, 126)]) @ random_turn(128, rng)
    labels = np.array([0, 0] + [1] * 99)
    indices, _ = nearest(rows, k, labels=labels, queries=[0])
    assert (indices[0, 0] == 1) == hit
    assert hit or 1 not in indices[0]


def test_ties_are_told_by_cosine_not_by_length():
    # (1, 1) lies midway; the rest are copies of two mirrored directions, at lengths
    # that float32 cannot represent alike.
    rng = np.random.default_rng(6)
    lengths = rng.uniform(0.1, 9, size=(41, 1))
    rows = np.array([[1.0, 1.0]] + [[3.0, 1.0]] * 20 + [[1.0, 3.0]] * 20) * lengths
    labels = np.array([0] * 21 + [1] * 20)
    indices, _ = nearest(rows.astype(np.float32), 20, labels=labels, queries=[0])
    assert sorted(indices[0]) == list(range(21, 41))


def test_rows_too_long_or_short_to_square():
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(20, 5))
    scales = np.where(np.arange(20) % 2, 1e200, 1e-200)[:, None]
    np.testing.assert_array_equal(nearest(rows * scales, 7)[0], nearest(rows, 7)[0])


def test_every_way_of_deciding_is_taken(monkeypatch):
    """The tests here are of little use if float32 alone decided them all."""
    taken = {"_pairs": 0, "_rank_whole": 0}
    for name in taken:
        method = getattr(Ranker, name)

        def spy(self, rows, *rest, name=name, method=method):
            taken[name] += len(rows)
            return method(self, rows, *rest)

        monkeypatch.setattr(Ranker, name, spy)
    rng = np.random.default_rng(8)
    rows, labels = rng.normal(size=(400, 8)), rng.integers(0, 40, size=400)
    nearest(rows, 5, labels=labels)
    assert taken["_rank_whole"] == 0  # nothing is near: nothing is lost
    nearest(np.repeat(rows[:200], 2, axis=0), 5, labels=labels)
    assert taken["_pairs"] > 0 and taken["_rank_whole"] == 0
    nearest(np.repeat(rows[:4], 100, axis=0), 5, labels=labels)
    assert taken["_rank_whole"] > 0


@pytest.mark.parametrize("entries, rows_held", [(1, 7), (90, 64), (2**22, 4096)])
def test_blocks_of_any_size_rank_alike(monkeypatch, entries, rows_held):
    rng = np.random.default_rng(9)
    rows = np.round(rng.normal(size=(150, 3)) * 2)
    rows[~rows.any(axis=1)] = 1.0
    labels = rng.integers(0, 5, size=150)
    expected = labels[nearest(rows, 40, labels=labels)[0]] == labels[:, None]
    monkeypatch.setattr(neighbours, "_ENTRIES", entries)
    monkeypatch.setattr(neighbours, "_ROWS", rows_held)
    monkeypatch.setattr(neighbours, "_PAIRS", rows_held)
    found = labels[nearest(rows, 40, labels=labels)[0]] == labels[:, None]
    np.testing.assert_array_equal(found, expected)


def test_blocks_cover_each_row_once_at_its_depth():
    rng = np.random.default_rng(10)
    images = check_inputs(rng.normal(size=(50, 4)), rng.integers(0, 5, 50))
    rows, depths = rng.permutation(50)[:33], rng.integers(1, 49, size=33)
    ranker = Ranker(images, block_size=4)
    seen = []
    for block, indices, cosines in ranker.blocks(rows, depths):
        assert len(block) <= 4
        assert indices.shape == cosines.shape == (len(block), depths[block].max())
        seen.extend(block.tolist())
    assert sorted(seen) == list(range(33))


def test_the_error_bound_holds_for_one_sided_sums():
    # Positive, constant rows are where float32 sums drift most.
    rng = np.random.default_rng(11)
    rows = 1 + 1e-3 * rng.random((64, 1000)).astype(np.float32)
    _, cosines = nearest(rows, 63)
    unit = rows.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    exact = np.sort(unit @ unit.T, axis=1)[:, ::-1][:, 1:]
    assert np.abs(cosines - exact).max() < 1008 * 2.0**-24


GOOD = np.eye(4)


@pytest.mark.parametrize(
    "rows, message",
    [
        ([[1.0, np.nan], [1.0, 2.0], [np.nan, np.nan]], r"2 of 3 rows .* index 0"),
        ([[1.0, 0.0], [np.inf, 1.0], [1.0, 1.0]], r"1 of 3 rows hold .* index 1"),
        ([[1.0, 0.0], [0.0, 1.0], [0.0, -0.0]], r"1 of 3 rows are all zero.* index 2"),
    ],
)
def test_rows_without_a_direction(rows, message):
    with pytest.raises(DataError, match="^embeddings: " + message):
        nearest(rows, 1)
    with pytest.raises(DataError, match="^gallery_embeddings: " + message):
        nearest(GOOD[:, :2] + 1, 1, gallery_embeddings=rows)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"embeddings": np.ones(4)}, r"shape \(4,\)"),
        ({"embeddings": np.ones((2, 2, 2))}, r"shape \(2, 2, 2\)"),
        ({"embeddings": np.ones((0, 3))}, r"shape \(0, 3\)"),
        ({"embeddings": np.ones((3, 0))}, r"shape \(3, 0\)"),
        ({"embeddings": np.ones((3, 2), complex)}, "complex"),
        ({"embeddings": [["a"], ["b"]]}, "real numbers"),
        ({"k": 0}, "k is 0; give a number from 1 to 3"),
        ({"k": 4}, "k is 4; give a number from 1 to 3"),
        ({"k": 5, "gallery_embeddings": GOOD}, "from 1 to 4"),
        ({"queries": [4]}, "indices from 0 to 3"),
        ({"queries": [-1]}, "indices from 0 to 3"),
        ({"queries": [0.5]}, "indices from 0 to 3"),
        ({"labels": [1, 2, 3]}, "labels has 3 entries for 4 rows"),
        ({"labels": [[1], [2], [3], [4]]}, r"labels has shape \(4, 1\)"),
        ({"labels": [1, 2, 3, np.nan]}, "give integers or strings"),
        ({"labels": [1, 2, 3, None]}, "give integers or strings"),
        ({"gallery_labels": [1, 2, 3, 4]}, "gallery_labels must be given"),
        ({"gallery_embeddings": GOOD, "labels": [1] * 4}, "gallery_labels must be"),
        ({"gallery_embeddings": np.ones((4, 3))}, "3 numbers a row and embeddings 4"),
        (
            {
                "labels": [1] * 4,
                "gallery_embeddings": GOOD,
                "gallery_labels": ["1"] * 4,
            },
            "both as integers or both as strings",
        ),
        (
            {"labels": [1] * 4, "gallery_embeddings": GOOD, "gallery_labels": [1] * 3},
            "gallery_labels has 3 entries for 4 rows of gallery_embeddings",
        ),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(UsageError, match=message):
        nearest(**{"embeddings": GOOD, "k": 2, **arguments})


@pytest.mark.parametrize("spread", [0, 1e-5])
@pytest.mark.parametrize("has_gallery", [False, True])
def test_a_collapsed_embedding_is_ranked_as_if_cosines_were_equal(
    spread, has_gallery, monkeypatch, capsys
):
    """It costs no more than another one, and is told of."""
    rng = np.random.default_rng(5)
    rows = np.ones(16) + spread * rng.normal(size=(1200, 16))
    labels = rng.integers(0, 20, 1200) * (rng.random(1200) < 0.2)  # most are of 0
    own, given = labels, {}
    if has_gallery:
        own = labels[:300]
        given = {"gallery_embeddings": rows[:300], "gallery_labels": own}

    def never(*arguments):
        raise AssertionError("the whole gallery is compared")

    monkeypatch.setattr(Ranker, "_rank_whole", never)
    queries = np.arange(1100)
    for k in (1, 40, len(own) // 4, len(own) - 1):
        indices, _ = nearest(rows, k, labels=labels, queries=queries, **given)
        assert has_gallery or not (indices == queries[:, None]).any()
        assert all(len(set(row)) == k for row in indices.tolist())
        hits = own[indices] == labels[queries, None]
        others = (own != labels[queries, None]).sum(axis=1)
        np.testing.assert_array_equal(hits, np.arange(k) >= others[:, None])
        if k < 100:
            assert "the embedding has collapsed" in capsys.readouterr().err


def test_a_sound_embedding_is_not_said_to_have_collapsed(capsys):
    rng = np.random.default_rng(6)
    labels = np.repeat(np.arange(300), 4)
    rows = rng.normal(size=(300, 16))[labels] + 0.1 * rng.normal(size=(1200, 16))
    nearest(rows, 8, labels=labels)
    assert not capsys.readouterr().err
