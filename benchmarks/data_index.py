"""What 60,000 images cost before the first step: time and memory."""

import csv
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from benchmarks.memory import resident
from benchmarks.timing import Row
from deml_tf.config import DataConfig
from deml_tf.data.batch_table import BatchTable
from deml_tf.data.batches import class_ids, training_dataset
from deml_tf.data.selection import read_examples
from deml_tf.data.splits import zero_shot_split

EXAMPLES, CLASSES, FOLDERS = 60_000, 22_634, 12
SECONDS, MEBIBYTES = 5.0, 200.0  # what the index may cost
PRODUCTS, PRODUCT_CLASSES = 59_551, 11_318  # Stanford Online Products, to train on


def measure(repeats: int) -> list[Row]:
    """Reads, splits and draws the first batch in fresh processes.

    Args:
        repeats: Number of processes.
    """
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder))
        context = multiprocessing.get_context("spawn")
        with context.Pool(1, maxtasksperchild=1) as pool:
            found = [pool.apply(_once, (folder,)) for _ in range(repeats)]
            tables = [pool.apply(_table) for _ in range(repeats)]
    return [
        *_rows(
            found,
            f"{EXAMPLES:,} images",
            {
                "list and split": ("s", SECONDS),
                "first batch": ("s", SECONDS),
                "both": ("s", SECONDS),
                "memory of the index": ("MiB", MEBIBYTES),
                "a batch's indices": ("ms", None),
            },
        ),
        *_rows(
            tables,
            f"{PRODUCT_CLASSES:,} classes of {PRODUCTS:,} images",
            {
                "first batch's indices": ("s", SECONDS),
                "a batch's indices": ("ms", None),
                "memory of the table": ("MiB", MEBIBYTES),
            },
        ),
    ]


def _rows(
    found: list[dict[str, float]],
    size: str,
    figures: dict[str, tuple[str, float | None]],
) -> list[Row]:
    """Returns a row per figure: its name, its unit and what it may cost at most."""
    rows = []
    for name, (unit, bound) in figures.items():
        values = [one[name] for one in found]
        value = float(np.median(values))
        rows.append(
            Row(
                "data_index",
                f"{name}, {size}",
                value,
                unit,
                value / bound if bound else None,
                f"bound of {bound:g} {unit}" if bound else None,
                (min(values), max(values)),
            )
        )
    return rows


def lay_out(folder: Path) -> None:
    """Writes a list of `EXAMPLES` images, all of them links to one."""
    pixels = np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8)
    Image.fromarray(pixels).resize((500, 375)).save(folder / "one.jpg", quality=90)
    for number in range(FOLDERS):
        (folder / f"super{number}").mkdir()
    with (folder / "list.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "label"))
        for number in range(EXAMPLES):
            path = f"super{number % FOLDERS}/{number:06}.jpg"
            os.link(folder / "one.jpg", folder / path)
            table.writerow((path, f"class{number % CLASSES:05}"))


def _once(folder: str) -> dict[str, float]:
    """Runs in a process of its own, so that the memory is only the index's."""
    before, start = resident(), time.perf_counter()
    split = zero_shot_split(read_examples(DataConfig("list", folder)))
    labels, _ = class_ids(split.train)
    table = BatchTable(labels, 65, 2)
    listed, memory = time.perf_counter() - start, resident() - before
    # The first call traces; the second is what a step pays.
    images = training_dataset(
        split.train, table, resize_size=256, input_size=227, last_step=100
    )
    next(iter(images))
    both = time.perf_counter() - start
    return {
        "list and split": listed,
        "first batch": both - listed,
        "both": both,
        "memory of the index": memory / 2**20,
        "a batch's indices": _milliseconds_a_batch(table),
    }


def _table() -> dict[str, float]:
    """Runs in a process of its own: the table of many classes and its batches."""
    rng = np.random.default_rng(0)
    more = rng.integers(0, PRODUCT_CLASSES, PRODUCTS - 2 * PRODUCT_CLASSES)
    labels = np.concatenate([np.tile(np.arange(PRODUCT_CLASSES), 2), more])
    tf.zeros([])  # TensorFlow's start does not count
    before, start = resident(), time.perf_counter()
    table = BatchTable(labels, 65, 2)
    memory = resident() - before
    table.indices(0)
    first = time.perf_counter() - start
    return {
        "first batch's indices": first,
        "a batch's indices": _milliseconds_a_batch(table),
        "memory of the table": memory / 2**20,
    }


def _milliseconds_a_batch(table: BatchTable) -> float:
    start = time.perf_counter()
    for step in range(100):
        table.indices(step)
    return (time.perf_counter() - start) * 1e3 / 100
