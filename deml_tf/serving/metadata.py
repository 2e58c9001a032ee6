"""What an export says of itself: `assets.extra/deml.json`."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import keras
import numpy as np

from deml_tf.runs.environment import environment
from deml_tf.serving.encoded_images import MOST_PIXELS
from deml_tf.serving.servable import Servable

FILE = "deml.json"


def fingerprint(variables: Iterable[keras.Variable]) -> str:
    """One number for all weights: SHA-256 over names, shapes, types and values.

    Args:
        variables: In any order.

    Returns:
        64 hexadecimal digits.
    """
    digests = []
    for variable in variables:
        value = np.ascontiguousarray(variable.numpy())
        head = f"{variable.path} {value.dtype.name} {value.shape}"
        digests.append(hashlib.sha256(head.encode() + value.tobytes()).digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def describe_signatures(servable: Servable) -> dict[str, Any]:
    """Inputs and outputs of each signature: type and shape, null where it is free."""
    described = {}
    for name, function in servable.signatures.items():
        traced = function.get_concrete_function()
        described[name] = {
            "inputs": {spec.name: _spec(spec) for spec in function.input_signature},
            "outputs": {k: _spec(v) for k, v in traced.structured_outputs.items()},
        }
    return described


def describe_preprocessing(servable: Servable) -> dict[str, Any]:
    """What happens to an image inside the graph: nothing of it is left to clients."""
    geometry = servable.geometry
    return {
        "colours": "RGB, 0..255; the backbone normalises them itself",
        "formats": "JPEG, PNG, GIF (first frame), BMP; WebP where TensorFlow has it",
        "exif_orientation": "applied",
        "resize": "bilinear, half-pixel centres, antialiased",
        "fit": geometry.fit,
        "resize_size": geometry.resize_size,
        "crop": "centre",
        "crop_size": geometry.input_size,
        "most_pixels": MOST_PIXELS,
    }


def describe(
    servable: Servable,
    *,
    name: str,
    version: int,
    scales: tuple[int, ...],
    learners: tuple[int, ...],
    precision: str,
    **more: Any,
) -> dict[str, Any]:
    """All of deml.json.

    Args:
        servable: What was exported.
        name: The model's name on the server.
        version: Its version.
        scales: Those of the trained embedder that were kept, from 0.
        learners: Likewise.
        precision: Of the backbones.
        **more: What the run knows: data set, metrics and so on.
    """
    outputs: Any = servable.explaining_core.output
    parts = outputs["parts"].shape
    now = environment()
    return {
        "name": name,
        "version": version,
        "exported": datetime.now().astimezone().isoformat(timespec="seconds"),
        "embedding": {
            "size": int(np.prod(parts[1:])),
            "parts": {"scales": parts[1], "learners": parts[2], "size": parts[3]},
            "scales_kept": list(scales),
            "learners_kept": list(learners),
            "length": 1.0,
            "compare_by": "cosine, that is the dot product",
        },
        "precision": precision,
        "weights_sha256": fingerprint(servable.core.variables),
        "preprocessing": describe_preprocessing(servable),
        "signatures": describe_signatures(servable),
        "made_with": {key: now[key] for key in ("python", "packages", "git_revision")},
        **more,
    }


def _spec(spec: Any) -> dict[str, Any]:
    return {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
