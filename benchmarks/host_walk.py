"""Object attention as the authors' release runs it: image by image, on the host.

This is what `benchmarks.walk` compares with: a Python loop over the images, with matrix
operations of NumPy and functions of OpenCV for each.
"""

import cv2
import numpy as np


def location_kernel(side: int, epsilon: float = 0.15) -> np.ndarray:
    """Weighs pairs of positions of a square grid by their closeness.

    Args:
        side: Rows, and columns, of the grid.
        epsilon: Width of the kernel as a fraction of the side.

    Returns:
        (n, n) float32, n = side * side.
    """
    row, column = np.divmod(np.arange(side * side), side)
    square = (row[:, None] - row) ** 2 + (column[:, None] - column) ** 2
    return np.exp(-square / (2.0 * (epsilon * side) ** 2)).astype("float32")


def host_map(features: np.ndarray, kernel: np.ndarray, steps: int = 10) -> np.ndarray:
    """Walks on one image's features.

    Args:
        features: (h, w, c) float32.
        kernel: (h * w, h * w), from `location_kernel`.
        steps: Number of steps.

    Returns:
        (h, w) float32, where the walk is after that many steps.
    """
    h, w, channels = features.shape
    nodes = features.reshape(h * w, channels)
    gram = nodes @ nodes.T
    square = np.diagonal(gram)
    # Several times as fast as computing all differences, (n, n, c).
    square = square[:, None] + square - 2.0 * gram
    weights = np.sqrt(np.maximum(square, 0.0)) * kernel
    chain = weights / weights.sum(axis=0)
    state = np.full(h * w, 1.0 / (h * w), "float32")
    for _ in range(steps):
        state = chain @ state
    return state.reshape(h, w)


def host_box(saliency: np.ndarray, size: int) -> tuple[int, int, int, int]:
    """Finds the square around the largest region of one map.

    Args:
        saliency: (h, w) float32.
        size: Side in pixels of the image that the map is resized to.

    Returns:
        ymin, xmin, ymax, xmax in pixels, the last two one past the end.
    """
    low, high = saliency.min(), saliency.max()
    levels = ((saliency - low) / (high - low) * 255.0).astype("uint8")
    image = cv2.resize(levels, (size, size), interpolation=cv2.INTER_LINEAR)
    mask = (image > image.mean()).astype("uint8")
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    largest = 1 + stats[1:, cv2.CC_STAT_AREA].argmax()  # 0 is the background
    x, y, width, height = stats[largest, :4]
    side = (width + height) / 2.0
    ymin, xmin = y + (height - side) / 2.0, x + (width - side) / 2.0
    corners = np.array([ymin, xmin, ymin + side, xmin + side])
    ymin, xmin, ymax, xmax = np.clip(np.rint(corners), 0, size).astype(int).tolist()
    return ymin, xmin, ymax, xmax


def host_attention(
    features: np.ndarray, images: np.ndarray, steps: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Finds and cuts the box of every image, one image after the other.

    Args:
        features: (b, h, w, c) float32, h = w.
        images: (b, size, size, 3) float32.
        steps: Number of steps of the walk.

    Returns:
        (b, size, size, 3) float32, the cut images; (b, 4) integers, their boxes in
        pixels, as `host_box` returns them.
    """
    size = images.shape[1]
    kernel = location_kernel(features.shape[1])
    views, boxes = np.empty_like(images), np.empty((len(images), 4), int)
    for i, (one, image) in enumerate(zip(features, images, strict=True)):
        ymin, xmin, ymax, xmax = boxes[i] = host_box(host_map(one, kernel, steps), size)
        crop = image[ymin:ymax, xmin:xmax]
        views[i] = cv2.resize(crop, (size, size), interpolation=cv2.INTER_LINEAR)
    return views, boxes
