"""Time and memory of each loss with its gradient: python speed.py addons|pml|ours.

512 images of 128 classes, embeddings of 512 numbers, two threads. Prints milliseconds,
the median of seven, and MiB above what was held before. For a quiet machine.
"""

# pyright: reportMissingImports=false

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import oracle_cases as cases

cases.CLASSES, cases.DIMENSIONS = 128, 512
NAMES = {"addons": cases.ADDONS, "pml": cases.TORCH}


def held(kind):
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{kind}:")[1].split()[0]) / 1024


def measured(call):
    call()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, times = held("VmRSS"), []
    for _ in range(7):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times), held("VmHWM") - before


def batch():
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(128), 4)
    shapes = {
        "proxies": (128, 512),
        "centres": (128, cases.CENTRES, 512),
        "boundary": (1,),
        "boundaries": (128,),
    }
    arrays = {n: random.normal(size=s).astype("float32") for n, s in shapes.items()}
    embeddings = random.normal(size=(512, 512)).astype("float32")
    return {"labels": labels, "embeddings": embeddings, **arrays}


def ours(table):
    import keras
    import tensorflow as tf

    from deml_tf.losses import METRIC_LOSSES

    tf.config.threading.set_intra_op_parallelism_threads(2)
    given = batch()
    labels, x = tf.constant(given["labels"]), tf.constant(given["embeddings"])
    kinds: Any = METRIC_LOSSES
    for name, (loss, arguments, kind) in table.items():
        is_loss = issubclass(kinds[loss], keras.losses.Loss)
        more = {} if is_loss else {"num_classes": 128}
        made = kinds[loss](**arguments, **more)
        variables = []
        if not is_loss:
            made.build((None,), (None, 512))
            variables = [v.value for v in made.trainable_variables]

        @tf.function(autograph=False)
        def step(x, made=made, variables=variables, halves=kind == cases.HALVES):
            with tf.GradientTape() as tape:
                tape.watch(x)
                if halves:
                    others = (labels[1::2], x[1::2])
                    values = made.call(labels[::2], x[::2], references=others)
                else:
                    values = made.call(labels, x)
                value = tf.reduce_mean(values)
            return tape.gradient(value, [x, *variables])

        yield name, lambda step=step: np.asarray(step(x)[0])


def theirs(whose, table):
    given = batch()
    if whose == "addons":
        import addons
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(2)
        labels, x = tf.constant(given["labels"]), tf.constant(given["embeddings"])
        for name in table:

            @tf.function
            def step(x, name=name):
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    loss = addons.value(name, labels, x)
                return tape.gradient(loss, x)

            yield name, lambda step=step: step(x).numpy()
    else:
        import pml
        import torch

        torch.set_num_threads(2)
        for name in table:
            yield name, lambda name=name: pml.compute(name, given)


def main(whose):
    tables = [NAMES[whose]] if whose in NAMES else [*NAMES.values()]
    for table in tables:
        for name, call in theirs(whose, table) if whose in NAMES else ours(table):
            milliseconds, mebibytes = measured(call)
            print(f"{name:30} {milliseconds:8.1f} ms {mebibytes:8.0f} MiB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
