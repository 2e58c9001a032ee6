"""What each part of a training step costs, each run alone on inputs in memory.

A part is timed for the first scale and counts for as many scales as have it. The sum
of the parts is near the whole step, not equal to it. Only the whole includes pooling,
projection and normalisation of the learners' parts, composed boxes, means of the
losses, and everything that the forward pass must keep in memory for the backward one.
And only the parts each start alone, where in the step the next operation, also of
another scale, fills an idle core. Input is not part of the sum: a batch is read while
the step before it computes.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.models import GOOGLENET, training_step
from benchmarks.step_input import photographs
from benchmarks.timing import Row, interleaved, wait
from deml_tf.config import DataConfig, LossConfig, TrainConfig
from deml_tf.data.batch_table import BatchTable
from deml_tf.data.batches import class_ids, training_dataset
from deml_tf.data.selection import read_examples
from deml_tf.layers.random_walk import saliency_map
from deml_tf.layers.regions import region_boxes
from deml_tf.losses.activation_decay import activation_decay
from deml_tf.losses.unit_rows import unit_rows
from deml_tf.models.embedder import build_deml, core_of
from deml_tf.training.build import build_trainer
from deml_tf.training.trainer import Trainer

BATCH, SCALES, LEARNERS = 32, 3, 3
MODELS = {
    "GoogLeNet at 112": {**GOOGLENET, "input_size": 112},
    "EfficientNet-Lite0 at 160": {"input_size": 160},
}

Run = Callable[[], object]


def measure(repeats: int) -> list[Row]:
    """Times the parts of DeML(3,3)'s training step in turns with the whole.

    Args:
        repeats: Timed calls of each.
    """
    return [row for name in MODELS for row in _of_model(name, repeats)]


def _of_model(name: str, repeats: int) -> list[Row]:
    model: dict[str, Any] = MODELS[name]
    step, ready = training_step(BATCH, **model)
    embedder = build_deml(weights="none", batch_norm="frozen", **model)
    trainer = build_trainer(embedder, LossConfig(decoupling="adversary"), TrainConfig())
    runs = _parts(trainer, core_of(embedder))
    whole = {"the whole step": lambda: wait(step(*ready))}
    seconds = interleaved(
        whole | {part: run for part, (_, run) in runs.items()}, repeats
    )
    with tempfile.TemporaryDirectory() as folder:
        batches = _batches(Path(folder), model["input_size"])
        # Alone and last, since it would read while others compute.
        seconds |= interleaved({"input": lambda: wait(next(batches))}, repeats, 4)
    median = {part: statistics.median(times) for part, times in seconds.items()}
    of_step = median["the whole step"]
    rows, total = [], 0.0
    for part, times in seconds.items():
        count = runs[part][0] if part in runs else 1
        is_whole = part == "the whole step"
        rows.append(
            Row(
                "parts",
                f"{part}, DeML(3,3), {name}",
                1e3 * count * median[part],
                "ms",
                None if is_whole else count * median[part] / of_step,
                None if is_whole else "the whole step",
                (1e3 * count * min(times), 1e3 * count * max(times)),
            )
        )
        total += count * median[part] if part in runs else 0.0
    return [
        *rows,
        Row(
            "parts",
            f"sum of the parts but input, DeML(3,3), {name}",
            1e3 * total,
            "ms",
            total / of_step,
            "the whole step",
        ),
    ]


def _parts(trainer: Trainer, core: Any) -> dict[str, tuple[int, Run]]:
    """Returns, for each part, how many times a step has it, and one run of it."""
    lower, gates, upper, attention, zoom = (
        core.get_layer(f"scale1_{name}")
        for name in ("lower", "channel_attention", "upper", "object_attention", "zoom")
    )
    shape = attention.input.shape[1:]
    features, maps = _noise(BATCH, *shape), _noise(BATCH, *shape[:2])
    images = 255.0 * _noise(BATCH, *lower.input.shape[1:])
    boxes = attention(features)["boxes"]

    @tf.function(autograph=False)
    def walk(features):
        return saliency_map(features, attention.steps, attention.epsilon)

    @tf.function(autograph=False)
    def regions(maps):
        return region_boxes(maps, attention.resolution, attention.border)

    cut = tf.function(zoom.call, autograph=False)
    return {
        "lower": (SCALES, _both_ways(lower, images, to_input=False)),
        "gates": (SCALES, _both_ways(gates, _noise(BATCH, *gates.input.shape[1:]))),
        "upper": (
            SCALES,
            _both_ways(upper, _noise(BATCH * LEARNERS, *upper.input.shape[1:])),
        ),
        "walk": (SCALES, lambda: wait(walk(features))),
        "regions": (SCALES, lambda: wait(regions(maps))),
        "zoom": (SCALES - 1, lambda: wait(cut(images, boxes))),
        "losses": (1, _losses(trainer, core)),
        "adversary": (1, _adversary(trainer, core)),
        "optimizer": (1, _optimizer(trainer, core)),
    }


def _both_ways(layer: Any, inputs: tf.Tensor, to_input: bool = True) -> Run:
    """Returns a run forward, and back to the weights and, if `to_input`, the input."""

    def last_of(inputs):
        return tf.nest.flatten(layer(inputs, training=True))[-1]

    @tf.function(autograph=False)
    def run(inputs, upstream):
        with tf.GradientTape() as tape:
            if to_input:
                tape.watch(inputs)
            last = last_of(inputs)
        sources = [*layer.trainable_variables, *([inputs] if to_input else [])]
        return tape.gradient(last, sources, output_gradients=upstream)

    upstream = _noise(*last_of(inputs).shape)
    return lambda: wait(run(inputs, upstream))


def _losses(trainer: Trainer, core: Any) -> Run:
    """Returns a run of all terms forward, and back to the parts and the projections."""
    parts, pooled = _embeddings(core)
    kernels = [projection.kernels[0] for projection in trainer.projections]
    labels = tf.constant(np.repeat(np.arange(BATCH // 2), 2), tf.int32)
    begun = tf.constant(0.0)

    @tf.function(autograph=False)
    def run(labels, parts, pooled):
        with tf.GradientTape() as tape:
            tape.watch(parts)
            weights = [tf.convert_to_tensor(kernel) for kernel in kernels]
            terms = {
                "metric_loss": [
                    tf.reduce_mean(loss.call(labels, p))
                    for loss, p in zip(trainer.metric_losses, parts, strict=True)
                ],
                **{n: [v] for n, v in trainer.decoupling.terms(parts, begun).items()},
                "activation_decay": [
                    tf.reduce_mean(activation_decay(x, w))
                    for x, w in zip(pooled, weights, strict=True)
                ],
                "unit_rows": [unit_rows(w) for w in weights],
            }
            loss = tf.add_n(
                [w * tf.add_n(terms[n]) for n, w in trainer.term_weights.items()]
            )
        return tape.gradient(loss, [*parts, *kernels])

    return lambda: wait(run(labels, parts, pooled))


def _adversary(trainer: Trainer, core: Any) -> Run:
    """Returns a run of one update of the adversaries."""
    parts, _ = _embeddings(core)
    iterations = trainer.decoupling.predictors.optimizer.iterations

    @tf.function(autograph=False)
    def run(parts):
        trainer.decoupling.oppose(parts)
        return iterations.value

    return lambda: wait(run(parts))


def _optimizer(trainer: Trainer, core: Any) -> Run:
    """Returns a run of one update of the embedder by gradients in memory."""
    variables = core.trainable_variables
    gradients = [1e-3 * _noise(*variable.shape) for variable in variables]

    @tf.function(autograph=False)
    def run(gradients):
        trainer.optimizer.apply(gradients, variables)
        return trainer.optimizer.iterations.value

    return lambda: wait(run(gradients))


def _embeddings(core: Any) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Returns the parts (b, j, d) and learner 1's features (b, c) of each scale."""
    parts = tf.math.l2_normalize(_noise(BATCH, *core.output["parts"].shape[1:]), -1)
    pooled = _noise(BATCH, *core.output["pooled"].shape[1:])
    return tf.unstack(parts, axis=1), tf.unstack(pooled, axis=1)


def _batches(folder: Path, side: int) -> Iterator[Any]:
    photographs(folder)
    examples = read_examples(DataConfig("folder", str(folder)))
    table = BatchTable(class_ids(examples)[0], BATCH // 2, 2)
    return iter(
        training_dataset(
            examples,
            table,
            resize_size=round(side * 8 / 7),
            input_size=side,
            last_step=10**6,
        )
    )


def _noise(*shape: int) -> tf.Tensor:
    """Returns noise that is not negative, like features and pixels."""
    numbers = np.random.default_rng(0)
    return tf.constant(numbers.random(shape, np.float32))
