"""Attention that encodes positions by rotating queries and keys."""

from typing import Any, cast

import keras
import numpy as np
from keras import ops

from deml_tf.backbones.multi_head_attention import MultiHeadAttention


@keras.saving.register_keras_serializable(package="deml_tf")
class RotaryAttention(MultiHeadAttention):
    """Attends among the patches of a grid, whose positions rotate queries and keys.

    Two-dimensional rotary position embeddings (Su et al., "RoFormer", 2021) as in
    DINOv3 (Simeoni et al., 2025): the first quarter of a head's numbers is rotated with
    the third, by the patch's y times a frequency, the second with the fourth, by its x;
    y and x run from -1 to 1. Tokens in front of the patches are not rotated.

    Args:
        num_heads: Number of heads.
        key_dim: Numbers of a query or key, a multiple of 4.
        grid: Height and width of the grid, in patches.
        extra_tokens: Number of tokens in front of the patches; default 0.
        theta: Ratio of the highest to (almost) the lowest frequency; default 100.
        **kwargs: As for `keras.layers.MultiHeadAttention`.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        grid: Any,
        extra_tokens: int = 0,
        theta: float = 100.0,
        **kwargs: Any,
    ):
        """Keep the arguments; see the class."""
        super().__init__(num_heads, key_dim, **kwargs)
        self.grid: Any = tuple(grid)
        self.extra_tokens = extra_tokens
        self.theta = theta

    def _turns(self) -> np.ndarray:
        """Return the angles by which each token is rotated, (t, key_dim / 2)."""
        count = self.key_dim // 4
        frequencies = self.theta ** -(np.arange(count) / count)
        places = [(np.arange(side) + 0.5) / side * 2 - 1 for side in self.grid]
        both = np.stack(np.meshgrid(*places, indexing="ij"), -1)  # (h, w, 2)
        angles = 2 * np.pi * both[..., None] * frequencies  # (h, w, 2, count)
        rows = angles.reshape(-1, 2 * count)
        still = np.zeros((self.extra_tokens, 2 * count))
        return np.concatenate([still, rows])

    def _compute_attention(self, query: Any, key: Any, *args: Any, **kwargs: Any):
        """Rotate queries and keys (b, t, heads, key_dim), then attend."""
        angles = self._turns()[:, None]  # (t, 1, key_dim / 2)
        cos, sin = (
            ops.convert_to_tensor(f(angles), query.dtype) for f in (np.cos, np.sin)
        )

        def turned(x: Any) -> Any:
            first, second = cast(Any, ops.split(x, 2, axis=-1))
            return ops.concatenate(
                [first * cos - second * sin, second * cos + first * sin], axis=-1
            )

        return super()._compute_attention(turned(query), turned(key), *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "grid": self.grid,
            "extra_tokens": self.extra_tokens,
            "theta": self.theta,
        }
