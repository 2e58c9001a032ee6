"""Run as a process of its own: N replicas against one, as JSON. Argument: N."""

import json
import sys

import tensorflow as tf
from cases import BACKBONES, CASES, DECOUPLINGS, Show, batches, build, difference, state

from deml_tf.distribution.strategy import build_strategy
from deml_tf.models import loop


def gradients(case, strategy):
    """What each variable's gradient is, and the logged losses."""
    with strategy.scope():
        trainer = build(case, Show)
    data = batches(trainer).take(1)
    if strategy.num_replicas_in_sync > 1:
        data = strategy.experimental_distribute_dataset(data)
    logs = {}

    @tf.function(autograph=False)
    def step(batch):
        return strategy.run(trainer.train_step, (batch,))

    for batch in data:
        logs = step(batch)
    local = strategy.experimental_local_results
    return state(trainer), {
        name: [float(x) for x in local(v)] for name, v in logs.items()
    }


def trained(case, strategy, through):
    """State after all steps, by Keras's `fit` or by the project's loop."""
    with strategy.scope():
        trainer = build(case)
    data = batches(trainer)
    if through == "fit":
        trainer.fit(data, verbose=0, shuffle=False)
    else:
        if strategy.num_replicas_in_sync > 1:
            data = strategy.experimental_distribute_dataset(data)
        loop.fit(trainer, data, [], strategy)
    return state(trainer)


def main(replicas):
    strategy = build_strategy("mirrored", replicas)
    one = tf.distribute.get_strategy()
    report = {"replicas": strategy.num_replicas_in_sync, "gradients": {}, "trained": {}}
    for backbone in BACKBONES:
        for decoupling in DECOUPLINGS:
            if backbone != "frozen BatchNorm" and decoupling != "adversary":
                continue
            case = (backbone, decoupling, "momentum")
            found, logs = gradients(case, strategy)
            wanted, single = gradients(case, one)
            error, name = difference(found, wanted)
            report["gradients"][", ".join(case[:2])] = {
                "error": error,
                "variable": name,
                "logs": {n: [logs[n], single[n][0]] for n in single},
            }
            print(case, error, name, file=sys.stderr, flush=True)
    for case in CASES:
        through = "loop" if case[2] == "momentum" else "fit"
        wanted = trained(case, one, "loop")
        error, name = difference(trained(case, strategy, through), wanted)
        report["trained"][f"{', '.join(case)}, {through}"] = [error, name]
        print(case, through, error, name, file=sys.stderr, flush=True)
    print(json.dumps(report))


if __name__ == "__main__":
    main(int(sys.argv[1]))
