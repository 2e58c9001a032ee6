"""The share of a training step that its input costs."""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.models import GOOGLENET, U512, training_step
from benchmarks.timing import Row, interleaved
from deml_tf.config import DataConfig
from deml_tf.data.batch_table import BatchTable
from deml_tf.data.batches import class_ids, training_dataset
from deml_tf.data.selection import read_examples

BATCH, SHARE = 32, 0.05
MODELS = {
    "U512, EfficientNet-Lite0 at 160": {**U512, "input_size": 160},
    "DeML(3,3), EfficientNet-Lite0 at 160": {"input_size": 160},
    "U512, GoogLeNet at 227": {**GOOGLENET, **U512, "input_size": 227},
    "DeML(3,3), GoogLeNet at 227": {**GOOGLENET, "input_size": 227},
}


def measure(repeats: int) -> list[Row]:
    """Times steps fed by the pipeline against the same steps on a batch in memory.

    Args:
        repeats: Timed steps of each.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        photographs(Path(folder))
        examples = read_examples(DataConfig("folder", folder))
        for name, model in MODELS.items():
            side = model["input_size"]
            step, ready = training_step(BATCH, **model)
            table = BatchTable(class_ids(examples)[0], BATCH // 2, 2)
            batches = iter(
                training_dataset(
                    examples,
                    table,
                    resize_size=round(side * 8 / 7),
                    input_size=side,
                    last_step=10**6,
                )
            )

            def fed(step=step, batches=batches):
                return step(*next(batches))["loss"].numpy()

            def bare(step=step, ready=ready):
                return step(*ready)["loss"].numpy()

            def read(batches=batches):
                return next(batches)[0].numpy()

            # Reading alone comes last: it would empty the pipeline's buffer for `fed`.
            seconds = interleaved({"fed": fed, "bare": bare}, repeats)
            seconds |= interleaved({"read": read}, repeats, warm_up=4)
            share = np.median(seconds["fed"]) / np.median(seconds["bare"]) - 1
            rows += [
                Row(
                    "step_input",
                    f"share of {name}",
                    100 * share,
                    "%",
                    share / SHARE,
                    f"bound of {SHARE:.0%}",
                ),
                Row(
                    "step_input",
                    f"a batch of {BATCH} read alone, for {name}",
                    1e3 * float(np.median(seconds["read"])),
                    "ms",
                    float(np.median(seconds["read"]) / np.median(seconds["bare"])),
                    "the step without input",
                ),
            ]
    return rows


def photographs(folder: Path, classes: int = 20, images: int = 4) -> None:
    """Writes JPEG files of 500 x 375 pixels, one folder per class."""
    numbers = np.random.default_rng(0)
    for number in range(classes):
        (folder / f"class{number:02}").mkdir()
        for index in range(images):
            # Smooth noise takes the decoder about as long as a photograph.
            coarse = numbers.integers(0, 256, (48, 64, 3), np.uint8)
            image = Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)
            image.save(folder / f"class{number:02}" / f"{index}.jpg", quality=90)
