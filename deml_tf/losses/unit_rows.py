"""Pull of the embedding matrix's rows towards length one."""

from typing import Any

from deml_tf.losses.keras_ops import ops


def unit_rows(kernel: Any) -> Any:
    """Penalise rows of the embedding matrix W whose length is not one.

    (0.5/d) * sum over the d rows w of W of (||w||^2 - 1)^2; from the authors'
    release, weight included.

    Args:
        kernel: `(c, d)`, the embedding matrix as Keras keeps it: W transposed, so
            that the rows of W are its columns.

    Returns:
        Scalar, float32. It does not depend on the batch: under several replicas
        divide it by their number, as each of them adds its own.

    Departure from the release, where it acts in the gradient only: here it is part
    of the loss as well.
    """
    squared = ops.sum(ops.square(ops.cast(kernel, "float32")), axis=0)  # (d,)
    return 0.5 * ops.mean(ops.square(squared - 1))
