"""Load an embedder from its file."""

import os
import zipfile
from pathlib import Path
from typing import cast

import keras
import numpy as np

from deml_tf.cli.error_text import first_sentence
from deml_tf.errors import DataError
from deml_tf.models.embedder import CORE


def load_embedder(path: str | os.PathLike[str]) -> keras.Model:
    """Load an `embedder.keras`, in Keras's safe mode.

    Args:
        path: The file.

    Returns:
        The embedder, as `build_deml` builds it.

    Raises:
        DataError: The file is missing, damaged or not an embedder, or holds a weight
            that is not finite.
    """
    if not Path(path).is_file():
        raise DataError(f"There is no embedder at {path}: name an embedder.keras.")
    try:
        _check_sums(path)
        embedder = cast(keras.Model, keras.saving.load_model(path, compile=False))
        embedder.get_layer(CORE)
    except Exception as error:  # Keras, zip and HDF5 raise a dozen kinds of error
        reason = first_sentence(error)
        if not zipfile.is_zipfile(path):
            reason = "it is cut short, or no .keras file"
        raise DataError(
            f"{path} is no embedder of this project ({reason}): name an embedder.keras "
            "that a training has written."
        ) from error
    if not all(np.isfinite(value).all() for value in embedder.get_weights()):
        raise DataError(
            f"{path} is spoilt, for a weight in it is NaN or infinite: name an "
            "undamaged embedder.keras."
        )
    return embedder


def _check_sums(path: str | os.PathLike[str]) -> None:
    """Refuse a file with a damaged member, which Keras would load nonetheless."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"{damaged} in it is damaged")
