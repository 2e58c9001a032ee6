"""An export for TensorFlow Serving, run in this process: bytes in, embeddings out."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from deml_tf.cli.error_text import first_sentence
from deml_tf.cli.printing import say
from deml_tf.errors import DataError, UsageError
from deml_tf.runs.atomic import check_tensorflow_path
from deml_tf.serving.metadata import FILE
from deml_tf.serving.version_folder import EXTRA

SIGNATURE = "serving_default"
_SAVED_MODEL = "saved_model.pb"


class Export(NamedTuple):
    """What the deml.json of an export says.

    Attributes:
        folder: Folder of the version.
        model: The model's name on the server.
        version: Its version.
        weights_sha256: Hash of the weights.
        precision: Arithmetic of the backbones.
        embedding_dim: Length of an embedding, d.
        scales: Number of scales, i.
        threshold: Cosine below which an image's nearest neighbour is not trusted;
            None if it was not measured.
        preprocessing: What the graph does with an image first.
    """

    folder: Path
    model: str
    version: int
    weights_sha256: str
    precision: str
    embedding_dim: int
    scales: int
    threshold: float | None
    preprocessing: dict[str, Any]


class Embedded(NamedTuple):
    """The answer to b images.

    Attributes:
        embedding: float32 `(b, d)`, of length one.
        boxes: float32 `(b, 4 i)`, ymin, xmin, ymax, xmax of each scale in turn.
        valid: boolean `(b,)`; where it is false the others mean nothing.
    """

    embedding: np.ndarray
    boxes: np.ndarray
    valid: np.ndarray


def read_export(folder: str | os.PathLike[str]) -> Export:
    """Read the description of an export.

    Args:
        folder: Folder of the version, such as export/models/NAME/1.

    Raises:
        UsageError: It is not an export for TensorFlow Serving.
        DataError: Its deml.json is missing, or is not what an export writes.
    """
    folder = Path(folder)
    check_tensorflow_path("export", folder)
    if not (folder / _SAVED_MODEL).is_file():
        raise UsageError(f"export={folder} {_why_none(folder)}.")
    path = folder / EXTRA / FILE
    try:
        return _parsed(folder, json.loads(path.read_bytes()))
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): export the run again."
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise DataError(
            f"{path} is not what an export writes ({what}): export the run again."
        ) from error


def warn_of_other_version(export: Export) -> None:
    """Warn of a folder named after another version, as a copy may be.

    Embeddings name the version in deml.json, but a server goes by the folder's name.

    Args:
        export: As `read_export` returns it.
    """
    folder, version = export.folder, export.version
    if folder.name.isdecimal() and int(folder.name) != version:
        say(
            f"WARNING: {folder} is version {version} by its {FILE}, and version "
            f"{folder.name} to a model server: to search with --server later, call the "
            f"folder {version}, or export the run again with --version={folder.name}."
        )


class ServedExport:
    """The signature `serving_default` of an export.

    Args:
        export: As `read_export` returns it.

    Raises:
        DataError: TensorFlow cannot load it, or it is another model than its deml.json
            describes.
    """

    def __init__(self, export: Export):
        self.export = export
        try:
            # Kept, as the signature alone does not keep the variables alive.
            self._model: Any = tf.saved_model.load(str(export.folder))
            self._signature = self._model.signatures[SIGNATURE]
        except (OSError, LookupError, ValueError, tf.errors.OpError) as error:
            raise DataError(
                f"{export.folder} cannot be loaded ({first_sentence(error)}): export "
                "the run again."
            ) from error
        given = self._signature.structured_outputs
        found = {name: tuple(spec.shape[1:]) for name, spec in given.items()}
        scales, size = export.scales, export.embedding_dim
        wanted = {"embedding": (size,), "boxes": (scales, 4), "valid": ()}
        if found != wanted:
            raise DataError(
                f"{export.folder} gives outputs of shapes {found}, and its {FILE} says "
                f"{wanted}: export the run again."
            )

    def __call__(self, encoded: Sequence[bytes]) -> Embedded:
        """Embed images.

        Args:
            encoded: The contents of b files, of any kind.
        """
        outputs = self._signature(image_bytes=tf.constant([*encoded], tf.string))
        boxes = outputs["boxes"].numpy()
        return Embedded(
            outputs["embedding"].numpy(),
            boxes.reshape(len(boxes), -1),
            outputs["valid"].numpy(),
        )


def _why_none(folder: Path) -> str:
    if not folder.is_dir():
        return (
            "is no folder: name a version that deml_tf.export wrote, such as "
            "export/models/NAME/1"
        )
    if (folder / FILE).is_file():
        return "is an export for another runtime: name one of format=saved_model"
    entries = [path for path in folder.iterdir() if path.name.isdecimal()]
    versions = [path for path in entries if (path / _SAVED_MODEL).is_file()]
    if versions:
        newest = max(versions, key=lambda path: int(path.name))
        return f"holds versions: name one of them, such as {newest}"
    return (
        "holds no SavedModel: name a version that deml_tf.export wrote, such as "
        "export/models/NAME/1"
    )


def _parsed(folder: Path, about: Mapping[str, Any]) -> Export:
    embedding, cosine = about["embedding"], about["threshold"]["cosine"]
    return Export(
        folder,
        str(about["name"]),
        int(about["version"]),
        str(about["weights_sha256"]),
        str(about["precision"]),
        int(embedding["size"]),
        int(embedding["parts"]["scales"]),
        None if cosine is None else float(cosine),
        dict(about["preprocessing"]),
    )
