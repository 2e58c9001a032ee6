"""An embedder with fewer scales, fewer learners or another precision."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from deml_tf.config import ModelConfig
from deml_tf.errors import DataError, UsageError
from deml_tf.kernels.layers_within import layers_within
from deml_tf.models.composition import compose
from deml_tf.models.embedder import build_embedder, core_of, scales_and_learners
from deml_tf.models.scale import scale_of

OUTPUTS = ("embedding", "boxes")
EXPLANATIONS = ("parts", "saliency", "fallback")


def chosen(name: str, indices: Sequence[int] | None, count: int) -> tuple[int, ...]:
    """Check a choice of scales or learners.

    Args:
        name: "scales" or "learners".
        indices: From 0, in any order; None for all.
        count: How many the embedder has.

    Returns:
        The indices, sorted.

    Raises:
        UsageError: An index is out of range or given twice, or none is given.
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
    """Compose some parts of an embedder's core, and compute nothing else.

    Scales after the last chosen one are dropped. So is every learner that is not
    chosen, except the first of a scale whose region rule needs its maps: to find the
    view of the next scale, or with `explain` to return the saliency.

    Args:
        core: As `core_of` returns it; the result shares its weights, except the gates
            and projections of scales that keep only some learners.
        scales: Sorted indices from 0.
        learners: Sorted indices from 0, the same for every scale.
        explain: Whether parts, saliency and fallback are returned too; default False.

    Returns:
        A model on the input of the core, giving a dict: `embedding`, the chosen parts
        joined and normalised; `boxes` (b, i, 4) of the chosen scales; with `explain`
        also `parts` (b, i, j, d), `saliency` (b, i, h, w) and `fallback` (b, i).
    """
    names = OUTPUTS + EXPLANATIONS * explain
    outputs: Any = core.output
    source: Any = core.input
    if (len(scales), len(learners)) != scales_and_learners(core):
        source, outputs = _composed(core, scales, learners, explain)
    return keras.Model(source, {name: outputs[name] for name in names})


def precision_of(embedder: keras.Model) -> str:
    """Find the precision of an embedder's backbones, as `ModelConfig` names it."""
    upper: Any = core_of(embedder).get_layer("scale1_upper")
    types = {layer.compute_dtype for layer in upper.layers}
    return next((name for name in ("bfloat16", "float64") if name in types), "float32")


def with_precision(
    embedder: keras.Model, settings: ModelConfig, precision: str
) -> keras.Model:
    """Build the same embedder in another precision; walk and parts stay float32.

    Args:
        embedder: The trained one.
        settings: The `ModelConfig` it was built from.
        precision: "float32" or "bfloat16".

    Returns:
        The embedder itself if it has that precision, else a new one with copies of its
        weights, in float32.

    Raises:
        DataError: The settings describe another embedder.
    """
    if precision_of(embedder) == precision:
        return embedder
    twin = build_embedder(
        dataclasses.replace(settings, precision=precision, weights="none")
    )
    try:
        for layer in core_of(embedder).layers:
            if layer.weights:
                core_of(twin).get_layer(layer.name).set_weights(layer.get_weights())
    except ValueError as error:
        raise DataError(
            f"The embedder does not fit the flags of its run ({error}): export the "
            "run that it comes from."
        ) from error
    for layer in layers_within(twin):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with constants made from its weights
    return twin


def _composed(
    core: keras.Model, scales: Sequence[int], learners: Sequence[int], explain: bool
) -> tuple[Any, dict[str, Any]]:
    """Compose the scales that are needed on a new input."""
    original: Any = core.input
    source = keras.Input(original.shape[1:], name="source")
    count = scales[-1] + 1
    zooms_from_source = True
    composed, kept = [], []
    for i in range(count):
        scale = scale_of(core, i + 1)
        if scale.zoom is not None:
            zooms_from_source = keras.tree.flatten(scale.zoom.input)[0] is original
        proposes = explain or i < count - 1
        wanted = set(learners) if i in scales else set()
        computed = sorted(wanted | ({0} if proposes else set()))
        composed.append(scale.with_learners(computed))
        kept.append([computed.index(j) for j in learners] if i in scales else None)
    views = [layer for layer in core.layers if layer.name == "scale1_view"]
    return source, compose(
        source,
        composed,
        kept,
        first_view=next(iter(views), None),
        zoom_source="original" if zooms_from_source else "previous",
        unit=core.get_layer("embedding"),
        explain=explain,
    )
