"""TensorFlow's tensor messages to and from numpy, without TensorFlow's operations."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2

from deml_tf.client.failures import ServerError

# Their classes are made at import, which type checkers do not see.
_messages: Any = tensor_pb2
_types: Any = types_pb2
_FIELDS = {
    _types.DT_FLOAT: ("float_val", np.float32),
    _types.DT_BOOL: ("bool_val", np.bool_),
}


def string_tensor(values: Sequence[bytes]) -> Any:
    """A message of strings.

    Args:
        values: (b,).

    Returns:
        A `TensorProto`.
    """
    tensor = _messages.TensorProto(dtype=_types.DT_STRING, string_val=values)
    tensor.tensor_shape.dim.add(size=len(values))
    return tensor


def array_of(tensor: Any) -> np.ndarray:
    """Reads a message of floats or booleans.

    The values stand in `tensor_content` as raw little-endian bytes, or one by one in a
    field of their type; there the last one stands for all that are left out
    (tensorflow/core/framework/tensor.proto).

    Args:
        tensor: A `TensorProto` as a server sends it.

    Returns:
        An array of its shape, which may be read-only.

    Raises:
        ServerError: It is of another type, or has too few or too many values.
    """
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.dtype not in _FIELDS:
        name = _types.DataType.Name(tensor.dtype)
        raise ServerError("INTERNAL", f"an output of type {name} came")
    field, kind = _FIELDS[tensor.dtype]
    if tensor.tensor_content:
        values = np.frombuffer(tensor.tensor_content, np.dtype(kind).newbyteorder("<"))
    else:
        values = np.array(getattr(tensor, field), kind)
        missing = int(np.prod(shape)) - len(values)
        if len(values) and missing > 0:
            values = np.pad(values, (0, missing), mode="edge")
    try:
        return values.reshape(shape)
    except ValueError as error:
        raise ServerError("INTERNAL", f"an output's {error}") from error
