"""What a process of its own runs: several replicas against one, as JSON.

Its arguments: the number of logical CPUs, or "workers" for those of TF_CONFIG; the
names of the backbones in `cases.py`.
"""

import json
import sys

import numpy as np
import tensorflow as tf
from cases import (
    BATCH,
    STEPS,
    Show,
    batches,
    build,
    difference,
    gradient_cases,
    state,
    trained_cases,
)

from deml_tf.training import loop
from deml_tf.training.cluster import read_cluster
from deml_tf.training.workers import Workers

GRADIENTS = 1e-5  # largest difference over largest value
ORDERS = 4


def share(trainer, workers, steps=STEPS, order=range(BATCH)):
    """The steps' batches, cut for the replicas as the training command cuts them.

    The images of each batch come in the given order.
    """

    def read(rows):
        start, stop, size = rows
        whole = batches(trainer).take(steps)
        whole = whole.map(lambda *both: tuple(tf.gather(x, [*order]) for x in both))
        mine = whole.map(
            lambda images, labels: (images[start:stop], labels[start:stop])
        )
        return mine.unbatch().batch(size, drop_remainder=True)

    return workers.distribute(read, BATCH)


def gradients(case, workers, order=range(BATCH)):
    """What each variable's gradient is, and the logged losses."""
    strategy = workers.strategy
    with strategy.scope():
        trainer = build(case, Show)
    logs = {}

    @tf.function(autograph=False)
    def step(batch):
        return strategy.run(trainer.train_step, (batch,))

    for batch in share(trainer, workers, 1, order):
        logs = step(batch)
    local = strategy.experimental_local_results
    return state(trainer), {
        name: [float(x) for x in local(v)] for name, v in logs.items()
    }


def order_of_sums(case, one, wanted):
    """Largest difference that other orders of the batch's images make on one device."""
    orders = [np.random.default_rng(i).permutation(BATCH) for i in range(ORDERS)]
    return max(difference(gradients(case, one, o)[0], wanted)[0] for o in orders)


def trained(case, workers, through):
    """State after all steps, by Keras's `fit` or by the project's loop.

    In float64: of float32's rounding, units of ReLU that are near 0 soon make more than
    what is to be shown, on one device as on several.
    """
    with workers.strategy.scope():
        trainer = build(case, precision="float64")
    if through == "fit":
        trainer.fit(batches(trainer), verbose=0, shuffle=False)
    else:
        loop.fit(trainer, share(trainer, workers), [], workers.strategy)
    return state(trainer)


def main(asked, names):
    cluster = read_cluster()
    if cluster.size > 1:
        several = Workers.start("multiworker", None, cluster)
    else:
        several = Workers.start("mirrored", int(asked), cluster)
    one = Workers()
    report = {"replicas": several.replicas, "gradients": {}, "trained": {}}
    for case in gradient_cases(names):
        backbone, decoupling, _, loss = case
        found, logs = gradients(case, several)
        wanted, single = gradients(case, one)
        error, name = difference(found, wanted)
        bound = GRADIENTS
        if error > bound:
            # Losses are float32: how many digits are left is for one device to say.
            bound = max(bound, 3 * order_of_sums(case, one, wanted))
        report["gradients"][f"{backbone}, {decoupling}, {loss}"] = {
            "error": error,
            "variable": name,
            "bound": bound,
            "logs": {n: [logs[n], single[n][0]] for n in single},
        }
        print(case, error, name, file=sys.stderr, flush=True)
    for case in trained_cases(names):
        # Keras's `fit` refuses workers.
        by_fit = cluster.size == 1 and case[1] in ("adversary", "hinge")
        through = "fit" if by_fit else "loop"
        wanted = trained(case, one, "loop")
        error, name = difference(trained(case, several, through), wanted)
        report["trained"][f"{', '.join(case)}, {through}"] = [error, name]
        print(case, through, error, name, file=sys.stderr, flush=True)
    several.wait()
    print(json.dumps(report))
