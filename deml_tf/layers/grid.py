"""The grid of a map or an image, which must be known when a layer is built."""

from typing import Any

from deml_tf.errors import UsageError


def check_grid(name: str, *shapes: tuple[Any, ...] | None) -> None:
    """Refuse a shape in which more than the batch size is unknown.

    Args:
        name: What has these shapes, for the message.
        *shapes: (b, h, w, c) each, or None.

    Raises:
        UsageError: A shape does not have four axes, or h, w or c is not known.
    """
    for shape in shapes:
        if shape is not None and (len(shape) != 4 or None in tuple(shape[1:])):
            raise UsageError(
                f"{name} have shape {shape}; give (b, h, w, c), all but b known."
            )
