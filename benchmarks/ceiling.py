"""What this machine can do at most: a large matrix product and a 3 x 3 convolution."""

from collections.abc import Callable

import tensorflow as tf

from benchmarks.timing import Row, interleaved

SIDE = 4096  # of the matrices
SHAPE = (32, 28, 28, 256)  # of the convolution's input and output
PRECISIONS = ("float32", "bfloat16")


def measure(repeats: int) -> list[Row]:
    """Measures the ceiling in both precisions, in GFLOP/s.

    Args:
        repeats: Timed runs of each.
    """
    runs = {p: {**_matmul(p), **_convolution(p)} for p in PRECISIONS}
    flat = {(p, name): run for p in runs for name, run in runs[p].items()}
    seconds = interleaved(
        {f"{name}, {p}": run for (p, name), (_, run) in flat.items()}, repeats
    )
    rows = []
    for (p, name), (operations, _) in flat.items():
        rates = sorted(operations / s / 1e9 for s in seconds[f"{name}, {p}"])
        rows.append(
            Row(
                "ceiling",
                f"{name}, {p}",
                rates[len(rates) // 2],
                "GFLOP/s",
                spread=(rates[0], rates[-1]),
            )
        )
    return rows


def convolution_ceiling(precision: str) -> tuple[float, Callable[[], object]]:
    """Returns the 3 x 3 convolution that others are compared with.

    Args:
        precision: "float32" or "bfloat16".

    Returns:
        Its floating-point operations, and a function that runs it once.
    """
    return next(iter(_convolution(precision).values()))


def _matmul(precision):
    a = tf.cast(tf.random.stateless_normal((SIDE, SIDE), (0, 0)), precision)
    product = tf.function(lambda a: (a @ a)[0, 0])
    operations = 2.0 * SIDE**3
    return {"matrix product": (operations, lambda: float(product(a)))}


def _convolution(precision):
    channels = SHAPE[-1]
    x = tf.cast(tf.random.stateless_normal(SHAPE, (0, 0)), precision)
    kernel = tf.random.stateless_normal((3, 3, channels, channels), (0, 1))
    kernel = tf.cast(kernel, precision)
    convolve = tf.function(lambda x: tf.nn.conv2d(x, kernel, 1, "SAME")[0, 0, 0, 0])
    operations = 2.0 * 9 * channels * SHAPE[0] * SHAPE[1] * SHAPE[2] * channels
    return {"3 x 3 convolution": (operations, lambda: float(convolve(x)))}
