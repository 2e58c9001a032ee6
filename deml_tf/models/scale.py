"""One scale of DeML: lower, gates, upper, pool, project, propose a region, zoom."""

import dataclasses
import difflib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from deml_tf.backbones import build_backbone
from deml_tf.config import ModelConfig
from deml_tf.errors import UsageError, arguments_of
from deml_tf.layers import REGION_RULES
from deml_tf.layers.channel_attention import ChannelAttention
from deml_tf.layers.projection import Projection
from deml_tf.layers.zoom import Zoom

POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float64": "float64",  # to tell rounding from errors; walk and zoom stay float32
}


@dataclasses.dataclass(frozen=True)
class Scale:
    """The layers of one scale and what they compute.

    Chen & Deng (CVPR 2019), sections 3.2 and 3.3, for the view x of the scale:

        U   = lower(x)             (b, h, w, c)
        A_j = gate_j(U) * U        channel attention, one gate for each learner j
        V_j = upper(A_j)           one upper for all learners of the scale
        e_j = W . mean_hw(V_j)     the part of learner j, scaled to length one
        box = region rule on V_1   where the next scale looks

    Without gates A = U, V is computed once, and e_j = W_j . mean_hw(V): the learners
    are projections of the same features.

    Attributes:
        lower: Backbone up to the gates.
        gates: Channel attention; None where the scale has no gates.
        upper: Backbone after the gates; gives its middle and its last map.
        pool: Mean over space.
        projection: The embedding matrix W.
        unit: Scales each part to length one.
        region_rule: The layer that proposes a region, from the last map of learner 1
            and, if `multi_layer`, from its middle map as well.
        zoom: Cuts the view of the next scale out of an image; None for the last scale.
        learners: How many learners are computed.
        multi_layer: Whether the region rule reads the middle map too.
    """

    lower: keras.Model
    gates: ChannelAttention | None
    upper: keras.Model
    pool: keras.layers.Layer
    projection: Projection
    unit: keras.layers.Layer
    region_rule: keras.layers.Layer
    zoom: Zoom | None
    learners: int
    multi_layer: bool

    def features(self, view: Any) -> tuple[Any, Any, Any]:
        """Compute the pooled features and the maps of every learner.

        Args:
            view: `(b, s, s, 3)`, what the scale sees.

        Returns:
            Pooled features `(b, j, c)`, and the middle and the last map of upper,
            `(b * j, h, w, c)` each, or `(b, h, w, c)` without gates.
        """
        features = self.lower(view)  # (b, h, w, c)
        if self.gates is not None:
            features = self.gates(features)  # (b, j, h, w, c)
            features = ops.reshape(features, (-1, *features.shape[2:]))
        middle, last = self.upper(features)
        pooled: Any = self.pool(last)
        pooled = ops.reshape(pooled, (-1, self._maps, pooled.shape[-1]))
        if self._maps < self.learners:
            pooled = ops.tile(pooled, (1, self.learners, 1))
        return pooled, middle, last

    def parts(self, pooled: Any) -> Any:
        """Project pooled features `(b, j, c)` to parts `(b, j, d)` of length one."""
        return self.unit(self.projection(pooled))

    def propose(self, middle: Any, last: Any) -> Any:
        """Propose a region from the maps of learner 1.

        Args:
            middle: As `features` returns it.
            last: As `features` returns it.

        Returns:
            A dict of `boxes` `(b, 4)`, relative to the view, `saliency` `(b, h, w)`
            and `fallback` `(b,)`.
        """
        maps = [last, middle] if self.multi_layer else [last]
        return self.region_rule(*(self._of_first_learner(m) for m in maps))

    def with_learners(self, learners: Sequence[int]) -> "Scale":
        """Keep some learners, on copies of their gates and projections.

        Args:
            learners: Their indices from 0, sorted.

        Returns:
            A scale that computes these learners alone; all other layers are shared.
        """
        if list(learners) == list(range(self.learners)):
            return self
        return dataclasses.replace(
            self,
            gates=self.gates and _some_gates(self.gates, learners),
            projection=_some_projections(self.projection, learners),
            learners=len(learners),
        )

    @property
    def _maps(self) -> int:
        """Count the maps that `upper` makes for an image."""
        return 1 if self.gates is None else self.learners

    def _of_first_learner(self, maps: Any) -> Any:
        """Take `(b, h, w, c)` out of `(b * j, h, w, c)`."""
        if self._maps == 1:
            return maps
        split: Any = ops.reshape(maps, (-1, self._maps, *maps.shape[1:]))
        return split[:, 0]


def build_scale(
    settings: ModelConfig,
    part_dim: int,
    seed: int,
    prefix: str,
    is_last: bool = False,
) -> Scale:
    """Build a scale with weights of its own.

    Args:
        settings: Those of the embedder.
        part_dim: d, the size of one learner's part.
        seed: Seed of the random weights; with the same seed scales start with equal
            backbones.
        prefix: Prefix of all layers' names, such as `scale1_`.
        is_last: Whether no scale follows, so that no zoom is made.

    Raises:
        UsageError: A setting is wrong.
    """
    policy = POLICIES[settings.precision]
    exact = "float64" if policy == "float64" else "float32"
    backbone = build_backbone(
        settings.backbone,
        input_size=settings.input_size,
        weights=settings.weights,
        width=settings.width,
        output_stride=settings.output_stride,
        cut_layer=settings.cut_layer,
        batch_norm=settings.batch_norm if settings.train_backbone else "frozen",
        prefix=prefix,
        seed=seed,
        dtype=policy,
    )
    if not settings.train_backbone:
        backbone.lower.trainable = backbone.upper.trainable = False
    gates = None
    gated = settings.channel_attention
    if settings.learners > 1 if gated is None else gated:
        bias = settings.gate_bias
        gates = ChannelAttention(
            settings.learners,
            hidden=backbone.gate_hidden,
            pooled=settings.pooled_gates,
            bias=backbone.gate_bias if bias is None else bias,
            dtype=policy,
            name=f"{prefix}channel_attention",
        )
        # Built now, so that one seed draws gates and projection in scale order.
        gates.build(backbone.lower.output_shape)
    region_rule = build_region_rule(
        settings.region_rule,
        settings.region_arguments,
        resolution=settings.input_size,
        name=f"{prefix}object_attention",
    )
    if is_last:  # its proposal is not used, so that no loss could train it
        region_rule.trainable = False
    zoom = Zoom(settings.input_size, dtype="float32", name=f"{prefix}zoom")
    return Scale(
        lower=backbone.lower,
        gates=gates,
        upper=backbone.upper,
        pool=keras.layers.GlobalAveragePooling2D(dtype=exact, name=f"{prefix}pool"),
        projection=Projection(
            part_dim,
            settings.shared_projection,
            dtype=exact,
            name=f"{prefix}projection",
        ),
        unit=keras.layers.UnitNormalization(dtype=exact, name=f"{prefix}parts"),
        region_rule=region_rule,
        zoom=None if is_last else zoom,
        learners=settings.learners,
        multi_layer=getattr(region_rule, "multi_layer", True),
    )


def build_region_rule(
    rule: str, arguments: Mapping[str, Any], *, resolution: int, name: str
) -> keras.layers.Layer:
    """Build a region rule.

    Args:
        rule: A key of `deml_tf.layers.REGION_RULES`.
        arguments: Arguments of its constructor, those that are given.
        resolution: Side in pixels of the image that its map stands for.
        name: Name of the layer.

    Raises:
        UsageError: There is no such rule, or it has no such argument.
    """
    if rule not in REGION_RULES:
        raise UsageError(
            f"region_rule={rule!r} is unknown: use {' or '.join(REGION_RULES)}."
        )
    known = set(inspect.signature(REGION_RULES[rule]).parameters)
    known -= {"resolution", "kwargs"}  # which are not for the user
    for argument in arguments:
        if argument not in known:
            near = difflib.get_close_matches(argument, known, 1)
            hint = f"did you mean {rule}_{near[0]}" if near else "leave it out"
            raise UsageError(
                f"{rule}_{argument} is no argument of region_rule={rule}: {hint}."
            )
    with arguments_of(rule, arguments):
        return REGION_RULES[rule](
            **arguments, resolution=resolution, dtype="float32", name=name
        )


def scale_of(core: keras.Model, number: int) -> Scale:
    """Find the layers of one scale in the core of an embedder.

    Args:
        core: As `deml_tf.models.embedder.core_of` returns it.
        number: Number of the scale, from 1.
    """
    prefix = f"scale{number}_"
    found = {
        layer.name.removeprefix(prefix): layer
        for layer in core.layers
        if layer.name.startswith(prefix)
    }
    rule = found["object_attention"]
    outputs: Any = core.output
    return Scale(
        lower=found["lower"],
        gates=found.get("channel_attention"),
        upper=found["upper"],
        pool=found["pool"],
        projection=found["projection"],
        unit=found["parts"],
        region_rule=rule,
        zoom=found.get("zoom"),
        learners=outputs["parts"].shape[2],
        multi_layer=len(keras.tree.flatten(rule.input)) > 1,
    )


def _some_gates(gates: ChannelAttention, learners: Sequence[int]) -> ChannelAttention:
    fewer = ChannelAttention.from_config(
        gates.get_config() | {"num_learners": len(learners)}
    )
    hidden_kernel, hidden_bias, gate_kernel, gate_bias = gates.get_weights()
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


def _some_projections(projection: Projection, learners: Sequence[int]) -> Projection:
    kernels = projection.get_weights()
    if projection.shared:
        return projection
    fewer = Projection.from_config(projection.get_config())
    fewer.build((None, len(learners), kernels[0].shape[0]))
    fewer.set_weights([kernels[j] for j in learners])
    return fewer
