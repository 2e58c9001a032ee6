"""How likely distance-weighted sampling is to draw each negative."""

from typing import Any

from deml_tf.losses.keras_ops import ops
from deml_tf.losses.marked import FAR
from deml_tf.losses.pairs import Pairs

# From the authors' release: negatives nearer than the first count as if that far, since
# the gradients of near ones are noise; those beyond the second are never drawn.
NEAREST, FARTHEST = 0.5, 1.4


def negative_shares(batch: Pairs) -> Any:
    """Return the probability with which an anchor draws each of its negatives.

    In proportion to 1 / q(D), where

        log q(D) = (d - 2) log D + (d - 3) / 2 log(1 - D^2 / 4)

    is the density of the distances of points spread evenly over the unit sphere in d
    dimensions. Distances are cut off below at 0.5; a negative beyond 1.4 is not drawn.
    Wu, Manmatha, Smola & Krahenbuhl (ICCV 2017), constants from the authors' release.

    Args:
        batch: The rows are the anchors.

    Returns:
        `(j, b, B)`, float32; each row sums to 1, or to 0 for an anchor that has no
        negative to draw. It has no gradient.
    """
    distances = ops.stop_gradient(batch.distances())
    dimensions = float(batch.rows.shape[-1])
    drawn = ops.logical_and(batch.other, distances < FARTHEST)
    cut = ops.clip(distances, NEAREST, FARTHEST)
    density = (dimensions - 2) * ops.log(cut)
    density += (dimensions - 3) / 2 * ops.log(1 - ops.square(cut) / 4)
    logits = ops.where(drawn, -density, -FAR * ops.ones_like(density))
    shares = ops.exp(logits - ops.logsumexp(logits, axis=-1, keepdims=True))
    return shares * ops.cast(drawn, "float32")
