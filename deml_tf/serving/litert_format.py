"""An embedder as a LiteRT file, for phones and small machines."""

import os
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from deml_tf.errors import DataError
from deml_tf.serving.square_servable import SIGNATURE, SquareServable

FILE = "model.tflite"
INT8_FILE = "model_int8.tflite"


def write_litert(
    servable: SquareServable, folder: str | os.PathLike[str], int8: bool = False
) -> None:
    """Write the embedder with a free batch dimension, using only LiteRT's own kernels.

    Args:
        servable: What to write.
        folder: Where `model.tflite` goes.
        int8: Whether to write `model_int8.tflite` as well: its weights are rounded to 8
            bits, with a scale for each channel, and their inputs at run time.

    Raises:
        DataError: The embedder has an operation that LiteRT lacks.
    """
    with tempfile.TemporaryDirectory() as saved:
        servable.save(saved)
        for name, rounded in ((FILE, False), (INT8_FILE, True))[: 1 + int8]:
            (Path(folder) / name).write_bytes(_converted(saved, rounded))


def _converted(saved: str, int8: bool) -> bytes:
    lite: Any = tf.lite
    converter = lite.TFLiteConverter.from_saved_model(saved, signature_keys=[SIGNATURE])
    # No fallback to TensorFlow's operations, which LiteRT's package cannot run.
    converter.target_spec.supported_ops = [lite.OpsSet.TFLITE_BUILTINS]
    if int8:
        converter.optimizations = [lite.Optimize.DEFAULT]
    try:
        return converter.convert()
    except Exception as error:  # it has a class of its own, in a private module
        lines = [line for line in str(error).splitlines() if "Select ops" in line]
        reason = lines[0] if lines else str(error).splitlines()[0]
        raise DataError(
            f"LiteRT cannot hold this embedder ({reason.strip()}): export it with "
            "format=onnx or saved_model."
        ) from error
