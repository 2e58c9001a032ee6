"""Hinge that pushes the learners of one image apart."""

from typing import Any

import numpy as np

from deml_tf.errors import UsageError
from deml_tf.losses.keras_ops import ops
from deml_tf.losses.pairs import unit_vectors

# The release's weight on CUB-200-2011; `learner_hinge` does not apply it.
LEARNER_HINGE_WEIGHT = 0.2
# Squared distance up to which unit vectors are equal but for rounding: XLA may round
# the two ends of a pair differently.
_ROUNDING = 1e-13


def learner_hinge(parts: Any) -> Any:
    """Penalise learners that embed the same image alike.

    sum over learner pairs a < b of 1/2 max(0, 2 - ||e_a - e_b||)^2, e normalised:
    2 per pair of equal embeddings, 0 for opposite ones. The authors' release decouples
    the learners of a scale in this way; the paper describes an adversary instead
    (`adversary_loss`).

    Args:
        parts: `(b, j, d)`, the learners' embeddings of one scale, of any length and
            floating type.

    Returns:
        `(b,)`, float32, without the factor `LEARNER_HINGE_WEIGHT`; zeros for a single
        learner.

    Raises:
        UsageError: If the shape is not the one above.

    Departure from the release: where two learners agree exactly the distance has no
    derivative; the gradient there is zero, so learners that start as exact copies
    stay so. Start them apart.
    """
    learners = parts.shape[1] if len(parts.shape) == 3 else None
    if learners is None:
        raise UsageError(
            f"learner_hinge: parts have shape {parts.shape}; give (b, j, d) with a "
            "fixed number of learners j."
        )
    first, second = np.triu_indices(learners, k=1)
    unit = unit_vectors(parts)
    difference = ops.take(unit, first, axis=1) - ops.take(unit, second, axis=1)
    squared = ops.sum(ops.square(difference), axis=-1)  # (b, pairs)
    # Keeps sqrt, and its gradient, away from 0; NaN stays NaN.
    equal = squared <= _ROUNDING
    distance = ops.sqrt(ops.where(equal, ops.ones_like(squared), squared))
    distance = ops.where(equal, ops.zeros_like(distance), distance)
    return ops.sum(ops.square(ops.relu(2 - distance)) / 2, axis=-1)
