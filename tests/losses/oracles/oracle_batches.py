"""Seeded batches in a file, for every environment the same."""

from typing import Any

import numpy as np
import oracle_cases as cases


def write(path, count, seed=0):
    """Batches of two to six classes, each of at least two images."""
    random = np.random.default_rng(seed)
    arrays: Any = {"count": np.array(count)}
    for n in range(count):
        sizes = cases.SIZES[n % len(cases.SIZES)]
        classes = random.permutation(cases.CLASSES)[: len(sizes)]
        labels = np.repeat(classes, sizes)
        centres = random.normal(size=(cases.CLASSES, cases.DIMENSIONS))
        # From classes apart to one heap.
        spread = random.choice([0.2, 0.5, 1.0])
        x = (1 - spread) * centres[labels]
        x += spread * random.normal(size=(len(labels), cases.DIMENSIONS))
        shape = (cases.CLASSES, cases.CENTRES, cases.DIMENSIONS)
        own = {
            "labels": labels,
            "sizes": np.array(sizes),
            "embeddings": x,
            "proxies": random.normal(size=(cases.CLASSES, cases.DIMENSIONS)),
            "centres": random.normal(size=shape),
            "boundary": np.array([1.2]),
            "boundaries": random.uniform(0.9, 1.4, size=cases.CLASSES),
        }
        for name, array in own.items():
            is_whole = array.dtype.kind == "i"
            arrays[f"{n} {name}"] = array if is_whole else array.astype("float32")
    np.savez(path, **arrays)


def read(path):
    """The batches, each a dict of its arrays."""
    with np.load(path) as stored:
        arrays = dict(stored)
    batches = [{} for _ in range(int(arrays.pop("count")))]
    for name, array in arrays.items():
        number, name = name.split(" ")
        batches[int(number)][name] = array
    return batches


def run(compute, table, batches, path):
    """Write the value and the gradients of each case for each batch it is tried on.

    Args:
        compute: Of a case's name and a batch: the value, the gradient of the
            embeddings and, or None, that of the weights.
        table: The cases.
        batches: What `read` gives.
        path: Of the file.
    """
    results: Any = {}
    for name, (_, _, kind) in table.items():
        for n, batch in enumerate(batches):
            if not cases.takes(kind, batch["sizes"]):
                continue
            parts = ("value", "embeddings", "weights")
            for part, array in zip(parts, compute(name, batch), strict=True):
                if array is not None:
                    results[f"{name}|{n}|{part}"] = np.asarray(array)
    np.savez(path, **results)
