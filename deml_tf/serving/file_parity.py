"""The parity gate of exports that are one file, each in its own runtime."""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from deml_tf.data.images import decode_bytes
from deml_tf.errors import DataError
from deml_tf.layers.prepare import fit_square
from deml_tf.serving.expected import Trained
from deml_tf.serving.parity import (
    BATCH_SIZES,
    Difference,
    compare,
    run_isolated,
)
from deml_tf.serving.square_servable import SIGNATURE, SquareServable

FRESH_RUNTIME = Path(__file__).with_name("fresh_runtime.py")
RUNTIMES = {"litert": "LiteRT", "onnx": "onnxruntime"}

BOUND = 1e-5
"""Largest absolute difference allowed, that of the SavedModel in float32.

Other kernels add the same numbers in another order: DeML(3,3) on EfficientNet-Lite0 is
moved by 7e-7 in LiteRT and by 4e-7 in onnxruntime, its boxes by nothing. A box is cut
at whole pixels of a map, so it jumps where a sum that ties with the map's mean falls to
the other side; the bound has no room for that, and an export that meets it is refused.
"""


def proof_squares(encoded: Sequence[bytes], servable: SquareServable) -> np.ndarray:
    """Images as the squares that a file takes, made as training makes them.

    Args:
        encoded: Images, whatever their bytes; those that cannot be read are left out.
        servable: Says how large.

    Returns:
        (n, s, s, 3) float32, 0..255.

    Raises:
        DataError: None can be read.
    """
    squares = []
    for image in encoded:
        try:
            pixels = decode_bytes(tf.constant(image))
        except tf.errors.OpError:
            continue
        squares.append(fit_square(pixels, servable.side, servable.geometry.fit).numpy())
    if not squares:
        raise DataError("None of the images to try the export on can be read.")
    return np.stack(squares)


def hold_file_to_parity(
    form: str,
    path: Path,
    embedder: keras.Model,
    squares: np.ndarray,
    *,
    scales: Sequence[int],
    learners: Sequence[int],
    bound: float = BOUND,
    python: str = sys.executable,
) -> list[Difference]:
    """Runs a file in a fresh process and compares it with the embedder.

    Each square alone, then three and then 32 in a batch.

    Args:
        form: "litert" or "onnx".
        path: The file.
        embedder: The trained embedder, with all its parts, in float32.
        squares: (n, s, s, 3) of `proof_squares`.
        scales: Which the export keeps.
        learners: Which the export keeps.
        bound: Allowed difference.
        python: The interpreter that runs the file.

    Returns:
        All comparisons; `deml_tf.serving.parity.require` judges them.

    Raises:
        DataError: The file cannot be run at all.
    """
    expected = Trained(embedder, scales, learners).of_pixels(squares)
    wanted = {name: expected[name] for name in ("embedding", "boxes")}
    count = len(squares)
    batches = [
        *([n] for n in range(count)),
        *([n % count for n in range(size)] for size in BATCH_SIZES[1:]),
    ]
    differences = []
    found = run_file(form, path, squares, batches, python)
    for batch, outputs in zip(batches, found, strict=True):
        rows = {name: value[batch] for name, value in wanted.items()}
        differences += compare(RUNTIMES[form], SIGNATURE, rows, outputs, bound)
    return differences


def run_file(
    form: str,
    path: Path,
    squares: np.ndarray,
    batches: Sequence[Sequence[int]],
    python: str = sys.executable,
) -> list[dict[str, np.ndarray]]:
    """Runs a file in a process that knows neither this project nor TensorFlow.

    Args:
        form: "litert" or "onnx".
        path: The file.
        squares: (n, s, s, 3) float32.
        batches: Which of the n are run together.
        python: The interpreter; it needs numpy and the runtime.

    Returns:
        Outputs by name for each batch.

    Raises:
        DataError: The process failed.
    """
    with tempfile.TemporaryDirectory() as work:
        plan = [list(batch) for batch in batches]
        (Path(work) / "plan.json").write_text(json.dumps(plan))
        np.save(Path(work) / "squares.npy", squares)
        run_isolated(
            [python, str(FRESH_RUNTIME), form, str(path), work],
            f"The export in {RUNTIMES[form]}",
        )
        results: list[dict[str, np.ndarray]] = [{} for _ in batches]
        with np.load(Path(work) / "outputs.npz") as outputs:
            for key in outputs.files:
                number, name = key.split("/")
                results[int(number)][name] = outputs[key]
        return results
