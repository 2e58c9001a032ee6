"""How time and memory grow with scales, learners, batch, image size and pairs."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.fit import exponent_row
from benchmarks.memory import MEGABYTE, in_fresh_process, peak_of, resident
from benchmarks.models import training_step
from benchmarks.timing import Row, interleaved
from deml_tf.losses.binomial_deviance import binomial_deviance
from deml_tf.models.embedder import build_deml, core_of


@dataclass(frozen=True)
class Point:
    """A model and its batch: EfficientNet-Lite0 of half the width.

    Attributes:
        scales: Number of scales, I.
        learners: Number of learners, J.
        batch_size: Images of a step.
        input_size: Their sides, in pixels.
    """

    scales: int = 2
    learners: int = 2
    batch_size: int = 16
    input_size: int = 96

    def __str__(self) -> str:
        """Return its name in the rows."""
        return (
            f"DeML({self.scales},{self.learners}), batch {self.batch_size}, "
            f"{self.input_size} pixels"
        )


AXES = {
    "scales": (1, 2, 3, 4),
    "learners": (1, 2, 3, 4, 6),
    "batch_size": (8, 16, 32, 64),
    "input_size": (96, 128, 192, 256),
}
BATCHES, LARGE = (64, 128, 256, 512, 1024, 2048), 512
LEARNERS, PART = 3, 56  # of the pair loss: a scale of DeML(3,3)
KINDS = ("training step", "forward pass")


def measure(repeats: int) -> list[Row]:
    """Measures each axis separately around DeML(2,2), and the pair loss alone.

    Time is the median of calls in turns, all points in one process. Memory is the
    resident size at its peak in the second call, less what a fresh process held once
    the model was built and traced: activations and gradients, what the first call
    leaves behind (optimised graphs, packed weights, threads' buffers), but not the
    weights and their optimizer's moments. The training step comes after the forward
    pass in that process. Exponents are slopes over the whole axis, so costs that do not
    grow (weights' updates, the start of every operation) make them smaller. The
    embedding has 512 numbers throughout. Takes about eight minutes.

    Args:
        repeats: Timed calls of each.
    """
    return [*_models(repeats), *_pair_loss(repeats)]


def _models(repeats: int) -> list[Row]:
    axes = {
        axis: [replace(Point(), **{axis: value}) for value in values]
        for axis, values in AXES.items()
    }
    points = list(dict.fromkeys(p for axis in axes.values() for p in axis))
    memory = {
        (kind, point): found / MEGABYTE
        for point in points
        for kind, found in in_fresh_process(_peaks, point).items()
    }
    runs = {
        f"{kind}, {point}": run
        for point in points
        for kind, run in _calls(point).items()
    }
    seconds = interleaved(runs, repeats)
    rows = []
    for kind in KINDS:
        rows += [_time_row(n, s) for n, s in seconds.items() if n.startswith(kind)]
        rows += [
            Row("growth", f"memory of a {kind}, {point}", memory[kind, point], "MB")
            for point in points
        ]
        for axis, along in axes.items():
            medians = [float(np.median(seconds[f"{kind}, {p}"])) for p in along]
            peaks = [memory[kind, p] for p in along]
            for what, values in (("time", medians), ("memory", peaks)):
                name = f"{what} of a {kind} in {axis}"
                rows.append(exponent_row("growth", name, AXES[axis], values))
    return rows


def _time_row(name: str, seconds: list[float]) -> Row:
    median = 1e3 * float(np.median(seconds))
    return Row(
        "growth",
        name,
        median,
        "ms",
        spread=(1e3 * min(seconds), 1e3 * max(seconds)),
    )


def _peaks(point: Point) -> dict[str, int]:
    """Runs in a process of its own; returns bytes above those before the first call."""
    calls = _calls(point)
    before = resident()
    peaks = {}
    for kind in reversed(KINDS):  # the forward pass first: it needs less
        calls[kind]()
        peaks[kind] = peak_of(calls[kind]) - before
    return peaks


def _calls(point: Point) -> dict[str, Callable[[], object]]:
    """Returns traced functions that wait for their results, by kind."""
    model: dict[str, Any] = asdict(point) | {"width": 0.5}
    step, (images, labels) = training_step(**model)
    del model["batch_size"]
    core = core_of(build_deml(weights="none", batch_norm="frozen", **model))
    traced = tf.function(step).get_concrete_function(images, labels)
    forward = tf.function(
        lambda x: core(x, training=False)["embedding"]
    ).get_concrete_function(images)
    return {
        "training step": lambda: traced(images, labels)["loss"].numpy(),
        "forward pass": lambda: forward(images).numpy(),
    }


def _pair_loss(repeats: int) -> list[Row]:
    """Measures the binomial deviance of a batch and its gradient."""
    numbers = np.random.default_rng(0)

    @tf.function(autograph=False)
    def gradient(labels, parts):
        with tf.GradientTape() as tape:
            tape.watch(parts)
            loss = tf.reduce_mean(binomial_deviance(labels, parts))
        return tape.gradient(loss, parts)

    def call(batch):
        parts = numbers.normal(size=(batch, LEARNERS, PART)).astype("float32")
        labels, parts = tf.constant(np.arange(batch) // 2), tf.constant(parts)
        return lambda: gradient(labels, parts).numpy()

    runs = {f"pair loss and gradient, batch {b}": call(b) for b in BATCHES}
    seconds = interleaved(runs, 3 * repeats, warm_up=2)
    medians = [float(np.median(times)) for times in seconds.values()]
    large = BATCHES.index(LARGE)
    name = "time of pair loss and gradient in batch"
    return [
        *(_time_row(*item) for item in seconds.items()),
        exponent_row("growth", name, BATCHES, medians),
        exponent_row(
            "growth", f"{name}, from {LARGE}", BATCHES[large:], medians[large:]
        ),
    ]
