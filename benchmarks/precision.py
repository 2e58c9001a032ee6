"""Training in float32 and in bfloat16."""

from benchmarks.models import GOOGLENET, U512, training_step
from benchmarks.timing import Row, interleaved, rate_rows

BATCH = 32
MODELS = {
    "U512, GoogLeNet at 112": {**GOOGLENET, **U512, "input_size": 112},
    "DeML(3,3), GoogLeNet at 112": {**GOOGLENET, "input_size": 112},
}


def measure(repeats: int) -> list[Row]:
    """Training steps of each model in both precisions, in turns.

    Args:
        repeats: Timed steps of each.
    """
    rows = []
    for name, model in MODELS.items():
        runs = {}
        for precision in ("float32", "bfloat16"):
            step, ready = training_step(BATCH, precision=precision, **model)

            def run(step=step, ready=ready):
                return step(*ready)["loss"].numpy()

            runs[f"{name}, {precision}"] = run
        seconds = interleaved(runs, repeats)
        rows += rate_rows("precision", seconds, BATCH, f"{name}, float32")
    return rows
