"""How badly the learners of a scale can be predicted from one another."""

from typing import Any

import numpy as np

from deml_tf.errors import UsageError
from deml_tf.losses.keras_ops import ops
from deml_tf.losses.pairs import unit_vectors


def ordered_pairs(num_learners: int) -> tuple[np.ndarray, np.ndarray]:
    """List the ordered pairs (a, b), a != b, of learners.

    Sorted by source, then target. Three learners, counted from 0, give
    (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1).

    Args:
        num_learners: J, at least 1.

    Returns:
        `source` a and `target` b, both `(J * (J - 1),)`, int32.
    """
    source, target = np.nonzero(~np.eye(num_learners, dtype=bool))
    return source.astype(np.int32), target.astype(np.int32)


def adversary_loss(predictions: Any, parts: Any) -> Any:
    """Return the adversary's loss: how far its predictions are from the learners.

    1 - mean over ordered pairs (a, b) of cosine(prediction_ab, e_b), e_b without
    gradient: 0 for learners that can be computed from one another, about 1 for
    independent ones, 2 at most. Chen & Deng (CVPR 2019) decouple the learners with an
    adversarial network; its norm and weight are not published, so this form is ours. It
    has no trivial solution: no constant prediction fits embeddings that differ.

    The adversary minimises it over the predictors; the embedder minimises
    `metric loss - weight * adversary_loss`. Targets have no gradient, so the embedder
    can only make e_a less informative about e_b; it cannot move e_b away from the
    prediction.

    Args:
        predictions: `(b, j * (j - 1), d)`, from `Adversary`, in the order of
            `ordered_pairs`; of any length and floating type.
        parts: `(b, j, d)`, the learners' embeddings of one scale, of any length and
            floating type.

    Returns:
        `(b,)`, float32; zeros for a single learner.

    Raises:
        UsageError: If the shapes do not match.
    """
    learners = parts.shape[1] if len(parts.shape) == 3 else None
    if learners is None:
        raise UsageError(
            f"adversary_loss: parts have shape {parts.shape}; give (b, j, d) with a "
            "fixed number of learners j."
        )
    _, target = ordered_pairs(learners)
    if len(predictions.shape) != 3 or predictions.shape[1] != len(target):
        raise UsageError(
            f"adversary_loss: predictions have shape {predictions.shape}; "
            f"{learners} learners need (b, {len(target)}, d)."
        )
    targets = ops.take(unit_vectors(ops.stop_gradient(parts)), target, axis=1)
    cosine = ops.sum(unit_vectors(predictions) * targets, axis=-1)
    # A sum of distances, so that no pairs at all give 0.
    return ops.sum(1 - cosine, axis=-1) / max(len(target), 1)
