"""The parity gate: an export computes what was trained, or is not published."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deml_tf.errors import DataError
from deml_tf.serving.differences import Difference, compare, largest_difference
from deml_tf.serving.expected import Trained
from deml_tf.serving.fresh_run import run_fresh
from deml_tf.serving.trial import Trial

BOUNDS = {"float32": 1e-5, "bfloat16": 1e-2}
"""Largest absolute difference allowed, by precision.

It holds for embeddings, parts, boxes and saliency alike; booleans must be equal. In
float32 another loader or batch size fuses and orders the same sums differently, which
moves what the first scale computes by about 1e-7; a wrong resize, channel order or
rotation moves it by 1e-1. DeML(3,3) on EfficientNet-Lite0 with the walk moves by 7e-7
in LiteRT and by 4e-7 in onnxruntime, its boxes not at all. A box of the walk is cut at
whole pixels of a map, so it jumps where a sum that ties with the map's mean falls to
the other side; the bound does not allow for that, and an export with such a jump is
refused.

A box of `separation` moves with what it is computed from, and each scale hands on a
magnified rounding to the next: the third scale of the demo moves by 3e-4 between
batches of one and three images, whatever computes it. So an image's scale may differ by
as much as it does in the trained embedder when pixels move by a thousandth of a grey
level (`Trained.sensitivity`), where that is more than the bound, and at most by
`differences.MOST`.

In bfloat16 the export is compared with the embedder in bfloat16, which it equals to
1e-7 where both choose the same kernels; where they do not, sums may round to a
neighbour, 2^-8 away.
"""
LEAST_COSINE = 0.9
"""Least median, over images, of the cosine between the embeddings in the trained and in
another precision: a scale's box may jump for one image, never for half of them."""


def hold_to_parity(
    export: Path,
    runtimes: Sequence[str],
    trial: Trial,
    bound: float,
    *,
    python: str = sys.executable,
) -> list[Difference]:
    """Run an export in a fresh process and compare it with the embedder.

    Compared are each image alone, then three and then 32 in a batch (with broken ones
    if the export takes encoded images), through every signature and every runtime; and
    the embeddings of `serving_default` with those that scoring computes.

    Args:
        export: The SavedModel's folder, or the file.
        runtimes: Names in `fresh_process.RUNTIMES`.
        trial: The images, and the outputs that they must give.
        bound: Difference that is allowed whatever the sensitivity.
        python: The interpreter that runs the export, by default this one.

    Returns:
        All comparisons; `differences.require` judges them.

    Raises:
        DataError: The export cannot be run at all.
    """
    batches = trial.batches
    found = run_fresh(
        export, runtimes, trial.inputs, trial.signatures, batches, python=python
    )
    differences = []
    for runtime in runtimes:
        for signature, expected in trial.expected.items():
            for number, batch in enumerate(batches):
                wanted, moved = (
                    {name: value[batch] for name, value in values.items()}
                    for values in (expected, trial.sensitivity[signature])
                )
                outputs = found[runtime, signature, number]
                differences += compare(
                    runtime, signature, wanted, outputs, bound, moved
                )
        if trial.scored is not None:
            whole = found[runtime, "serving_default", len(batches) - 1]["embedding"]
            moved = trial.sensitivity["serving_default"]["embedding"][trial.valid]
            differences += compare(
                runtime,
                "serving_default as scored",
                {"embedding": trial.scored},
                # the last batch begins with each image once
                {"embedding": whole[: len(trial.valid)][trial.valid]},
                bound,
                {"embedding": moved},
            )
    return differences


def precision_difference(
    trained: Trained, served: Trained, encoded: Sequence[bytes], precision: str
) -> dict[str, float]:
    """Measure what another precision costs, on images that can be read.

    Args:
        trained: The embedder as trained.
        served: The embedder in the export's precision.
        encoded: Images, whatever their bytes.
        precision: The export's precision.

    Returns:
        `largest_difference` in any number of an image's embedding, and
        `smallest_cosine` between its two embeddings.

    Raises:
        DataError: Half of the images have a cosine below `LEAST_COSINE`, which no
            rounding does.
    """
    exact, rounded = (
        np.array([row["embedding"] for row in model.of_files(encoded) if row])
        for model in (trained, served)
    )
    cosines = (exact * rounded).sum(axis=1)
    if np.median(cosines) < LEAST_COSINE:
        raise DataError(
            f"precision={precision} computes other embeddings than were trained "
            f"(median cosine {np.median(cosines):.3f}), so nothing was published: "
            "export in the precision of the training."
        )
    return {
        "largest_difference": largest_difference(exact, rounded),
        "smallest_cosine": float(cosines.min()),
    }
