import numpy as np
import pytest
from loops import check_against, euclidean, labelled, others, shaped, unit

from deml_tf.errors import UsageError
from deml_tf.losses import LiftedStructure, lifted_structure
from deml_tf.losses.lifted_structure import joined


def loop(labels, x, margin=1, normalise=False):
    """The formula, pair by pair."""
    distances = euclidean(unit(x) if normalise else x)
    sums = [
        sum(np.exp(margin - distances[p, k]) for k in others(labels, p)[1])
        for p in range(len(labels))
    ]
    costs = []
    for p in range(len(labels)):
        for q in others(labels, p)[0]:
            if q > p:
                inner = np.log(sums[p] + sums[q]) if sums[p] else -np.inf
                costs.append(max(0, distances[p, q] + inner) ** 2)
    return sum(costs) / max(2 * len(costs), 1)


@labelled
@shaped
@pytest.mark.parametrize(("margin", "normalise"), [(1.0, False), (0.5, True)])
def test_values_and_gradients_equal_a_loop(
    labels, shape, margin, normalise, central_differences
):
    def here(labels, x):
        return loop(labels, x, margin, normalise)

    loss = LiftedStructure(margin, normalise)
    check_against(here, loss, labels, shape, central_differences)


def batch(second):
    """32 classes of two, on axes."""
    axes = np.concatenate([np.arange(32), second])
    return np.tile(np.arange(32), 2), np.eye(32)[axes]


@pytest.mark.parametrize(
    ("margin", "second", "known", "positive"),
    [
        (1.1, np.arange(32), 157.68167, 0.0),
        (1.0, np.arange(32)[::-1], 187.37393, 1.0),
    ],
)
def test_known_answers_of_tensorflow_similarity(margin, second, known, positive):
    """It halves the sum of J over anchors, of cosine distances, without a square.

    Its sum over negatives has one more term, e^0, of what is masked.
    """
    labels, x = batch(second)
    distances = 1 - x @ x.T
    negatives = np.where(labels[:, None] == labels, -np.inf, margin - distances)
    of_rows = np.log(np.sum(np.exp(negatives), axis=-1))[None].astype("float32")
    both = np.array(joined(of_rows, of_rows))[0]
    partner = np.roll(np.arange(64), 32)
    surplus = np.log1p(np.exp(both[np.arange(64), partner])) + positive
    assert np.sum(surplus) / 2 == pytest.approx(known, abs=1e-3)


@pytest.mark.parametrize("second", [np.arange(32), np.arange(32)[::-1]])
def test_a_batch_on_axes(second):
    """In closed form: D is sqrt 2 or 0."""
    labels, x = batch(second)
    far = np.sqrt(2)
    is_perfect = second[0] == 0
    # Each of a pair has 62 negatives, one of which lies on it in the bad batch.
    near = 0 if is_perfect else 1
    negatives = 2 * (near * np.exp(1.1) + (62 - near) * np.exp(1.1 - far))
    wanted = ((0 if is_perfect else far) + np.log(negatives)) ** 2 / 2
    found = LiftedStructure(1.1)(labels, x)
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_references_have_negatives_among_themselves():
    random = np.random.default_rng(0)
    x, r = random.normal(size=(3, 4)), random.normal(size=(5, 4))
    labels, known = np.array([0, 1, 2]), np.array([1, 0, 0, 3, 1])
    costs = []
    for p in range(3):
        for q in np.flatnonzero(known == labels[p]):
            total = 0
            for k in np.flatnonzero(known != labels[p]):
                total += np.exp(1 - np.linalg.norm(x[p] - r[k]))
                total += np.exp(1 - np.linalg.norm(r[q] - r[k]))
            costs.append(max(0, np.linalg.norm(x[p] - r[q]) + np.log(total)) ** 2 / 2)
    found = np.mean(lifted_structure(labels, x, references=(known, r)))
    assert float(found) == pytest.approx(np.mean(costs), rel=1e-5)


def test_constants_out_of_range():
    with pytest.raises(UsageError, match="margin=-1"):
        LiftedStructure(-1)
