"""The parity gate: what leaves the project computes what was trained, or stays."""

import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich.table import Table

from deml_tf.errors import DataError
from deml_tf.serving.expected import Trained

FRESH_PROCESS = Path(__file__).with_name("fresh_process.py")
BATCH_SIZES = (1, 3, 32)
IMAGE_SHAPE = (120, 150)  # of the signatures that take pixels; neither a square ...
_LIMIT = 600  # seconds that the fresh process may take

BOUNDS = {"float32": 1e-5, "bfloat16": 1e-2}
"""Largest absolute difference allowed, by precision.

Embeddings, parts, boxes and saliency alike; booleans must be equal. In float32 another
loader fuses and orders the same sums differently, which moves numbers below 1 by about
1e-7; a wrong resize, channel order or rotation moves them by 1e-1. In bfloat16 the
export is held to the embedder in bfloat16, which it equals to 1e-7 where both choose
the same kernels; where they do not, sums may round to a neighbour, 2^-8 away.
"""


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far one output of one run was from what was trained.

    Attributes:
        runtime: Who ran the export: a loader or another library.
        signature: What was called.
        batch_size: How many images at once.
        output: Name of the output.
        largest: Largest absolute difference; infinity for another shape, type or NaN.
        bound: What is allowed.
    """

    runtime: str
    signature: str
    batch_size: int
    output: str
    largest: float
    bound: float

    @property
    def is_within(self) -> bool:
        """Whether the difference is allowed."""
        return self.largest < self.bound or self.largest == 0


def compare(
    runtime: str,
    signature: str,
    expected: Mapping[str, np.ndarray],
    found: Mapping[str, np.ndarray],
    bound: float,
) -> list[Difference]:
    """Compares the outputs of one batch with what is expected; any runtime's.

    Args:
        runtime: Who ran the export, for the record.
        signature: What was called, for the record.
        expected: Array (b, ...) by output name.
        found: What came out.
        bound: Allowed for numbers; booleans must be equal.

    Returns:
        One `Difference` an expected output.
    """
    batch_size = len(next(iter(expected.values())))
    return [
        Difference(
            runtime,
            signature,
            batch_size,
            name,
            largest_difference(value, found.get(name)),
            bound,
        )
        for name, value in expected.items()
    ]


def largest_difference(expected: np.ndarray, found: np.ndarray | None) -> float:
    """Largest absolute difference; infinity if shape or type differ, or for NaN."""
    expected = np.asarray(expected)
    if found is None or found.shape != expected.shape:
        return np.inf
    if (expected.dtype == bool) != (found.dtype == bool):
        return np.inf
    if expected.dtype == bool:
        return float(np.inf if (expected != found).any() else 0.0)
    gap = np.abs(expected.astype(np.float64) - found.astype(np.float64))
    return float(np.nan_to_num(gap.max(initial=0.0), nan=np.inf))


def require(differences: Sequence[Difference]) -> None:
    """Refuses what differs.

    Raises:
        DataError: A difference is not allowed; the worst is named.
    """
    wrong = [d for d in differences if not d.is_within]
    if wrong:
        worst = max(wrong, key=lambda d: d.largest)
        raise DataError(
            "The export differs from the trained embedder, so nothing was published: "
            f"signature {worst.signature}, {worst.runtime} loader, batch size "
            f"{worst.batch_size}, output {worst.output} by {worst.largest:.3g} "
            f"(allowed: {worst.bound:g}; {len(wrong)} of {len(differences)} "
            "comparisons failed)."
        )


def hold_to_parity(
    folder: Path,
    embedder: keras.Model,
    encoded: Sequence[bytes],
    *,
    scales: Sequence[int],
    learners: Sequence[int],
    bound: float,
    python: str = sys.executable,
) -> list[Difference]:
    """Runs a SavedModel in a fresh process and compares it with the embedder.

    Each image alone, then three and then 32 in a batch, broken ones among them,
    through every signature and both loaders; and the embeddings of `serving_default`
    with those that scoring computes.

    Args:
        folder: The SavedModel's.
        embedder: The trained embedder, with all its parts, in the export's precision.
        encoded: Images; the first two and one more must be good, one broken.
        scales: Which the export keeps.
        learners: Which the export keeps.
        bound: Allowed difference.
        python: The interpreter that runs the export.

    Returns:
        All comparisons; `require` judges them.

    Raises:
        DataError: The export cannot be run at all.
    """
    trained = Trained(embedder, scales, learners)
    expected = trained.of_files(encoded)
    images = _images(encoded, expected)
    of_images = trained.of_pixels(images)
    batches = _batches(expected)
    sources = {
        "serving_default": "image_bytes",
        "images": "images",
        "images_float": "images_float",
        "explain": "image_bytes",
    }
    found = run_fresh(folder, encoded, images, batches, sources, python)
    good = [n for n, outputs in enumerate(expected) if outputs is not None]
    scored = trained.as_scored([encoded[n] for n in good])
    differences = []
    for loader in ("python", "session"):
        for signature, source in sources.items():
            for number, batch in enumerate(batches):
                outputs = found[loader, signature, number]
                if source == "image_bytes":
                    wanted = _of_bytes(expected, batch)
                else:
                    wanted = {name: of_images[name][batch] for name in outputs}
                wanted = {name: wanted[name] for name in outputs}
                differences += compare(loader, signature, wanted, outputs, bound)
        last = found[loader, "serving_default", len(batches) - 1]["embedding"]
        rows = [batches[-1].index(n) for n in good]
        differences += compare(
            loader,
            "serving_default as scored",
            {"embedding": scored},
            {"embedding": last[rows]},
            bound,
        )
    return differences


def precision_difference(
    trained: keras.Model,
    served: keras.Model,
    encoded: Sequence[bytes],
    scales: Sequence[int],
    learners: Sequence[int],
) -> dict[str, float]:
    """What another precision costs, on images that can be read.

    Args:
        trained: The embedder as trained.
        served: The same in the export's precision.
        encoded: Images, whatever their bytes.
        scales: Which the export keeps.
        learners: Which the export keeps.

    Returns:
        `largest_difference` of an embedding's number, and the `smallest_cosine`
        between an image's two embeddings.
    """
    both = [
        [
            row["embedding"]
            for row in Trained(e, scales, learners).of_files(encoded)
            if row
        ]
        for e in (trained, served)
    ]
    exact, rounded = np.array(both)
    return {
        "largest_difference": largest_difference(exact, rounded),
        "smallest_cosine": float((exact * rounded).sum(axis=1).min()),
    }


def run_fresh(
    folder: Path,
    encoded: Sequence[bytes],
    images: np.ndarray,
    batches: Sequence[Sequence[int]],
    signatures: Mapping[str, str],
    python: str = sys.executable,
) -> dict[tuple[str, str, int], dict[str, np.ndarray]]:
    """Runs a SavedModel's signatures in a process that does not know this project.

    Args:
        folder: The SavedModel's.
        encoded: n images.
        images: (n, h, w, 3) uint8.
        batches: Which of the n are run together.
        signatures: What each takes: "image_bytes", "images" or "images_float".
        python: The interpreter; it needs TensorFlow and nothing else.

    Returns:
        Outputs by name, by loader ("python", "session"), signature and batch.

    Raises:
        DataError: The process failed.
    """
    with tempfile.TemporaryDirectory() as work:
        plan = {
            "images": len(encoded),
            "signatures": dict(signatures),
            "batches": [list(batch) for batch in batches],
        }
        (Path(work) / "plan.json").write_text(json.dumps(plan))
        for number, image in enumerate(encoded):
            (Path(work) / f"{number}.bin").write_bytes(image)
        np.save(Path(work) / "images.npy", images)
        run_isolated(
            [python, str(FRESH_PROCESS), str(folder), work],
            "The export in a fresh process",
        )
        results: dict[tuple[str, str, int], dict[str, np.ndarray]] = {}
        with np.load(Path(work) / "outputs.npz") as outputs:
            for key in outputs.files:
                loader, *rest = key.split("/")
                if rest:
                    signature, number, name = rest
                    place = results.setdefault((loader, signature, int(number)), {})
                    place[name] = outputs[key]
        return results


def run_isolated(command: Sequence[str], what: str) -> None:
    """Runs a Python script that cannot reach this project.

    Args:
        command: The interpreter, the script and its arguments.
        what: That runs, for messages.

    Raises:
        DataError: It failed, or took too long.
    """
    python, *rest = command
    # -I: neither this folder nor an environment variable may bring the project in.
    try:
        done = subprocess.run(
            [python, "-I", *rest], capture_output=True, timeout=_LIMIT
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(
            f"{what} did not answer within {_LIMIT} seconds, so nothing was published: "
            "try again on an idle machine."
        ) from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"status {done.returncode}"
        raise DataError(
            f"{what} does not run, so nothing was published: {reason.rstrip('.')}."
        )


def parity_table(differences: Sequence[Difference]) -> Table:
    """Largest difference by runtime and signature; a column a batch size."""
    sizes = sorted({d.batch_size for d in differences})
    table = Table(
        "run by",
        "signature",
        *(f"batch {size}" for size in sizes),
        title="Largest absolute difference from the trained embedder",
    )
    rows: dict[tuple[str, str], dict[int, float]] = {}
    for (runtime, signature, _), by_size in summary(differences).items():
        row = rows.setdefault((runtime, signature), {})
        for size, largest in by_size.items():
            row[size] = max(largest, row.get(size, 0.0))
    for names, row in rows.items():
        cells = (row.get(size) for size in sizes)
        table.add_row(*names, *("" if v is None else f"{v:.1e}" for v in cells))
    return table


def summary(
    differences: Sequence[Difference],
) -> dict[tuple[str, str, str], dict[int, float]]:
    """Largest difference by (runtime, signature, output) and batch size."""
    rows: dict[tuple[str, str, str], dict[int, float]] = {}
    for d in differences:
        row = rows.setdefault((d.runtime, d.signature, d.output), {})
        row[d.batch_size] = max(d.largest, row.get(d.batch_size, 0.0))
    return rows


def as_json(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    """The `summary`, for deml.json."""
    return [
        {
            "run_by": row[0],
            "signature": row[1],
            "output": row[2],
            "by_batch_size": sizes,
        }
        for row, sizes in summary(differences).items()
    ]


def _batches(expected):
    """Each image alone, a broken one between two good ones, and 32 in turn."""
    good = [n for n, outputs in enumerate(expected) if outputs is not None]
    broken = [n for n, outputs in enumerate(expected) if outputs is None]
    count = len(expected)
    return [
        *([n] for n in range(count)),
        [good[0], *broken[:1], *good[1:3]][: BATCH_SIZES[1]],
        [n % count for n in range(max(BATCH_SIZES[2], count))],
    ]


def _of_bytes(expected, batch):
    """Outputs (b, ...) of a batch, zero where training cannot read an image."""
    model = next(outputs for outputs in expected if outputs is not None)
    rows = [
        expected[n] or {k: np.zeros_like(v) for k, v in model.items()} for n in batch
    ]
    stacked = {name: np.stack([row[name] for row in rows]) for name in model}
    return stacked | {"valid": np.array([expected[n] is not None for n in batch])}


def _images(encoded, expected):
    """The images as pixels of one size, (n, h, w, 3) uint8; grey where broken."""
    images = []
    for encoded_image, outputs in zip(encoded, expected, strict=True):
        image = tf.fill((*IMAGE_SHAPE, 3), 128.0)
        if outputs is not None:
            pixels = tf.io.decode_image(encoded_image, 3, expand_animations=False)
            image = tf.image.resize(pixels, IMAGE_SHAPE)
        images.append(tf.cast(tf.round(image), tf.uint8).numpy())
    return np.stack(images)
