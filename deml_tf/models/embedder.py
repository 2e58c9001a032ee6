"""The embedder DeML(I, J): images in, embeddings out."""

import dataclasses
import difflib
import inspect
import random
from typing import Any

import keras

from deml_tf.config import ModelConfig, check, describe
from deml_tf.errors import UsageError
from deml_tf.layers.prepare import Prepare, RestoreBoxes
from deml_tf.layers.zoom import Zoom
from deml_tf.models.composition import compose
from deml_tf.models.scale import build_scale

CORE = "deml"
PREPARE = "prepare"
RESTORE = "restore_boxes"


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How an image is made square before the network sees it.

    Attributes:
        resize_size: Side in pixels that the image is resized to.
        input_size: Side in pixels of the centre crop.
        fit: "squash" or "pad".
    """

    resize_size: int
    input_size: int
    fit: str


def build_deml(*, seed: int = 0, explain: bool = False, **settings: Any) -> keras.Model:
    """Build the embedder DeML(I, J): RGB images in, embeddings out.

    Chen & Deng (CVPR 2019), sections 3.2 and 3.3. Every scale has a backbone of its
    own, cut in two:

        U    = lower_i(x_i)                           (b, h, w, c)
        A_j  = gate_ij(U) * U                         channel attention
        V_j  = upper_i(A_j)                           one upper for the J learners
        e_ij = W_i . mean_hw(V_j)
        x_{i+1} = zoom(x, region of V_1)              object attention

    and the embedding is the L2-normalised concatenation of the L2-normalised parts.
    DeML(1, 1) is U512, the baseline: no gate, no zoom.

    Example:
        embedder = build_deml(scales=2, learners=2, walk_steps=10)
        embeddings = embedder(images)  # RGB 0..255, (b, h, w, 3) of any size

    Args:
        seed: Seed of the random initial weights; default 0.
        explain: Whether the model returns a dict, see Returns; default False.
        **settings: {settings}
            Arguments of the region rule are prefixed with its name: `walk_steps=10`.

    Returns:
        A functional `keras.Model` on RGB images `(b, h, w, 3)`, 0..255, of any size,
        which returns the embedding `(b, I * J * d)`; with `explain`, a dict of
        `embedding`, `parts` `(b, i, j, d)` (normalised), `boxes` `(b, i, 4)` (ymin,
        xmin, ymax, xmax relative to the original image: what each scale saw),
        `saliency` `(b, i, h, w)` (summing to 1) and `fallback` `(b, i)` (boolean:
        whether the region rule found no region in that scale's view).

    Raises:
        UsageError: A setting is unknown or wrong, or two do not go together.
        DataError: The weights cannot be read, or do not fit.
    """
    before = random.getstate()
    random.seed(str(seed))  # where Keras's initializers draw their seeds
    try:
        wanted = _settings_of(settings)
        check(wanted)
        check_used(wanted)
        return build_embedder(wanted, seed, explain)
    finally:
        random.setstate(before)


def build_embedder(
    settings: ModelConfig, seed: int = 0, explain: bool = False
) -> keras.Model:
    """Build the embedder that `build_deml` describes, from a `ModelConfig`.

    The seed determines the backbones alone. Gates and projections follow
    `keras.utils.set_random_seed`.
    """
    check(settings)
    check_together(settings)
    source_size = settings.source_size or settings.input_size
    source = keras.Input((source_size, source_size, 3), name="source")
    first_view = None
    if source_size != settings.input_size:
        first_view = Zoom(settings.input_size, dtype="float32", name="scale1_view")
    scales = [
        build_scale(
            settings,
            part_dim=settings.embedding_dim // (settings.scales * settings.learners),
            seed=seed,
            prefix=f"scale{number}_",
            is_last=number == settings.scales,
        )
        for number in range(1, settings.scales + 1)
    ]
    exact = "float64" if settings.precision == "float64" else "float32"
    outputs = compose(
        source,
        scales,
        [range(settings.learners)] * settings.scales,
        first_view=first_view,
        zoom_source=settings.zoom_source,
        unit=keras.layers.UnitNormalization(dtype=exact, name="embedding"),
    )
    core = keras.Model(source, outputs, name=CORE)
    resize_size = round(_resize_size(settings) * source_size / settings.input_size)
    return _around(core, Geometry(resize_size, source_size, settings.fit), explain)


def build_frozen(settings: ModelConfig, seed: int = 0) -> keras.Model:
    """Build the frozen start: the pooled features of a backbone before any training.

    One scale without gate and projection: what every trained model must beat.

    Args:
        settings: Those of the embedder; scales, learners and precision are not used.
        seed: Seed of the random weights, where `weights` is "none".

    Returns:
        A `keras.Model` on images `(b, h, w, 3)` giving `(b, c)` features.
    """
    settings = dataclasses.replace(
        settings,
        learners=1,
        channel_attention=False,
        batch_norm="frozen",
        precision="float32",
    )
    scale = build_scale(settings, 1, seed, prefix="frozen_", is_last=True)
    images = keras.Input((None, None, 3), name="images")
    sizes = (_resize_size(settings), settings.input_size, settings.fit)
    pooled, _, _ = scale.features(Prepare(*sizes, name=PREPARE)(images))
    return keras.Model(images, pooled[:, 0], name="frozen_start")


def explainer(embedder: keras.Model) -> keras.Model:
    """Return the same network with all its outputs, whatever the embedder returns.

    Args:
        embedder: What `build_deml` built, or the same loaded from a file.

    Returns:
        A model with the same weights that returns the dict of
        `build_deml(explain=True)`.
    """
    return _around(core_of(embedder), geometry_of(embedder), explain=True)


def core_of(embedder: keras.Model) -> Any:  # a model, whose type hints hide its dict
    """Find the part of an embedder that runs on prepared images `(b, s, s, 3)`."""
    return embedder.get_layer(CORE)


def scales_and_learners(core: keras.Model) -> tuple[int, int]:
    """Count the scales I and the learners J of a core."""
    outputs: Any = core.output
    _, scales, learners, _ = outputs["parts"].shape
    return scales, learners


def geometry_of(embedder: keras.Model) -> Geometry:
    """Read the `Geometry` of an embedder, for the pipelines that feed it."""
    prepare: Any = embedder.get_layer(PREPARE)
    return Geometry(prepare.resize_size, prepare.input_size, prepare.fit)


def check_together(settings: ModelConfig) -> None:
    """Refuse settings that do not go together.

    Raises:
        UsageError: Two of them do not.
    """
    ungated = settings.learners > 1 and settings.channel_attention is False
    if ungated and settings.shared_projection:
        raise UsageError(
            f"learners={settings.learners} without channel attention would all be the "
            "same: use learners=1, channel_attention=true or shared_projection=false."
        )
    if settings.batch_norm == "train" and not settings.train_backbone:
        raise UsageError(
            "batch_norm=train is not for train_backbone=false, which trains nothing of "
            "the backbone: use batch_norm=auto."
        )
    parts = settings.scales * settings.learners
    if settings.embedding_dim < parts:
        raise UsageError(
            f"embedding_dim={settings.embedding_dim}: {settings.scales} scales x "
            f"{settings.learners} learners need at least {parts}."
        )
    for name in ("resize_size", "source_size"):
        value = getattr(settings, name)
        if value and value < settings.input_size:
            raise UsageError(
                f"{name}={value}: it must be at least input_size={settings.input_size}."
            )


def check_used(settings: ModelConfig) -> None:
    """Refuse settings that would have no effect, when an embedder is first built.

    Raises:
        UsageError: There is one.
    """
    gated = settings.channel_attention
    gated = settings.learners > 1 if gated is None else gated
    for name in ("pooled_gates", "gate_bias"):
        value = getattr(settings, name)
        if not gated and not (value is None or value is False):
            raise UsageError(
                f"{name}={str(value).lower()} is for gates, and none are built: leave "
                "it out, or use channel_attention=true."
            )
    source, seen = settings.source_size, settings.input_size
    if settings.zoom_source == "previous" and source not in (None, seen):
        raise UsageError(
            f"source_size={source} is not seen with zoom_source=previous, which cuts "
            f"from views of input_size={seen}: give source_size={seen}."
        )


def _around(core: keras.Model, geometry: Geometry, explain: bool) -> keras.Model:
    """Put the core behind its preparation of images."""
    images = keras.Input((None, None, 3), name="images")
    sizes = dataclasses.asdict(geometry)
    prepared = Prepare(**sizes, dtype="float32", name=PREPARE)(images)
    outputs: Any = core(prepared)
    if not explain:
        return keras.Model(images, outputs["embedding"], name="embedder")
    del outputs["pooled"]
    restore = RestoreBoxes(**sizes, dtype="float32", name=RESTORE)
    outputs["boxes"] = restore(outputs["boxes"], images)
    return keras.Model(images, outputs, name="explainer")


def _settings_of(settings: dict[str, Any]) -> ModelConfig:
    """Make a `ModelConfig` of keywords, those of the region rule among them."""
    names = [field.name for field in dataclasses.fields(ModelConfig)]
    rule = settings.get("region_rule", ModelConfig.region_rule)
    known, arguments = {}, dict(settings.get("region_arguments", {}))
    for name, value in settings.items():
        if name in names:
            known[name] = value
        elif name.startswith(f"{rule}_"):
            arguments[name.removeprefix(f"{rule}_")] = value
        else:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]}" if near else "leave it out"
            raise UsageError(f"{name}={value!r} is no setting of build_deml: {hint}.")
    return ModelConfig(**{**known, "region_arguments": arguments})


def _resize_size(settings: ModelConfig) -> int:
    """Return the side that `ModelConfig` filled in."""
    assert settings.resize_size is not None
    return settings.resize_size


def _document() -> None:
    """Write the settings into the docstring and the signature of `build_deml`."""
    text = describe(ModelConfig, indent=12)
    build_deml.__doc__ = (build_deml.__doc__ or "").replace("{settings}", text)
    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [
        p
        for p in inspect.signature(build_deml).parameters.values()
        if p.kind == keyword
    ]
    fields = [
        inspect.Parameter(field.name, keyword, default=field.default)
        for field in dataclasses.fields(ModelConfig)
        if field.default is not dataclasses.MISSING
    ]
    rest = inspect.Parameter("region", inspect.Parameter.VAR_KEYWORD)
    build_deml.__signature__ = inspect.Signature([*fields, *own, rest])  # pyright: ignore


_document()
