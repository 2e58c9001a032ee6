"""Labels as whole numbers, unless their type has rounded them."""

from typing import Any

import keras
import numpy as np

from deml_tf.errors import UsageError
from deml_tf.losses.keras_ops import ops

_ROUNDED_FROM = {"float64": 2**53, "float32": 2**24, "float16": 2**11, "bfloat16": 2**8}


def class_numbers(labels: Any) -> Any:
    """Flatten labels to `(b,)` without changing any number.

    Args:
        labels: `(b,)` or `(b, 1)`, whole numbers of any type.

    Returns:
        `(b,)`: int64, or float64 if they are given as floats; on JAX, which may lack 64
        bits, of the type that JAX gives them.

    Raises:
        UsageError: If they have another shape, are strings, or are numbers of a type
            that has rounded them, so that classes would merge. In a TensorFlow graph
            the last case is a `tf.errors.InvalidArgumentError` when the graph runs;
            with `jit_compile=True` nothing is raised, because XLA drops assertions:
            give integers there.
    """
    labels = _tensor(labels)
    shape = tuple(labels.shape)
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1):
        raise UsageError(
            f"labels have shape {shape}; give one class number an image, (b,), not "
            "one-hot rows."
        )
    labels = ops.reshape(labels, [-1])
    kind = keras.backend.standardize_dtype(labels.dtype)
    on_jax = keras.backend.backend() == "jax"  # which may have no 64 bits
    if "float" not in kind:
        return labels if on_jax else ops.cast(labels, "int64")
    # From this number on such a type rounds whole numbers, and classes have merged.
    limit = _ROUNDED_FROM[kind]
    return _exact(labels if on_jax else ops.cast(labels, "float64"), limit)


def _tensor(labels: Any) -> Any:
    """Return the labels as a tensor, without losing a digit."""
    if not keras.ops.is_tensor(labels):
        given = np.asarray(labels)
        if given.dtype.kind in "OSUT":
            raise UsageError("labels are strings or objects; give class numbers.")
        is_short = keras.backend.backend() == "jax" and given.dtype.itemsize > 4
        if is_short and given.dtype.kind in "iu" and given.size:
            import jax  # pyright: ignore[reportMissingImports]

            if not jax.config.jax_enable_x64 and np.abs(given).max() >= 2**31:
                raise UsageError(
                    "labels have more than 32 bits, which JAX would cut off: set "
                    "jax_enable_x64, or number the classes from 0."
                )
    elif "str" in str(labels.dtype):
        raise UsageError("labels are strings or objects; give class numbers.")
    return ops.convert_to_tensor(labels)


def _exact(labels: Any, limit: int) -> Any:
    """Return the labels, unless one is beyond what its type holds exactly."""
    beyond = f"labels are floats beyond {limit}; give integers."
    is_exact = ops.all(ops.abs(labels) < limit)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.control_dependencies([tf.debugging.Assert(is_exact, [beyond])]):
            return tf.identity(labels)
    try:
        known = bool(is_exact)
    except Exception as error:  # JAX is tracing: there is no number yet
        raise UsageError(
            "labels are floats, which JAX cannot check while it compiles; give "
            "integers."
        ) from error
    if not known:
        raise UsageError(beyond)
    return labels
