import numpy as np
import pytest

from deml_tf.retrieval import diagnostics
from deml_tf.retrieval.diagnostics import (
    embedding_spread,
    learner_cosine,
    learner_predictability,
)

CLASSES = np.repeat(np.arange(24), 10)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_spread_is_that_of_a_loop():
    vectors = normal(30, 5) + [2, 0, 0, 0, 0]
    units = [v / np.linalg.norm(v) for v in vectors]
    mean = np.array(sum(units)) / 30
    covariance = sum(np.outer(u - mean, u - mean) for u in units) / 30
    eigenvalues = np.linalg.eigvalsh(covariance)
    found = embedding_spread(3 * vectors)
    assert found["variance"] == pytest.approx(1 - mean @ mean, abs=1e-6)
    rank = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    assert found["effective_rank"] == pytest.approx(rank, rel=1e-4)


@pytest.mark.parametrize("k", [1, 2, 7])
def test_rank_of_k_opposite_pairs_is_k(k):
    """Each direction and its opposite: the mean is 0 and the variance 1."""
    axes = np.linalg.qr(normal(9, 9))[0][:k]
    found = embedding_spread(np.concatenate([axes, -axes]))
    assert found["effective_rank"] == pytest.approx(k, rel=1e-4)
    assert found["variance"] == pytest.approx(1, abs=1e-6)


def test_rank_of_orthogonal_directions_after_centring():
    found = embedding_spread(np.eye(6, 20))  # a simplex: 5 equal eigenvalues
    assert found["effective_rank"] == pytest.approx(5, rel=1e-4)
    assert found["variance"] == pytest.approx(5 / 6, abs=1e-6)


def test_equal_embeddings_have_no_spread():
    found = embedding_spread(np.tile(normal(1, 64).astype("f4"), (50, 1)))
    assert found == {"variance": pytest.approx(0, abs=1e-6), "effective_rank": 0.0}


def test_cosine_is_that_of_a_loop():
    parts = normal(6, 2, 3, 4)
    parts /= np.linalg.norm(parts, axis=-1, keepdims=True)
    for i, found in enumerate(learner_cosine(parts)):
        cosines = [
            parts[n, i, a] @ parts[n, i, b]
            for n in range(6)
            for a in range(3)
            for b in range(a)
        ]
        assert found == pytest.approx(np.mean(cosines))
    assert learner_cosine(parts[:, :, :1]) == [None, None]


def linear_maps():
    first = normal(240, 5) + normal(24, 5, seed=1)[CLASSES]
    turned = [first @ normal(5, 5, seed=s) for s in (2, 3)]
    return np.stack([first, *turned], axis=1)[:, None]


def known_by_heart():
    """Each learner tells every class, in directions that have nothing in common."""
    return np.stack([np.eye(24)[CLASSES], normal(24, 24)[CLASSES]], axis=1)[:, None]


def half_in_common():
    common, own = normal(240, 6), normal(240, 6, seed=1)
    return np.stack([common, common + own], axis=1)[:, None]


def test_linear_maps_of_one_another_are_predictable():
    (found,) = learner_predictability(linear_maps(), CLASSES)
    assert found == pytest.approx(1, abs=1e-3)


def test_of_many_images_some_are_looked_at(monkeypatch):
    """With their own labels, or classes known by heart would seem predictable."""
    of_all = learner_predictability(half_in_common(), CLASSES)
    monkeypatch.setattr(diagnostics, "MOST_IMAGES", 120)
    (found,) = learner_predictability(linear_maps(), CLASSES)
    assert found == pytest.approx(1, abs=1e-3)
    (found,) = learner_predictability(known_by_heart(), CLASSES)
    assert found is not None and found < 0.05
    some, again, others = (
        learner_predictability(half_in_common(), CLASSES, seed) for seed in (0, 0, 1)
    )
    assert some == again != others and some != of_all


@pytest.mark.parametrize("seed", range(3))
def test_independent_learners_are_not(seed):
    """Of images, and of classes: what is learned of seen classes tells nothing."""
    images = normal(240, 2, 2, 8, seed=seed)
    images[:, 1] += 5 * normal(24, 2, 8, seed=seed + 9)[CLASSES]
    for found in learner_predictability(images, CLASSES, seed):
        assert found is not None and -0.25 < found < 0.02


def test_what_is_known_by_heart_of_seen_classes_does_not_count():
    (found,) = learner_predictability(known_by_heart(), CLASSES)
    assert found is not None and found < 0.05


def test_half_of_the_variance_is_half_predictable():
    (found,) = learner_predictability(half_in_common(), CLASSES)
    # R^2 is 1/2 in both directions.
    assert found == pytest.approx(0.5, abs=0.08)


def test_what_has_no_predictability():
    parts = normal(12, 1, 2, 3)
    assert learner_predictability(parts[:, :, :1], np.arange(12)) == [None]
    assert learner_predictability(parts, np.arange(12) % 3) == [None]
    assert learner_predictability(np.ones((12, 1, 2, 3)), np.arange(12) % 4) == [None]
    assert learner_predictability(parts, np.arange(12))[0] is not None
