"""Training steps and forward passes: achieved FLOP/s, and times against PyTorch's.

PyTorch's side, `benchmarks.torch_twin`, runs in an environment of its own (`make
torch`), in a process that waits while ours computes; ours is compared with the faster
of its eager and compiled modes. Without that environment its rows are left out.
"""

import contextlib
import json
import statistics
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.ceiling import convolution_ceiling
from benchmarks.memory import in_fresh_process
from benchmarks.models import U512, training_step
from benchmarks.timing import Row, interleaved
from deml_tf.models.cost import gmacs, graph_gmacs, parameters
from deml_tf.models.embedder import build_deml, core_of
from deml_tf.retrieval.embedding import inference

ROOT = Path(__file__).parent.parent
TORCH = ROOT / ".venv-torch" / "bin" / "python"
BATCH = 16
MODELS = {"U512": U512, "DeML(3,3)": {}}
PLACES = (("googlenet", 224), ("googlenet", 112), ("efficientnet_lite0", 160))
PRECISIONS = ("float32", "bfloat16")
MODES = ("eager", "compiled")

Run = Callable[[], object]


def measure(repeats: int) -> list[Row]:
    """Measures every network, forward and training, in both precisions.

    Each network has a process of its own, as what earlier ones leave behind in
    TensorFlow's caches slows later ones down, by a fifth in the worst case seen.

    Args:
        repeats: Timed training steps of each, in turns; five times as many forward
            passes.
    """
    rows = []
    for backbone, side in PLACES:
        for name in MODELS:
            rows += in_fresh_process(_network, backbone, side, name, repeats)
    return rows


def _network(backbone: str, side: int, name: str, repeats: int) -> list[Row]:
    rows = []
    with contextlib.ExitStack() as stack:
        workers = {}
        if TORCH.exists():
            workers = {mode: stack.enter_context(_worker()) for mode in MODES}
        for precision in PRECISIONS:
            for what in ("train", "infer"):
                asked = {
                    "model": name,
                    "backbone": backbone,
                    "input_size": side,
                    "batch": BATCH,
                    "precision": precision,
                    "what": what,
                }
                rows += _compare(asked, MODELS[name], workers, repeats)
    return rows


def _compare(asked, model, workers, repeats):
    precision, what = asked["precision"], asked["what"]
    options = {
        **model,
        "backbone": asked["backbone"],
        "input_size": asked["input_size"],
        "precision": precision,
    }
    giga, count, ours = (_train if what == "train" else _infer)(options)
    ceiling_operations, ceiling = convolution_ceiling(precision)
    runs: dict[str, Run] = {"ours": ours, "ceiling": ceiling}
    for mode, worker in workers.items():
        theirs = worker({**asked, "mode": mode})["parameters"]
        if theirs != count:
            raise ValueError(
                f"The twin of {asked} has {theirs} parameters, not {count}."
            )
        runs[mode] = lambda worker=worker: worker({"run": True})
    # Single forward passes, some of 20 ms, vary more than the differences of interest.
    turns = repeats if what == "train" else 5 * repeats
    seconds = interleaved(runs, turns, settle=1)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    title = (
        f"{asked['model']}, {asked['backbone']} at {asked['input_size']}, {precision}, "
        + ("training step" if what == "train" else "forward pass")
    )
    achieved = 2e9 * giga / median["ours"]
    rows = [
        Row(
            "networks",
            title,
            BATCH / median["ours"],
            "images/s",
            achieved / (ceiling_operations / median["ceiling"]),
            "the convolution's FLOP/s",
            (BATCH / max(seconds["ours"]), BATCH / min(seconds["ours"])),
        )
    ]
    if workers:
        best = min(MODES, key=median.__getitem__)
        rows.append(
            Row(
                "networks",
                f"{title}, PyTorch",
                BATCH / median[best],
                "images/s",
                median["ours"] / median[best],
                f"our time over {best}",
                (BATCH / max(seconds[best]), BATCH / min(seconds[best])),
            )
        )
    for row in rows:
        print(f"  {row.name}: {row.value:.3g} {row.unit}, {row.ratio:.3g}", flush=True)
    return rows


def _train(options: dict[str, Any]) -> tuple[float, int, Run]:
    step, ready = training_step(BATCH, **options)
    giga = graph_gmacs(step.get_concrete_function(*ready))
    count = parameters(build_deml(weights="none", batch_norm="frozen", **options))
    return giga, count, lambda: step(*ready)["loss"].numpy()


def _infer(options: dict[str, Any]) -> tuple[float, int, Run]:
    embedder = build_deml(weights="none", batch_norm="frozen", **options)
    core = core_of(embedder)
    side = core.input.shape[1]
    noise = np.random.default_rng(0).uniform(0, 255, (BATCH, side, side, 3))
    images = tf.constant(noise, tf.float32)
    # Without the last scale's walk, whose box is not used for a crop.
    model = keras.Model(core.input, core.output["embedding"])
    forward = inference(model)()
    giga = BATCH * gmacs(model, side, side, 3)
    return giga, parameters(embedder), lambda: forward(images).numpy()


@contextlib.contextmanager
def _worker() -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    """Starts PyTorch's process; gives a function from a request to its answer."""
    process = subprocess.Popen(
        [str(TORCH), "-m", "benchmarks.torch_twin.worker"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    requests: Any = process.stdin
    answers: Any = process.stdout

    def ask(request):
        requests.write(json.dumps(request) + "\n")
        requests.flush()
        line = answers.readline()
        if not line:
            raise RuntimeError(f"PyTorch's process ended at {request}.")
        return json.loads(line)

    try:
        yield ask
    finally:
        requests.close()
        process.wait()
