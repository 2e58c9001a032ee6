"""The description that is written beside an export: deml.json."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import keras
import numpy as np

from deml_tf.runs.environment import environment
from deml_tf.serving.servable import Servable
from deml_tf.serving.source import Choice

FILE = "deml.json"


def fingerprint(
    variables: Iterable[keras.Variable], arithmetic: str = "float32"
) -> str:
    """Hash all weights to one number: SHA-256 of names, shapes, types and values.

    Args:
        variables: The weights, in any order.
        arithmetic: Arithmetic in which they are used. Any but float32, the default, is
            hashed with the weights, since it gives other embeddings.

    Returns:
        64 hexadecimal digits.
    """
    digests = []
    if arithmetic != "float32":
        digests.append(hashlib.sha256(arithmetic.encode()).digest())
    for variable in variables:
        value = np.ascontiguousarray(variable.numpy())
        head = f"{variable.path} {value.dtype.name} {value.shape}"
        digests.append(hashlib.sha256(head.encode() + value.tobytes()).digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def describe_signatures(servable: Servable) -> dict[str, Any]:
    """Describe the inputs and outputs of each signature.

    Args:
        servable: What was exported.

    Returns:
        Type and shape by name; a free dimension is None.
    """
    described = {}
    for name, function in servable.signatures.items():
        traced = function.get_concrete_function()
        described[name] = {
            "inputs": {spec.name: _spec(spec) for spec in function.input_signature},
            "outputs": {k: _spec(v) for k, v in traced.structured_outputs.items()},
        }
    return described


def describe(
    servable: Servable, choice: Choice, *, version: int, **more: Any
) -> dict[str, Any]:
    """Compose all of deml.json.

    Args:
        servable: What was exported.
        choice: How it was exported.
        version: Version of the export.
        **more: Facts of the run and of the format: data set, metrics and so on.
    """
    outputs: Any = servable.explaining_core.output
    parts = outputs["parts"].shape
    now = environment()
    arithmetic = choice.precision if choice.quantize == "none" else choice.quantize
    return {
        "name": choice.name,
        "version": version,
        "exported": datetime.now().astimezone().isoformat(timespec="seconds"),
        "embedding": {
            "size": int(np.prod(parts[1:])),
            "parts": {"scales": parts[1], "learners": parts[2], "size": parts[3]},
            "scales_kept": list(choice.scales),
            "learners_kept": list(choice.learners),
            "length": 1.0,
            "compare_by": "cosine, that is the dot product",
        },
        "precision": choice.precision,
        "weights_sha256": fingerprint(servable.core.variables, arithmetic),
        "preprocessing": servable.describe_preprocessing(),
        "signatures": describe_signatures(servable),
        "made_with": {key: now[key] for key in ("python", "packages", "git_revision")},
        **more,
    }


def _spec(spec: Any) -> dict[str, Any]:
    return {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
