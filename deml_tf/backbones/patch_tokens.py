"""Turn a grid of patches into the tokens of a vision transformer."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="deml_tf")
class PatchTokens(keras.layers.Layer):
    """Turns patches into tokens: extra ones in front, positions added.

    Args:
        extra_tokens: How many learned tokens go before the patches': 0, 1 (default,
            ViT's class token), 2 (DeiT's distillation token as well) or more (DINOv2's
            registers).
        positions: Whether there are learned positions to add; default True.
        **kwargs: As for any Keras layer.
    """

    def __init__(self, extra_tokens: int = 1, positions: bool = True, **kwargs: Any):
        """Keep the arguments; see the class."""
        super().__init__(**kwargs)
        self.extra_tokens = extra_tokens
        self.has_positions = positions

    def build(self, grid_shape: tuple[Any, ...]) -> None:
        """Make the tokens and the positions, for one size of the grid.

        Args:
            grid_shape: (b, h, w, c), all but b known.
        """
        _, h, w, channels = grid_shape
        if self.extra_tokens:
            self.tokens = self.add_weight(
                shape=(self.extra_tokens, channels), initializer="zeros", name="tokens"
            )
        if self.has_positions:
            self.positions = self.add_weight(
                shape=(self.extra_tokens + h * w, channels),
                initializer="zeros",
                name="positions",
            )
        self.built = True

    def call(self, grid: Any) -> Any:
        """Flatten the grid and add tokens and positions.

        Args:
            grid: (b, h, w, c).

        Returns:
            (b, extra_tokens + h * w, c), patches row by row.
        """
        batch = ops.shape(grid)[0]
        _, h, w, channels = grid.shape
        x: Any = ops.reshape(grid, (-1, h * w, channels))
        if self.extra_tokens:
            tokens = ops.cast(self.tokens, x.dtype)
            shape = (batch, self.extra_tokens, channels)
            x = ops.concatenate([ops.broadcast_to(tokens, shape), x], axis=1)
        return x + ops.cast(self.positions, x.dtype) if self.has_positions else x

    def compute_output_shape(self, grid_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the shape of the tokens."""
        batch, h, w, channels = grid_shape
        return batch, self.extra_tokens + h * w, channels

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "extra_tokens": self.extra_tokens,
            "positions": self.has_positions,
        }
