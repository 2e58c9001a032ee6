"""An embedder with fewer scales, fewer learners or another precision."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from deml_tf.config import ModelConfig
from deml_tf.errors import DataError, UsageError
from deml_tf.layers.zoom import compose_boxes
from deml_tf.models.embedder import build_deml, core_of, scales_and_learners

OUTPUTS = ("embedding", "boxes")
EXPLANATIONS = ("parts", "saliency", "fallback")


def chosen(name: str, indices: Sequence[int] | None, count: int) -> tuple[int, ...]:
    """Checks a choice of scales or learners.

    Args:
        name: "scales" or "learners".
        indices: from 0, in any order; None for all.
        count: how many the embedder has.

    Returns:
        The indices, sorted.

    Raises:
        UsageError: An index out of range or given twice, or none at all.
    """
    if indices is None:
        return tuple(range(count))
    listed = ",".join(map(str, indices))
    if not indices or len(set(indices)) < len(indices):
        raise UsageError(f"{name}={listed}: name each of the {name} to keep once.")
    if min(indices) < 0 or max(indices) >= count:
        raise UsageError(
            f"{name}={listed}: the embedder has {count}, so give numbers from 0 to "
            f"{count - 1}."
        )
    return tuple(sorted(indices))


def part_core(
    core: keras.Model,
    scales: Sequence[int],
    learners: Sequence[int],
    explain: bool = False,
) -> keras.Model:
    """Some parts of an embedder's core, and nothing else computed.

    Later scales than the last chosen one are dropped, and so is every learner that is
    not chosen, but for the first of a scale: its last map is what the walk goes over
    that tells the next scale, and with `explain` the reader, where to look.

    Args:
        core: as `core_of` gives it; the result is on its weights, gates aside.
        scales: sorted indices from 0.
        learners: sorted indices from 0, the same for every scale.
        explain: Whether the walks' maps are asked for as well.

    Returns:
        A model on the core's input, giving a dict: `embedding`, the chosen parts
        joined and normalised; `boxes` (b, i, 4) of the chosen scales; with `explain`
        also `parts` (b, i, j, d), `saliency` (b, i, h, w) and `fallback` (b, i).
    """
    names = OUTPUTS + EXPLANATIONS * explain
    if (len(scales), len(learners)) == scales_and_learners(core):
        outputs: Any = core.output
        return keras.Model(core.input, {name: outputs[name] for name in names})
    original: Any = core.input
    source = keras.Input(original.shape[1:], name="source")
    view = source
    if _has(core, "scale1_view"):
        view = core.get_layer("scale1_view")(source, _whole(source))
    box = _whole(source)
    parts, boxes, saliency, fallback = [], [], [], []
    for i in range(scales[-1] + 1):
        is_chosen, is_last = i in scales, i == scales[-1]
        walks = not is_last or explain
        computed = sorted({*(learners if is_chosen else ()), *([0] if walks else ())})
        pooled, middle, last = _scale(core, i, computed, view)
        if is_chosen:
            part = _projection(core, i, computed)(pooled)
            part = core.get_layer(f"scale{i + 1}_parts")(part)  # (b, computed, d)
            parts.append(ops.take(part, [computed.index(j) for j in learners], axis=1))
            boxes.append(box)
        if walks:
            attention = core.get_layer(f"scale{i + 1}_object_attention")
            maps = [last, middle][: len(_inputs(attention))]
            found = attention(*(_first(m, len(computed)) for m in maps))
            if is_chosen:
                saliency.append(found["saliency"])
                fallback.append(found["fallback"])
            if not is_last:
                zoom = core.get_layer(f"scale{i + 1}_zoom")
                box = compose_boxes(box, found["boxes"])
                if _inputs(zoom)[0] is original:
                    view = zoom(source, box)
                else:
                    view = zoom(view, found["boxes"])
    stacked: Any = ops.stack(parts, axis=1)  # (b, i, j, d)
    joined = ops.reshape(stacked, (-1, math.prod(stacked.shape[1:])))
    outputs = {
        "embedding": core.get_layer("embedding")(joined),
        "boxes": ops.stack(boxes, axis=1),
    }
    if explain:
        outputs["parts"] = stacked
        outputs["saliency"] = ops.stack(saliency, axis=1)
        outputs["fallback"] = ops.stack(fallback, axis=1)
    return keras.Model(source, outputs)


def precision_of(embedder: keras.Model) -> str:
    """The arithmetic of an embedder's backbones: "float32" or "bfloat16"."""
    upper = core_of(embedder).get_layer("scale1_upper")
    types = {layer.compute_dtype for layer in upper.layers}
    return "bfloat16" if "bfloat16" in types else "float32"


def with_precision(
    embedder: keras.Model, model: ModelConfig, precision: str
) -> keras.Model:
    """The same embedder in another arithmetic; walk, pooling and parts stay float32.

    Args:
        embedder: The trained one.
        model: The `ModelConfig` it was built from.
        precision: "float32" or "bfloat16".

    Returns:
        The embedder itself if it has that precision, else a new one with copies of its
        weights, which stay float32.

    Raises:
        DataError: The config describes another embedder.
    """
    if precision_of(embedder) == precision:
        return embedder
    arguments: dict[str, Any] = dataclasses.asdict(model)
    arguments |= {"precision": precision, "weights": "none"}
    twin = build_deml(**arguments)
    try:
        for layer in core_of(embedder).layers:
            if layer.weights:
                core_of(twin).get_layer(layer.name).set_weights(layer.get_weights())
    except ValueError as error:
        raise DataError(
            f"The embedder does not fit the flags of its run ({error}): export the "
            "run that it comes from."
        ) from error
    return twin


def _scale(core, i, learners, view):
    """Pooled features (b, j, c) of some learners, and their maps (b * j, h, w, c)."""
    features = core.get_layer(f"scale{i + 1}_lower")(view)
    name = f"scale{i + 1}_channel_attention"
    if _has(core, name):
        gates = _gates(core.get_layer(name), learners)
        features = gates(features)  # (b, j, h, w, c)
        features = ops.reshape(features, (-1, *features.shape[2:]))
    middle, last = core.get_layer(f"scale{i + 1}_upper")(features)
    pooled = core.get_layer(f"scale{i + 1}_pool")(last)
    return ops.reshape(pooled, (-1, len(learners), pooled.shape[-1])), middle, last


def _gates(attention, learners):
    """Channel attention with the gates of some learners."""
    if len(learners) == attention.num_learners:
        return attention
    fewer = attention.__class__.from_config(
        attention.get_config() | {"num_learners": len(learners)}
    )
    hidden_kernel, hidden_bias, gate_kernel, gate_bias = attention.get_weights()
    fewer.build((None, None, None, hidden_kernel.shape[0]))
    fewer.set_weights(
        [
            hidden_kernel[:, learners],  # (c, j, r)
            hidden_bias[learners],
            gate_kernel[learners],
            gate_bias[learners],
        ]
    )
    return fewer


def _projection(core, i, learners):
    """The projection of a scale, with the kernels of some learners."""
    projection = core.get_layer(f"scale{i + 1}_projection")
    kernels = projection.get_weights()
    if projection.shared or len(learners) == len(kernels):
        return projection
    fewer = projection.__class__.from_config(projection.get_config())
    fewer.build((None, len(learners), kernels[0].shape[0]))
    fewer.set_weights([kernels[j] for j in learners])
    return fewer


def _first(features, learners):
    """The first learner's maps (b, h, w, c) of maps stacked as (b * j, h, w, c)."""
    return ops.reshape(features, (-1, learners, *features.shape[1:]))[:, 0]


def _whole(images):
    """The box of the whole image for each of the images: (b, 4)."""
    low = ops.zeros_like(images[:, 0, 0, :2], dtype="float32")  # (b, 2)
    return ops.concatenate([low, ops.ones_like(low)], axis=-1)


def _has(core, name):
    return any(layer.name == name for layer in core.layers)


def _inputs(layer):
    """What a layer of the core is called on, as a list."""
    return layer.input if isinstance(layer.input, list | tuple) else [layer.input]
