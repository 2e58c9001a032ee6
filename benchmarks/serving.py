"""What serving an embedder from bytes costs, against its bare forward pass."""

import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks.step_input import photographs
from benchmarks.timing import Row, interleaved, rate_rows
from deml_tf.data.images import decode_bytes
from deml_tf.layers.prepare import center_crop, fit_square
from deml_tf.models.embedder import build_deml
from deml_tf.serving.encoded_images import read_squares
from deml_tf.serving.servable import Servable

BATCH, SHARE = 8, 0.15
SIDES = (160, 224)


def measure(repeats: int) -> list[Row]:
    """Times DeML(3,3) on EfficientNet-Lite0, on a batch of JPEGs of 500 x 375 pixels.

    Args:
        repeats: Timed calls of each.
    """
    with tempfile.TemporaryDirectory() as folder:
        photographs(Path(folder), classes=BATCH, images=1)
        encoded = [path.read_bytes() for path in sorted(Path(folder).rglob("*.jpg"))]
    return [row for side in SIDES for row in _at(side, encoded, repeats)]


def _at(side: int, encoded: list[bytes], repeats: int) -> list[Row]:
    servables = {name: _servable(side, name) for name in ("float32", "bfloat16")}
    servable = servables["float32"]
    geometry = servable.geometry
    batch = tf.constant(encoded)
    squares = read_squares(batch, geometry).images
    serve = servable.signatures["serving_default"]
    read = tf.function(lambda x: read_squares(x, geometry), autograph=False)
    decode = tf.function(decode_bytes, autograph=False)
    images = [decode(one) for one in batch]

    @tf.function(autograph=False)
    def resize(image):
        square = fit_square(image, geometry.resize_size, geometry.fit)
        return center_crop(square, geometry.input_size)

    def bare(servable):
        forward = tf.function(
            lambda x: servable.core(x, training=False), autograph=False
        )
        return lambda: forward(squares)["embedding"].numpy()

    seconds = interleaved(
        {
            "bytes": lambda: serve(batch)["embedding"].numpy(),
            **{name: bare(one) for name, one in servables.items()},
            "decode": lambda: [decode(one).numpy() for one in batch],
            "resize": lambda: [resize(one).numpy() for one in images],
            "read": lambda: read(batch).images.numpy(),
        },
        repeats,
        warm_up=2,
    )
    median = {name: float(np.median(times)) for name, times in seconds.items()}
    model = f"DeML(3,3) at {side}"
    share = median["bytes"] / median["float32"] - 1
    parts = {
        "decode": f"{BATCH} images decoded, one after the other",
        "resize": f"{BATCH} images resized to {side}, one after the other",
        "read": f"{BATCH} images read as served, both on all cores",
    }
    return [
        Row(
            "serving",
            f"bytes over the bare pass, {model}, batch {BATCH}",
            100 * share,
            "%",
            share / SHARE,
            f"bound of {SHARE:.0%}",
        ),
        *(
            Row(
                "serving",
                title,
                1e3 * median[name],
                "ms",
                median[name] / median["float32"],
                f"the bare pass at {side}",
                (1e3 * min(seconds[name]), 1e3 * max(seconds[name])),
            )
            for name, title in parts.items()
        ),
        *rate_rows(
            "serving",
            {f"bare pass, {model}, {name}": seconds[name] for name in servables},
            BATCH,
            f"bare pass, {model}, float32",
        ),
    ]


def _servable(side: int, precision: str) -> Servable:
    embedder = build_deml(
        weights="none",
        input_size=side,
        resize_size=round(side * 8 / 7),
        precision=precision,
    )
    return Servable(embedder, range(3), range(3))
