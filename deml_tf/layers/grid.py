"""The grid of a map or an image, which must be known when a layer is built."""

from typing import Any

from deml_tf.errors import UsageError


def check_grid(name: str, *shapes: tuple[Any, ...] | None) -> None:
    """Refuse a shape of which more than the size of the batch is not known.

    Args:
        name: What is of these shapes.
        *shapes: (b, h, w, c) each, or None.

    Raises:
        UsageError: One of them has no four axes, or h, w or c is not known.
    """
    for shape in shapes:
        if shape is not None and (len(shape) != 4 or None in tuple(shape[1:])):
            raise UsageError(
                f"{name} have shape {shape}; give (b, h, w, c), all but b known."
            )
