"""Largest values and sums over the marked pairs of an anchor."""

from typing import Any

from deml_tf.losses.keras_ops import ops

# Beyond any cosine, distance or exponent of one, and yet finite.
FAR = 1e30


def largest_marked(values: Any, marked: Any) -> Any:
    """Return the largest marked value of each row; -1e30 if none is.

    Args:
        values: `(..., n)`, float32.
        marked: `(..., n)`, bool, of a shape that broadcasts.

    Returns:
        `(...)`.
    """
    masked = ops.where(marked, values, -FAR * ops.ones_like(values))
    return ops.max(masked, axis=-1, initial=-FAR)


def log_sum_marked(exponents: Any, marked: Any) -> Any:
    """Return log(sum of exp) over the marked exponents of each row; 0 if none is.

    Args:
        exponents: `(..., n)`, float32.
        marked: `(..., n)`, bool, of a shape that broadcasts.

    Returns:
        `(...)`, finite where the exponents are; so is its gradient.
    """
    counted, largest = _counted(exponents, marked)
    summed = ops.sum(counted, axis=-1)
    is_empty = summed <= 0  # NaN stays NaN
    logs = ops.log(ops.where(is_empty, ops.ones_like(summed), summed))
    return ops.where(is_empty, ops.zeros_like(logs), largest + logs)


def log_one_plus_sum_marked(exponents: Any, marked: Any) -> Any:
    """Return log(1 + sum of exp) over the marked exponents of each row.

    Args:
        exponents: `(..., n)`, float32.
        marked: `(..., n)`, bool, of a shape that broadcasts.

    Returns:
        `(...)`, finite where the exponents are; so is its gradient.
    """
    counted, largest = _counted(exponents, marked, floor=0.0)
    return largest + ops.log(ops.exp(-largest) + ops.sum(counted, axis=-1))


def _counted(exponents: Any, marked: Any, floor: float = -FAR) -> tuple[Any, Any]:
    """Return exp(exponent - largest) where marked, else 0; and the largest."""
    largest = ops.stop_gradient(largest_marked(exponents, marked))
    largest = ops.maximum(largest, floor)
    zeros = ops.zeros_like(exponents)
    # Inner `where`: unmarked exponents could overflow, and their gradient be NaN.
    below = ops.where(marked, exponents - largest[..., None], zeros)
    return ops.where(marked, ops.exp(below), zeros), largest
