"""Values as JSON that every reader accepts: NaN as null, all names as UTF-8."""

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from deml_tf.cli.printing import decodable


def json_text(data: object, indent: int | None = None) -> str:
    """Write a value as JSON.

    Args:
        data: Nested mappings, lists and tuples of texts, paths, and numbers or arrays
            of numpy, TensorFlow and Keras.
        indent: Blanks per level; None, the default, for one line.

    Raises:
        TypeError: A value is of another type.
    """
    return json.dumps(_plain(data), indent=indent, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """Convert to JSON's own types; NaN and infinities become null."""
    if isinstance(value, str):
        return decodable(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {decodable(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__array__"):  # numpy, TensorFlow and Keras values
        return _plain(np.asarray(value).tolist())
    if isinstance(value, os.PathLike):
        return decodable(os.fsdecode(value))
    raise TypeError(f"{value!r} cannot be written as JSON.")
