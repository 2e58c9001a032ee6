"""Start `fresh_process.py`, hand it the images and collect what the export answers."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from deml_tf.errors import DataError

FRESH_PROCESS = Path(__file__).with_name("fresh_process.py")
_LIMIT = 3600  # seconds that the process may take, in case it hangs
_TENSORFLOW = ("python", "session")  # the runtimes that are TensorFlow

Inputs = Mapping[str, "np.ndarray | Sequence[bytes]"]
Answers = dict[tuple[str, str, int], dict[str, np.ndarray]]


def run_fresh(
    export: Path,
    runtimes: Sequence[str],
    inputs: Inputs,
    signatures: Mapping[str, str],
    batches: Sequence[Sequence[int]],
    *,
    python: str = sys.executable,
) -> Answers:
    """Run an export in a process that does not know this project.

    Args:
        export: The SavedModel's folder, or the file.
        runtimes: Names in `fresh_process.RUNTIMES`.
        inputs: n images each, by name: an array `(n, ...)`, or encoded.
        signatures: The name of each signature's input.
        batches: Which of the n images are run together.
        python: The interpreter, by default this one; it needs only numpy and the
            runtimes.

    Returns:
        By runtime, signature and number of the batch: the outputs by name.

    Raises:
        DataError: The process failed or took too long.
    """
    foreign = ["deml_tf"]
    if not set(runtimes) & set(_TENSORFLOW):
        foreign += ["tensorflow", "keras"]
    with tempfile.TemporaryDirectory() as work:
        plan = {
            "runtimes": list(runtimes),
            "inputs": {name: _store(work, name, v) for name, v in inputs.items()},
            "signatures": dict(signatures),
            "batches": [list(batch) for batch in batches],
            "without": foreign,
        }
        (Path(work) / "plan.json").write_text(json.dumps(plan))
        _run_isolated(
            [python, str(FRESH_PROCESS), str(export), work],
            f"The export in {where(runtimes)}",
        )
        answers: Answers = {}
        with np.load(Path(work) / "outputs.npz") as outputs:
            for key in outputs.files:
                runtime, signature, number, name = key.split("/")
                answer = answers.setdefault((runtime, signature, int(number)), {})
                answer[name] = outputs[key]
        return answers


def where(runtimes: Sequence[str]) -> str:
    """Return the words for the place where runtimes run."""
    return "a fresh process" if set(runtimes) & set(_TENSORFLOW) else runtimes[0]


def _store(work: str, name: str, images: "np.ndarray | Sequence[bytes]") -> int | None:
    """Write an input; return its number of encoded images, None for an array."""
    if isinstance(images, np.ndarray):
        np.save(Path(work) / f"{name}.npy", images)
        return None
    for number, image in enumerate(images):
        (Path(work) / f"{name}.{number}").write_bytes(image)
    return len(images)


def _run_isolated(command: Sequence[str], what: str) -> None:
    """Run a Python script that does not find this project beside it."""
    python, *rest = command
    # Neither option searches beside the script. This interpreter's packages may be
    # where an environment variable says or the user's own, which -I would not find.
    apart = "-P" if python == sys.executable else "-I"
    try:
        done = subprocess.run(
            [python, apart, *rest],
            capture_output=True,
            timeout=_LIMIT,
            # Compute on the CPU; a GPU would compute in TensorFloat-32.
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
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
