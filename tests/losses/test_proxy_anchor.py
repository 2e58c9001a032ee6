import numpy as np
import pytest
from class_loops import by_learner, compare, labelled, shaped, some

from deml_tf.errors import UsageError
from deml_tf.losses import ProxyAnchor, proxy_anchor


@by_learner
def naive(labels, x, w, margin=0.1, alpha=32.0):
    """The formula, proxy by proxy, in float64."""
    pull, push = [], []
    for c, proxy in enumerate(w):
        own = [v @ proxy for v, y in zip(x, labels, strict=True) if y == c]
        rest = [v @ proxy for v, y in zip(x, labels, strict=True) if y != c]
        if own:
            pull.append(np.log(1 + sum(np.exp(-alpha * (s - margin)) for s in own)))
        push.append(np.log(1 + sum(np.exp(alpha * (s + margin)) for s in rest)))
    return np.mean(pull) + np.mean(push)


@labelled
@shaped
@pytest.mark.parametrize("constants", [{}, {"margin": 0.3, "alpha": 4.0}])
def test_values_and_gradients_equal_a_loop(
    labels, shape, constants, central_differences
):
    given = labels, *some(labels, shape)
    compare(proxy_anchor, naive, *given, central_differences, **constants)


def test_steep_slopes_do_not_overflow():
    given = [3, 1, 3, 2], *some([3, 1, 3, 2], (2, 4))
    for alpha in (300.0, 1e4):
        value = float(proxy_anchor(*given, alpha=alpha)[0])
        # The largest of each sum, where it is above 0.
        wanted = 0.0
        for j in range(2):
            x = given[1][:, j] / np.linalg.norm(given[1][:, j], axis=-1, keepdims=True)
            w = given[2][j] / np.linalg.norm(given[2][j], axis=-1, keepdims=True)
            s, own = x @ w.T, np.eye(5)[given[0]] > 0
            pull = np.max(np.where(own, 0.1 - s, 0), axis=0).clip(0)
            push = np.max(np.where(own, 0, s + 0.1), axis=0).clip(0)
            wanted += alpha * (pull.sum() / 3 + push.mean()) / 2
        assert value == pytest.approx(wanted, rel=0.02)


def test_defaults_are_the_paper_s():
    loss = ProxyAnchor(num_classes=3)
    assert (loss.margin, loss.alpha, loss.rate_multiplier) == (0.1, 32, 100)


@pytest.mark.parametrize(
    ("constants", "name"),
    [({"margin": 1.5}, "margin"), ({"alpha": 0}, "alpha"), ({"pairs": "all"}, "pairs")],
)
def test_constants_out_of_range(constants, name):
    with pytest.raises(UsageError, match=name):
        ProxyAnchor(num_classes=3, **constants)
