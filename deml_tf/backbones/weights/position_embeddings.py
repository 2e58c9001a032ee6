"""Position embeddings of a vision transformer for another size of the images."""

import numpy as np
import tensorflow as tf


def resized_positions(
    positions: np.ndarray,
    extra_tokens: int,
    given: tuple[int, int],
    wanted: tuple[int, int],
    antialias: bool = True,
) -> np.ndarray:
    """Resize the position embeddings of one grid to another.

    Bicubic; the embeddings of extra tokens stay as they are. (ViT, section 3.2,
    interpolates in two dimensions too.)

    Args:
        positions: (extra_tokens + h * w, c) float32, row by row.
        extra_tokens: Number of rows in front that belong to no place.
        given: Height and width h, w of the grid.
        wanted: Those of the other grid.
        antialias: Whether it is antialiased where the grid shrinks.

    Returns:
        (extra_tokens + h' * w', c), `positions` itself if the grids are equal.
    """
    if tuple(given) == tuple(wanted):
        return positions
    grid = positions[extra_tokens:].reshape(*given, -1)
    resized = tf.image.resize(
        grid, wanted, method="bicubic", antialias=antialias
    ).numpy()
    return np.concatenate(
        [positions[:extra_tokens], resized.reshape(-1, grid.shape[-1])]
    )
