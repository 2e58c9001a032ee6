"""How well object attention finds the object: boxes, saliency and listed boxes."""

from typing import Any

import numpy as np

CONSTANT = 1e-6  # sides that deviate less count as constant
_IMAGES = 1024  # whose maps are held in float64 at a time


def score_attention(
    boxes: np.ndarray,
    saliency: np.ndarray,
    fallback: np.ndarray,
    listed: np.ndarray | None = None,
) -> dict[str, Any]:
    """Measure the boxes that each scale saw, and the maps they come from.

    Side means the square root of a box's area, as a share of the image. Attention that
    reads the image has sides correlated with the listed ones, an IoU above that of a
    box of the same size in the middle of the image, and an entropy well below 1.

    Args:
        boxes: (n, i, 4), ymin, xmin, ymax, xmax relative to the image: what each scale
            saw.
        saliency: (n, i, h, w), at least 0.
        fallback: (n, i), whether no region was found. The last scale's proposal is
            not used.
        listed: (n, 4), the objects' boxes; None, the default, if they are not known.

    Returns:
        `fallback_share`, of the proposals that are zoomed to; and for each scale, over
        the images, `mean_box`, `side` (mean), `side_deviation` (standard deviation),
        `entropy` (mean, of the saliency divided by its sum, over log(h w): 1 where all
        places are alike), and with listed boxes `iou` (mean), `iou_of_centre` (mean
        IoU of a box of the same size in the middle of the image) and
        `side_correlation` (Pearson's, of the sides with the listed ones; None for a
        scale where either is constant). Without listed boxes these three are None.
    """
    walks = fallback[:, :-1]
    sides = _sides(boxes)  # (n, i)
    found: dict[str, Any] = {
        "fallback_share": float(walks.mean()) if walks.size else 0.0,
        "mean_box": boxes.mean(axis=0).tolist(),
        "side": sides.mean(axis=0).tolist(),
        "side_deviation": sides.std(axis=0).tolist(),
        "entropy": _entropy(saliency).mean(axis=0).tolist(),
        "iou": None,
        "iou_of_centre": None,
        "side_correlation": None,
    }
    if listed is not None:
        truth = np.asarray(listed, float)[:, None]  # (n, 1, 4)
        half = (boxes[..., 2:] - boxes[..., :2]) / 2
        centred = np.concatenate([0.5 - half, 0.5 + half], axis=-1)
        found["iou"] = _mean_overlap(boxes, truth)
        found["iou_of_centre"] = _mean_overlap(centred, truth)
        wanted = _sides(truth)[:, 0]
        found["side_correlation"] = [_correlation(s, wanted) for s in sides.T]
    return found


def intersection_over_union(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the area that boxes share over the area that they cover together.

    Args:
        a: (..., 4), ymin, xmin, ymax, xmax.
        b: (..., 4), of a shape that broadcasts with a's.

    Returns:
        (...), from 0 to 1.
    """
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., 2:], b[..., 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [np.prod(box[..., 2:] - box[..., :2], axis=-1) for box in (a, b)]
    return shared / (areas[0] + areas[1] - shared)


def _mean_overlap(boxes: np.ndarray, truth: np.ndarray) -> list[float]:
    return intersection_over_union(boxes, truth).mean(axis=0).tolist()


def _sides(boxes: np.ndarray) -> np.ndarray:
    return np.sqrt(np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1, dtype=float))


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    if min(a.std(), b.std()) < CONSTANT:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _entropy(saliency: np.ndarray) -> np.ndarray:
    """Return (n, i) from (n, i, h, w); 0 for a map of one place."""
    places = saliency.shape[2] * saliency.shape[3]
    found = np.empty(saliency.shape[:2])
    for start in range(0, len(saliency), _IMAGES):
        part = slice(start, start + _IMAGES)
        shares = saliency[part].reshape(-1, saliency.shape[1], places).astype(float)
        shares /= shares.sum(axis=-1, keepdims=True)
        logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
        found[part] = -(shares * logs).sum(axis=-1) / np.log(max(places, 2))
    return found
