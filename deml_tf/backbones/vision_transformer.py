"""Vision transformers in two pieces, whose tokens are the grid.

ViT (Dosovitskiy et al., ICLR 2021) and the plain blocks of DeiT (Touvron et al., ICML
2021), cut between two blocks. DeML does not use them; here the random walk and the
channel gates run on the grid of patch tokens.

The blocks are Keras's own layers and not keras-hub's: those have no config that loads
(keras-hub 0.32), and an embedder saved from these loads where keras-hub is absent.
"""

import functools
import zlib
from typing import Any

import keras
from keras import ops

from deml_tf.backbones.architecture import Architecture, Pieces
from deml_tf.backbones.weights import vision_transformer as presets
from deml_tf.backbones.weights.vision_transformer import Size
from deml_tf.errors import UsageError

PREFIX = "vit:"
# Widths of DeiT's table 1 and ViT's B/16; all with patches of 16 x 16 pixels.
SIZES = {
    "tiny": Size(layers=12, heads=3, hidden=192, mlp=768),
    "small": Size(layers=12, heads=6, hidden=384, mlp=1536),
    "base": Size(layers=12, heads=12, hidden=768, mlp=3072),
}
_NORMAL: Any = keras.initializers.TruncatedNormal(stddev=0.02)  # as DeiT


@keras.saving.register_keras_serializable(package="deml_tf")
class PatchTokens(keras.layers.Layer):
    """Turns a grid of patches into tokens: extra ones in front, positions added.

    Args:
        extra_tokens: How many learned tokens go before the patches': 0, 1 (ViT's class
            token) or 2 (DeiT's distillation token as well).
        **kwargs: As for any Keras layer.
    """

    def __init__(self, extra_tokens: int = 1, **kwargs: Any):
        """Keeps the arguments; see the class."""
        super().__init__(**kwargs)
        self.extra_tokens = extra_tokens

    def build(self, grid_shape: tuple[Any, ...]) -> None:
        """Makes the tokens and the positions, for one size of the grid.

        Args:
            grid_shape: (b, h, w, c), all but b known.
        """
        _, h, w, channels = grid_shape
        if self.extra_tokens:
            self.tokens = self.add_weight(
                shape=(self.extra_tokens, channels), initializer=_NORMAL, name="tokens"
            )
        self.positions = self.add_weight(
            shape=(self.extra_tokens + h * w, channels),
            initializer=_NORMAL,
            name="positions",
        )
        self.built = True

    def call(self, grid: Any) -> Any:
        """(b, h, w, c) -> (b, extra_tokens + h * w, c), patches row by row."""
        batch = ops.shape(grid)[0]
        _, h, w, channels = grid.shape
        x: Any = ops.reshape(grid, (-1, h * w, channels))
        if self.extra_tokens:
            tokens = ops.cast(self.tokens, x.dtype)
            shape = (batch, self.extra_tokens, channels)
            x = ops.concatenate([ops.broadcast_to(tokens, shape), x], axis=1)
        return x + ops.cast(self.positions, x.dtype)

    def compute_output_shape(self, grid_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Shape of the tokens."""
        batch, h, w, channels = grid_shape
        return batch, self.extra_tokens + h * w, channels

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "extra_tokens": self.extra_tokens}


def build(
    name: str,
    size: Size,
    *,
    input_size: int,
    cut_layer: str,
    seed: int,
    momentum: float,
    prefix: str,
    dtype: keras.DTypePolicy,
) -> Pieces:
    """Build the network's two pieces; `backbone.build_backbone` explains them.

    Departures from ViT: the class token takes part in lower's blocks, for which the
    weights were trained, and is dropped at the cut, since the gates act on a grid and
    there is no classifier; upper's blocks attend to patches alone. No dropout.

    Args:
        name: The backbone's name, for messages.
        size: The network's numbers.
        input_size: Side of the images in pixels, a multiple of the patch's.
        cut_layer: "block1" to "block{layers - 1}", lower's last.
        seed: Of the random weights: all normal with deviation 0.02, cut at two
            deviations, biases and norms as Keras starts them.
        momentum: Of no use, for there is no BatchNorm.
        prefix: Goes before every layer's name.
        dtype: The layers' policy; the pixels are scaled in float32.

    Returns:
        lower: images (b, input_size, input_size, 3), RGB 0..255 -> U (b, h, w, c),
            h = w = input_size / patch.
        upper: U -> [mid, final], both (b, h, w, c): the last block's input, hence U
            itself where that block is all upper has, and the normed end. All maps are
            on U's grid; mid is the last but one, as in `Backbone`.

    Raises:
        UsageError: `input_size` is no multiple of the patch's side.
    """
    del momentum
    side, rest = divmod(input_size, size.patch)
    if rest:
        raise UsageError(
            f"input_size={input_size} is no multiple of the {size.patch} pixels of a "
            f"patch of {name}: give {side * size.patch} or {(side + 1) * size.patch}."
        )
    cut = int(cut_layer.removeprefix("block"))
    layers = keras.layers
    start = {"kernel_initializer": "zeros"}  # `_randomise` draws them, once

    def named(kind: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        return kind(*args, **{"dtype": dtype, "name": prefix + name} | kwargs)

    def norm(x: Any, name: str) -> Any:
        return named(layers.LayerNormalization, name, epsilon=size.epsilon)(x)

    def dense(x: Any, name: str, count: int, **kwargs: Any) -> Any:
        kwargs |= start
        return named(layers.Dense, name, count, use_bias=size.mlp_bias, **kwargs)(x)

    def block(x: Any, name: str) -> Any:
        y = norm(x, f"{name}_norm1")
        attention = named(
            layers.MultiHeadAttention,
            f"{name}_attention",
            size.heads,
            size.hidden // size.heads,
            use_bias=size.attention_bias,
            **start,
        )
        x = named(layers.Add, f"{name}_attended")([x, attention(y, y)])
        y = norm(x, f"{name}_norm2")
        y = dense(y, f"{name}_expand", size.mlp, activation="gelu")  # erf, not tanh
        return named(layers.Add, name)([x, dense(y, f"{name}_project", size.hidden)])

    def grid(x: Any, name: str) -> Any:
        return named(layers.Reshape, name, (side, side, size.hidden))(x)

    image: Any = keras.Input((input_size, input_size, 3), name=f"{prefix}picture")
    # In float32 under any policy: bfloat16 cannot tell 200.0 from 200.5.
    x = named(layers.Rescaling, "pixels", size.scale, size.offset, dtype="float32")(
        image
    )
    x = named(
        layers.Conv2D,
        "patches",
        size.hidden,
        size.patch,
        size.patch,
        use_bias=size.patch_bias,
        **start,
    )(x)
    x = named(PatchTokens, "tokens", size.extra_tokens)(x)
    for number in range(1, cut + 1):
        x = block(x, f"block{number}")
    if size.extra_tokens:
        x = named(layers.Cropping1D, "patches_alone", (size.extra_tokens, 0))(x)
    x = grid(x, "grid")
    lower = keras.Model(image, x, name=f"{prefix}lower")

    entry: Any = keras.Input(
        x.shape[1:], dtype=dtype.compute_dtype, name=f"{prefix}cut"
    )
    middle = entry
    x = named(layers.Reshape, "sequence", (side * side, size.hidden))(entry)
    for number in range(cut + 1, size.layers + 1):
        if number == size.layers > cut + 1:
            middle = grid(x, "middle_grid")
        x = block(x, f"block{number}")
    final = grid(norm(x, "norm"), "final_grid")
    pieces = lower, keras.Model(entry, [middle, final], name=f"{prefix}upper")
    _randomise(pieces, prefix, seed)
    return pieces


def _randomise(pieces: Pieces, prefix: str, seed: int) -> None:
    # By name and without the prefix, so that all copies start equal. Afterwards and not
    # by the initializers' seeds: attention would give query, key and value one kernel.
    for layer in (*pieces[0].layers, *pieces[1].layers):
        for number, variable in enumerate(layer.weights):
            if variable.name in ("kernel", "tokens", "positions"):
                name = f"{seed} {layer.name.removeprefix(prefix)} {number}"
                draw = keras.initializers.TruncatedNormal(
                    stddev=0.02, seed=zlib.crc32(name.encode())
                )
                variable.assign(draw(variable.shape, "float32"))


def architecture(name: str) -> Architecture:
    """Find what a name of a vision transformer stands for.

    Args:
        name: "vit:" and one of `SIZES`, a ViT or DeiT preset of keras-hub, or a folder
            that keras-hub's `save_to_preset` wrote.

    Returns:
        The network. It may be cut behind every block but the last; by default three
        quarters in, as learners share lower alone.

    Raises:
        UsageError: The name is unknown, or keras-hub is needed and not installed.
        DataError: The preset cannot be fetched or read.
    """
    which = name.removeprefix(PREFIX)
    if which in SIZES:
        size, assign = SIZES[which], functools.partial(_no_weights, name)
    else:
        size, assign = presets.find(name, which, [PREFIX + size for size in SIZES])
    default = max(1, size.layers * 3 // 4)
    others = [n for n in range(1, size.layers) if n != default]
    return Architecture(
        build=functools.partial(build, name, size),
        cut_layers=tuple(f"block{n}" for n in (default, *others)),
        # The residual stream carries all of U to the end, and each block was trained on
        # it whole: as with frozen BatchNorm, gates at one half would spoil it.
        gate_bias=3.0,
        imagenet=assign,
        minimum_size=2 * size.patch,
    )


def _no_weights(name: str, pieces: Pieces, prefix: str) -> None:
    raise UsageError(
        f"backbone={name!r} has random weights alone: set weights='none', or choose a "
        f"preset such as {PREFIX}vit_base_patch16_224_imagenet."
    )
