"""What 60,000 pictures cost before the first step: time and memory."""

import csv
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.timing import Row
from deml_tf.data.batches import BatchTable, class_ids, training_dataset
from deml_tf.data.catalog import load_examples
from deml_tf.data.splits import zero_shot_split

EXAMPLES, CLASSES, FOLDERS = 60_000, 22_634, 12
SECONDS, MEBIBYTES = 5.0, 200.0  # what the index may cost


def measure(repeats: int) -> list[Row]:
    """Reads, splits and draws the first batch in fresh processes.

    Args:
        repeats: Processes.
    """
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder))
        context = multiprocessing.get_context("spawn")
        with context.Pool(1, maxtasksperchild=1) as pool:
            found = [pool.apply(_once, (folder,)) for _ in range(repeats)]
    rows = []
    for name, unit, bound in (
        ("list and split", "s", SECONDS),
        ("first batch", "s", SECONDS),
        ("both", "s", SECONDS),
        ("memory of the index", "MiB", MEBIBYTES),
        ("a batch's indices", "ms", None),
    ):
        values = [one[name] for one in found]
        value = float(np.median(values))
        rows.append(
            Row(
                "data_index",
                f"{name}, {EXAMPLES:,} pictures",
                value,
                unit,
                value / bound if bound else None,
                f"bound of {bound:g} {unit}" if bound else None,
                (min(values), max(values)),
            )
        )
    return rows


def lay_out(folder: Path) -> None:
    """A list of so many pictures, all of them links to one."""
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
    """In a process of its own, so that the memory is the index's alone."""
    before, start = _resident(), time.perf_counter()
    split = zero_shot_split(load_examples("list", folder))
    labels, _ = class_ids(split.train)
    table = BatchTable(labels, 65, 2)
    listed, memory = time.perf_counter() - start, _resident() - before
    # The first call traces; the second is what a step pays.
    pictures = training_dataset(
        split.train, table, resize_size=256, input_size=227, last_step=100
    )
    next(iter(pictures))
    both = time.perf_counter() - start
    begun = time.perf_counter()
    for step in range(100):
        table.indices(step)
    indices = (time.perf_counter() - begun) / 100
    return {
        "list and split": listed,
        "first batch": both - listed,
        "both": both,
        "memory of the index": memory / 2**20,
        "a batch's indices": indices * 1e3,
    }


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
