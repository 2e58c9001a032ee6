"""The embedder DeML(I, J), in the order of the paper."""

import dataclasses

import keras
from keras import ops

from deml_tf.backbones.backbone import build_backbone
from deml_tf.errors import UsageError, arguments_of
from deml_tf.layers.channel_attention import ChannelAttention
from deml_tf.layers.object_attention import ObjectAttention
from deml_tf.layers.prepare import Prepare, RestoreBoxes
from deml_tf.layers.projection import Projection
from deml_tf.layers.zoom import Zoom, compose_boxes

CORE = "deml"
PREPARE = "prepare"
RESTORE = "restore_boxes"


def build_deml(
    *,
    backbone="efficientnet_lite0",
    weights="imagenet",
    width=1.0,
    output_stride=32,
    cut_layer=None,
    batch_norm="auto",
    scales=3,
    learners=3,
    embedding_dim=512,
    shared_projection=True,
    channel_attention=None,
    pooled_gates=False,
    gate_bias=None,
    region_rule="walk",
    region_arguments=None,
    walk_steps=None,
    epsilon=0.15,
    border="shift",
    prior_correction=False,
    multi_layer=False,
    zoom_source="original",
    input_size=224,
    resize_size=None,
    source_size=None,
    fit="squash",
    precision="float32",
    seed=0,
    explain=False,
):
    """Builds the embedder DeML(I, J): RGB images in, embeddings out.

    Paper sections 3.2 and 3.3. Every scale has a backbone of its own, cut in two:

        U    = lower_i(x_i)                           (b, h, w, c)
        A_j  = gate_ij(U) * U                         channel attention
        V_j  = upper_i(A_j)                           one upper for the J learners
        e_ij = W_i . mean_hw(V_j)
        x_{i+1} = zoom(x, box of the walk on V_1)     object attention

    and the embedding is the L2-normalised concatenation of the L2-normalised parts.
    DeML(1, 1) is U512, the baseline: no gate, no zoom.

    Args:
        backbone: Name of the backbone (`deml_tf.backbones.backbone`).
        weights: "imagenet", "none" or a file.
        width: Channel multiplier of the backbone; 1.0 for pretrained weights.
        output_stride: 32, or 16 to keep maps useful on small images.
        cut_layer: Layer at which channel attention sits; None is the
            backbone's default.
        batch_norm: "auto" (frozen iff weights are given), "frozen" or "train".
        scales: I, at least 1.
        learners: J, at least 1.
        embedding_dim: Numbers in the embedding, shared out evenly: each part has
            `embedding_dim // (I * J)` of them (512 over 9 gives 56, so 504).
        shared_projection: One `W_i` for a scale's learners (the release).
        channel_attention: Whether learners are gated; None means J > 1.
        pooled_gates: Gates from pooled features (squeeze and excitation).
        gate_bias: Bias the gates start with; None is the backbone's own (0 for
            the release's GoogLeNet, 3 where frozen BatchNorm needs open gates).
        region_rule: Rule that finds where the next scale looks: "walk".
        region_arguments: Arguments of the rule, in place of the next ones.
        walk_steps: Steps of the random walk (10 in the release); None is exact.
        epsilon: Width of the walk's location kernel, in sides of the map.
        border: "shift" or "clip" (the release) for boxes that cross the border.
        prior_correction: Take the walk's centre prior out of its map.
        multi_layer: Join the walks on the upper part's middle and last map.
        zoom_source: "original", or "previous" (the release): what is cut.
        input_size: Side in pixels of what each scale sees.
        resize_size: Side images are brought to before the centre crop of
            `input_size`; None means no crop.
        source_size: Side of the image that later scales are cut from, in place
            of `input_size`: more than that lets the zoom gain detail.
        fit: "squash" or "pad": how an image becomes square.
        precision: "float32" or "bfloat16" (walk, pooling and parts stay float32), or
            "float64" for all but the walk, to tell rounding from error.
        seed: Of the random initial weights.
        explain: Give a dict and not the embedding alone, see Returns.

    Returns:
        A functional `keras.Model` on RGB images `(b, h, w, 3)`, 0..255, of any
        size, which gives the embedding `(b, I * J * d)`; with `explain`, a dict of
        `embedding`, `parts` `(b, i, j, d)` (normalised), `boxes` `(b, i, 4)` (ymin,
        xmin, ymax, xmax relative to the original image: what each scale saw),
        `saliency` `(b, i, h, w)` and `fallback` `(b, i)`.

    Raises:
        UsageError: A size or a name is wrong.
    """
    _check(scales, learners, embedding_dim, input_size, resize_size, source_size)
    if zoom_source not in ("original", "previous"):
        raise UsageError(f"zoom_source={zoom_source!r}: use 'original' or 'previous'.")
    if channel_attention is None:
        channel_attention = learners > 1
    if learners > 1 and not channel_attention:
        raise UsageError(
            f"learners={learners} without channel attention would all be the same: use "
            "learners=1, or channel_attention=true."
        )
    source_size = source_size or input_size
    resize_size = resize_size or input_size
    policies = {"bfloat16": "mixed_bfloat16", "float32": "float32"}
    policy = (policies | {"float64": "float64"}).get(precision)
    if policy is None:
        raise UsageError(f"precision={precision!r}: use 'float32' or 'bfloat16'.")
    exact = "float64" if precision == "float64" else "float32"
    attention = {
        "steps": walk_steps,
        "epsilon": epsilon,
        "border": border,
        "prior_correction": prior_correction,
        "resolution": input_size,
        "dtype": "float32",
    } | (region_arguments or {})
    part_dim = embedding_dim // (scales * learners)

    source = keras.Input((source_size, source_size, 3), name="source")
    view = source
    if source_size != input_size:
        view = Zoom(input_size, dtype="float32", name="scale1_view")(
            source, _whole(source)
        )
    parts, pooled, boxes, saliency, fallback = [], [], [_whole(source)], [], []
    for i in range(1, scales + 1):
        halves = build_backbone(
            backbone,
            input_size=input_size,
            weights=weights,
            width=width,
            output_stride=output_stride,
            cut_layer=cut_layer,
            batch_norm=batch_norm,
            prefix=f"scale{i}_",
            seed=seed,
            dtype=policy,
        )
        attended = halves.lower(view)  # (b, h, w, c)
        if channel_attention:
            attended = ChannelAttention(
                learners,
                pooled=pooled_gates,
                bias=halves.gate_bias if gate_bias is None else gate_bias,
                dtype=policy,
                name=f"scale{i}_channel_attention",
            )(attended)  # (b, j, h, w, c)
            attended = ops.reshape(attended, (-1, *attended.shape[2:]))
        middle, last = halves.upper(attended)  # (b * j, h, w, c)
        mean = keras.layers.GlobalAveragePooling2D(dtype=exact, name=f"scale{i}_pool")(
            last
        )
        mean = ops.reshape(mean, (-1, learners, mean.shape[-1]))  # (b, j, c)
        part = Projection(
            part_dim, shared_projection, dtype=exact, name=f"scale{i}_projection"
        )(mean)  # (b, j, d)
        with arguments_of(region_rule, region_arguments or {}):
            rule = ObjectAttention(name=f"scale{i}_object_attention", **attention)
        found = rule(
            *([_first(last, learners)] + [_first(middle, learners)] * multi_layer)
        )
        parts.append(
            keras.layers.UnitNormalization(dtype=exact, name=f"scale{i}_parts")(part)
        )
        pooled.append(mean[:, 0])
        saliency.append(found["saliency"])
        fallback.append(found["fallback"])
        if i < scales:
            boxes.append(compose_boxes(boxes[-1], found["boxes"]))
            zoom = Zoom(input_size, dtype="float32", name=f"scale{i}_zoom")
            if zoom_source == "original":
                view = zoom(source, boxes[-1])
            else:
                view = zoom(view, found["boxes"])
    stacked = ops.stack(parts, axis=1)  # (b, i, j, d)
    embedding = keras.layers.UnitNormalization(dtype=exact, name="embedding")(
        ops.reshape(stacked, (-1, scales * learners * part_dim))
    )
    core = keras.Model(
        source,
        {
            "embedding": embedding,
            "parts": stacked,
            "pooled": ops.stack(pooled, axis=1),  # (b, i, c), of learner 1
            "boxes": ops.stack(boxes, axis=1),
            "saliency": ops.stack(saliency, axis=1),
            "fallback": ops.stack(fallback, axis=1),
        },
        name=CORE,
    )
    resize_size = round(resize_size * source_size / input_size)
    return _around(core, Geometry(resize_size, source_size, fit), explain)


def explainer(embedder):
    """The same network with all its outputs, whatever the embedder gives.

    Args:
        embedder: What `build_deml` built, or the same loaded from a file.

    Returns:
        A model on the same weights that gives the dict of `build_deml(explain=True)`.
    """
    return _around(core_of(embedder), geometry_of(embedder), explain=True)


def core_of(embedder):
    """The part of an embedder that runs on prepared images `(b, s, s, 3)`."""
    return embedder.get_layer(CORE)


def scales_and_learners(core):
    """I and J of a core."""
    _, scales, learners, _ = core.output["parts"].shape
    return scales, learners


@dataclasses.dataclass(frozen=True)
class Geometry:
    """What the embedder does to an image before the network, sides in pixels."""

    resize_size: int
    input_size: int
    fit: str


def geometry_of(embedder):
    """The `Geometry` of an embedder, for the pipelines that feed it."""
    prepare = embedder.get_layer(PREPARE)
    return Geometry(prepare.resize_size, prepare.input_size, prepare.fit)


def build_frozen(
    *,
    backbone,
    weights,
    width,
    output_stride,
    cut_layer,
    input_size,
    resize_size,
    fit,
    seed,
):
    """The frozen start: the backbone's pooled features before any training.

    One scale, no gate, no projection: what every trained model must beat.

    Returns:
        A `keras.Model` on images `(b, h, w, 3)` giving `(b, c)` features.
    """
    halves = build_backbone(
        backbone,
        input_size=input_size,
        weights=weights,
        width=width,
        output_stride=output_stride,
        cut_layer=cut_layer,
        batch_norm="frozen",
        prefix="frozen_",
        seed=seed,
    )
    images = keras.Input((None, None, 3), name="images")
    image = Prepare(resize_size or input_size, input_size, fit, name=PREPARE)(images)
    _, last = halves.upper(halves.lower(image))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(last))


def _around(core, geometry, explain):
    """Puts the core behind its preparation of images."""
    images = keras.Input((None, None, 3), name="images")
    sizes = dataclasses.asdict(geometry)
    outputs = core(Prepare(**sizes, dtype="float32", name=PREPARE)(images))
    if not explain:
        return keras.Model(images, outputs["embedding"], name="embedder")
    del outputs["pooled"]
    restore = RestoreBoxes(**sizes, dtype="float32", name=RESTORE)
    outputs["boxes"] = restore(outputs["boxes"], images)
    return keras.Model(images, outputs, name="explainer")


def _first(features, learners):
    """Learner 1's maps `(b, h, w, c)` of maps stacked as `(b * j, h, w, c)`."""
    if learners == 1:
        return features
    return ops.reshape(features, (-1, learners, *features.shape[1:]))[:, 0]


def _whole(images):
    """The box of the whole image for each of the images: `(b, 4)`."""
    low = ops.zeros_like(images[:, 0, 0, :2], dtype="float32")  # (b, 2)
    high = ops.ones_like(low)
    return ops.concatenate([low, high], axis=-1)


def _check(scales, learners, embedding_dim, input_size, resize_size, source_size):
    for name, value in (("scales", scales), ("learners", learners)):
        if value < 1:
            raise UsageError(f"{name}={value}: it must be at least 1.")
    if embedding_dim < scales * learners:
        raise UsageError(
            f"embedding_dim={embedding_dim}: {scales} scales x {learners} learners "
            f"need at least {scales * learners}."
        )
    for name, value in (("resize_size", resize_size), ("source_size", source_size)):
        if value and value < input_size:
            raise UsageError(
                f"{name}={value}: it must be at least input_size={input_size}."
            )
