"""Object attention and zoom: against the release's on the host, and their share.

On the host `benchmarks.host_walk`, image by image, does the same work on the same
batch. Ours takes at least as long as reading the images and writing the cut ones.
"""

import statistics

import numpy as np
import tensorflow as tf

from benchmarks.host_walk import host_attention, host_box, host_map, location_kernel
from benchmarks.timing import Row, interleaved, wait
from deml_tf.layers.object_attention import ObjectAttention
from deml_tf.layers.zoom import Zoom, compose_boxes
from deml_tf.models.embedder import build_deml, core_of

BATCH, SIDE, GRID, CHANNELS = 32, 224, 7, 1024
TIMES, SHARE = 20.0, 0.03  # times as fast as the host; share of the forward pass
WAYS = {"exact": None, "10 steps": 10}  # names to steps of the walk
SCALES = 3


def measure(repeats: int) -> list[Row]:
    """Times object attention and zoom alone, and as part of DeML(3,3).

    Args:
        repeats: Timed calls of each.
    """
    return [*_against_host(repeats), *_share(repeats)]


def smooth_features(count: int, seed: int = 0) -> np.ndarray:
    """Returns features of noise that, like a network's, are smooth and not negative.

    Args:
        count: Number of images.
        seed: Seed of the noise; default 0.

    Returns:
        (count, GRID, GRID, CHANNELS) float32.
    """
    noise = np.random.default_rng(seed).standard_normal(
        (count, GRID + 2, GRID + 2, CHANNELS), np.float32
    )
    rows = noise[:, :-2] + noise[:, 1:-1] + noise[:, 2:]
    return np.maximum(rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:], 0.0)


def _against_host(repeats: int) -> list[Row]:
    features = smooth_features(BATCH)
    images = _noise()
    on_device = tf.constant(features), tf.constant(images)
    kernel = location_kernel(GRID)

    def host_boxes():
        return [host_box(host_map(one, kernel), SIDE) for one in features]

    runs = {
        "host": lambda: host_attention(features, images),
        "host, box alone": host_boxes,
    }
    for name, steps in WAYS.items():
        attention = ObjectAttention(steps, resolution=SIDE, border="clip")
        zoom = Zoom(SIDE)

        @tf.function(autograph=False)
        def boxes(features, attention=attention):
            return attention(features)["boxes"]

        @tf.function(autograph=False)
        def views(features, images, boxes=boxes, zoom=zoom):
            return zoom(images, boxes(features))

        runs[name] = lambda views=views: wait(views(*on_device))
        runs[f"{name}, box alone"] = lambda boxes=boxes: wait(boxes(on_device[0]))
    seconds = interleaved(runs, repeats, warm_up=2)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    rows = []
    for name, times in seconds.items():
        part = ", box alone" if name.endswith(", box alone") else ""
        host, is_host = f"host{part}", name.startswith("host")
        rows.append(
            _milliseconds(
                f"object attention, {name}, batch {BATCH}",
                times,
                None if is_host else median[name] / median[host],
                None if is_host else host,
            )
        )
    for name in WAYS:
        times = median["host"] / median[name]
        rows.append(
            Row(
                "walk",
                f"times as fast as the host, {name}",
                times,
                "x",
                times / TIMES,
                f"wanted: {TIMES:g} x",
            )
        )
    return rows


def _share(repeats: int) -> list[Row]:
    core = core_of(build_deml(backbone="googlenet", weights="none", input_size=SIDE))
    images = tf.constant(_noise())
    attentions = [
        core.get_layer(f"scale{i}_object_attention") for i in range(1, SCALES + 1)
    ]
    zooms = [core.get_layer(f"scale{i}_zoom") for i in range(1, SCALES)]
    features = [tf.constant(smooth_features(BATCH, i)) for i in range(SCALES)]
    whole = tf.constant([[0.0, 0.0, 1.0, 1.0]] * BATCH)

    @tf.function(autograph=False)
    def forward(images):
        return core(images, training=False)["embedding"]

    @tf.function(autograph=False)
    def attend(images, *features):
        box, views = whole, []
        for attention, zoom, one in zip(attentions, zooms, features, strict=False):
            box = compose_boxes(box, attention(one)["boxes"])
            views.append(zoom(images, box))
        return views, attentions[-1](features[-1])["boxes"]

    seconds = interleaved(
        {
            "forward": lambda: wait(forward(images)),
            "attend": lambda: wait(attend(images, *features)),
        },
        repeats,
    )
    median = {name: statistics.median(times) for name, times in seconds.items()}
    share = median["attend"] / median["forward"]
    model = f"DeML(3,3), GoogLeNet at {SIDE}"
    return [
        _milliseconds(f"forward pass, {model}, batch {BATCH}", seconds["forward"]),
        _milliseconds(
            f"its three walks and two zooms, batch {BATCH}",
            seconds["attend"],
            share,
            "the forward pass",
        ),
        Row(
            "walk",
            f"share of the forward pass, {model}",
            100 * share,
            "%",
            share / SHARE,
            f"bound of {SHARE:.0%}",
        ),
    ]


def _noise() -> np.ndarray:
    numbers = np.random.default_rng(0)
    return numbers.uniform(0, 255, (BATCH, SIDE, SIDE, 3)).astype(np.float32)


def _milliseconds(
    name: str,
    seconds: list[float],
    ratio: float | None = None,
    against: str | None = None,
) -> Row:
    return Row(
        "walk",
        name,
        1e3 * statistics.median(seconds),
        "ms",
        ratio,
        against,
        (1e3 * min(seconds), 1e3 * max(seconds)),
    )
