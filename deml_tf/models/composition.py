"""Scales joined into one network: each looks where the one before it points."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from deml_tf.layers.zoom import Zoom, compose_boxes
from deml_tf.models.scale import Scale


def compose(
    source: Any,
    scales: Sequence[Scale],
    kept: Sequence[Sequence[int] | None],
    *,
    first_view: Zoom | None,
    zoom_source: str,
    unit: keras.layers.Layer,
    explain: bool = True,
) -> dict[str, Any]:
    """Join scales into the outputs of an embedder's core.

    Args:
        source: `(b, s, s, 3)`, the prepared images.
        scales: In order, from the first.
        kept: For each scale the indices of the learners whose parts are kept, among
            those that it computes; None for a scale that only shows the next one where
            to look.
        first_view: Resizes the source to what scales see; None if it has that size.
        zoom_source: "original" cuts each view from the source, "previous" from the
            view before.
        unit: Scales the embedding to length one.
        explain: Whether all outputs are returned; default True.

    Returns:
        `embedding` `(b, i * j * d)` and `boxes` `(b, i, 4)` (ymin, xmin, ymax, xmax
        relative to the source: what each kept scale saw); with `explain` also `parts`
        `(b, i, j, d)`, `pooled` `(b, i, c)` of the first learner, `saliency`
        `(b, i, h, w)` and `fallback` `(b, i)`.
    """
    box = _whole(source)
    view = source if first_view is None else first_view(source, box)
    names = ("parts", "pooled", "boxes", "saliency", "fallback")
    found: dict[str, list[Any]] = {name: [] for name in names}
    for scale, places in zip(scales, kept, strict=True):
        pooled, middle, last = scale.features(view)
        if places is not None:
            parts = scale.parts(pooled)  # (b, j, d)
            if list(places) != list(range(scale.learners)):
                parts = ops.take(parts, list(places), axis=1)
            found["parts"].append(parts)
            found["boxes"].append(box)
            found["pooled"].append(pooled[:, 0])
        is_last = scale is scales[-1]
        if is_last and not explain:
            break
        region = scale.propose(middle, last)
        if places is not None:
            found["saliency"].append(region["saliency"])
            found["fallback"].append(region["fallback"])
        if not is_last:
            assert scale.zoom is not None  # it has a successor
            box = compose_boxes(box, region["boxes"])
            if zoom_source == "original":
                view = scale.zoom(source, box)
            else:
                view = scale.zoom(view, region["boxes"])
    stacked: Any = ops.stack(found["parts"], axis=1)  # (b, i, j, d)
    joined = ops.reshape(stacked, (-1, math.prod(stacked.shape[1:])))
    outputs = {"embedding": unit(joined), "boxes": ops.stack(found["boxes"], axis=1)}
    if explain:
        outputs["parts"] = stacked
        for name in ("pooled", "saliency", "fallback"):
            outputs[name] = ops.stack(found[name], axis=1)
    return outputs


def _whole(images: Any) -> Any:
    """Give each image the box of the whole image: `(b, 4)`."""
    low = ops.zeros_like(images[:, 0, 0, :2], dtype="float32")  # (b, 2)
    return ops.concatenate([low, ops.ones_like(low)], axis=-1)
