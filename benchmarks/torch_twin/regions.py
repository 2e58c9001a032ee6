"""From the pixels above the mean to the box of their largest region, on the host."""

import cv2
import numpy as np
import torch

WHOLE = (0.0, 0.0, 1.0, 1.0)


def region_boxes(above: torch.Tensor) -> torch.Tensor:
    """Returns the square around the largest 8-connected region of each image.

    Args:
        above: (b, s, s) boolean.

    Returns:
        (b, 4) float32: ymin, xmin, ymax, xmax relative to the image; the whole image
        if there is no region.
    """
    images = above.view(torch.uint8).numpy()
    boxes = np.stack([_largest(image) for image in images])
    return torch.from_numpy(boxes)


def _largest(image: np.ndarray) -> np.ndarray:
    count, _, stats, _ = cv2.connectedComponentsWithStats(image, connectivity=8)
    if count == 1:  # only the background
        return np.asarray(WHOLE, np.float32)
    left, top, width, height, _ = stats[1 + stats[1:, cv2.CC_STAT_AREA].argmax()]
    corner = np.array([top, left]) / len(image)
    extent = np.array([height, width]) / len(image)
    side = extent.mean()
    start = np.clip(corner + (extent - side) / 2.0, 0.0, 1.0 - side)
    return np.concatenate([start, start + side]).astype(np.float32)
