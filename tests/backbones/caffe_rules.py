"""GoogLeNet by Caffe's rules in plain numpy: one image, axes (c, h, w), float64."""

import math

import numpy as np

# 1x1, 3x3_reduce, 3x3, 5x5_reduce, 5x5, pool_proj (train_val.prototxt)
CHANNELS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
PARTS = (("1x1", 1), ("3x3_reduce", 1), ("3x3", 3), ("5x5_reduce", 1), ("5x5", 5))


def shapes(divide=1):
    """Shape of each layer's weights in the file; `divide` as width 1 / divide does."""

    def scaled(count):
        return max(8, (count + 4 * divide) // (8 * divide) * 8) if divide > 1 else count

    found = {
        "conv1/7x7_s2": (scaled(64), 3, 7, 7),
        "conv2/3x3_reduce": (scaled(64), scaled(64), 1, 1),
        "conv2/3x3": (scaled(192), scaled(64), 3, 3),
    }
    below = scaled(192)
    for block, counts in CHANNELS.items():
        counts = [scaled(count) for count in counts]
        for (part, side), count in zip(PARTS, counts, strict=False):
            source = found[f"inception_{block}/{part}_reduce"][0] if side > 1 else below
            found[f"inception_{block}/{part}"] = (count, source, side, side)
        found[f"inception_{block}/pool_proj"] = (counts[5], below, 1, 1)
        below = counts[0] + counts[2] + counts[4] + counts[5]
    return found


def random_blobs(divide=1, seed=0, heads=True):
    """Weights that keep activations at about one size, and biases that count."""
    random = np.random.default_rng(seed)
    blobs = {}
    for name, shape in shapes(divide).items():
        std = math.sqrt(2 / math.prod(shape[1:]))
        weights = random.normal(0, std, shape)
        bias = random.uniform(-20, 20, shape[0])
        blobs[name] = [weights.astype("f4"), bias.astype("f4")]
    if heads:
        for name in ("loss1/conv", "loss2/fc", "loss1/classifier", "loss3/classifier"):
            blobs[name] = [random.normal(size=(3, 5)), random.normal(size=3)]
    return blobs


def convolve(x, blobs, name, stride=1, pad=0):
    """Zeros on each side, windows rounded down; then the bias and ReLU."""
    weights, bias = (np.asarray(blob, "f8") for blob in blobs[name])
    side = weights.shape[-1]
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), (1, 2))
    windows = windows[:, ::stride, ::stride]
    y = np.tensordot(weights, windows, ((1, 2, 3), (0, 3, 4)))
    return np.maximum(y + bias[:, None, None], 0)


def pool(x, stride, pad=0, side=3):
    """Maxima; windows rounded up, and cut off where the image ends."""
    height = x.shape[1]  # of a square
    count = math.ceil((height + 2 * pad - side) / stride) + 1
    if pad and (count - 1) * stride >= height + pad:
        count -= 1
    y = np.full((len(x), count, count), np.nan)
    spans = []
    for i in range(count):
        start = i * stride - pad
        spans.append(slice(max(start, 0), min(start + side, height)))
    for i, rows in enumerate(spans):
        for j, columns in enumerate(spans):
            y[:, i, j] = x[:, rows, columns].max(axis=(1, 2))
    return y


def respond(x, local_size=5, alpha=1e-4, beta=0.75, k=1.0):
    """Local response normalisation across channels."""
    y = np.empty_like(x)
    for c in range(len(x)):
        window = x[max(0, c - local_size // 2) : c + local_size // 2 + 1]
        y[c] = x[c] / (k + alpha / local_size * (window**2).sum(axis=0)) ** beta
    return y


def googlenet(image, blobs):
    """RGB (h, w, 3), 0..255 -> maps (h, w, c) at pool3, 4b, 4e and 5b."""
    bgr = np.asarray(image, "f8")[..., ::-1] - (104, 117, 123)
    x = convolve(bgr.transpose(2, 0, 1), blobs, "conv1/7x7_s2", 2, 3)
    x = respond(pool(x, 2))
    x = convolve(x, blobs, "conv2/3x3_reduce")
    x = respond(convolve(x, blobs, "conv2/3x3", pad=1))
    maps = {}
    for block in CHANNELS:
        if block in ("3a", "4a", "5a"):
            x = pool(x, 2)
        if block == "4a":
            maps["pool3"] = x
        name = f"inception_{block}/"
        three = convolve(x, blobs, name + "3x3_reduce")
        five = convolve(x, blobs, name + "5x5_reduce")
        x = np.concatenate(
            [
                convolve(x, blobs, name + "1x1"),
                convolve(three, blobs, name + "3x3", pad=1),
                convolve(five, blobs, name + "5x5", pad=2),
                convolve(pool(x, 1, 1), blobs, name + "pool_proj"),
            ]
        )
        maps["inception_" + block] = x
    return {name: x.transpose(1, 2, 0) for name, x in maps.items()}
