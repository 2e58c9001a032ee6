"""`keras.ops`, for a type checker that believes its results could be None."""

from typing import Any

import keras

ops: Any = keras.ops
