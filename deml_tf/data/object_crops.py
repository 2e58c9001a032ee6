"""Images cropped to the boxes of their objects: an upper bound for object attention."""

import dataclasses

from deml_tf.config import DataConfig
from deml_tf.data.example import WHOLE
from deml_tf.data.scan import find_bad
from deml_tf.data.splits import ROLES, Split
from deml_tf.errors import DataError


def refuse_without_boxes(split: Split, data: DataConfig) -> None:
    """Refuse images that should be cropped to their boxes but have none.

    Images that cannot be read have none either, but are not refused here: the scan of
    all images deals with them.

    Args:
        split: The examples by role.
        data: Says whether images are cropped.

    Raises:
        DataError: An image has no box.
    """
    if not data.crop_to_box:
        return
    found = [e for role in ROLES for e in getattr(split, role)]
    without = [e for e in found if e.box is None]
    # One at a time: usually the first one can be read, and is refused.
    path = next((e.path for e in without if not find_bad([e.path])), None)
    if path is not None:
        raise DataError(
            f"crop_to_box=true needs a box of every image, and {path} has none "
            f"({len(without)} of {len(found)} lack it): give crop_to_box=false, or a "
            "data set that lists boxes."
        )


def crop_to_boxes(split: Split, data: DataConfig) -> Split:
    """Use only the box of each image, if the settings say so.

    The box is cut out of the upright image as it is listed, whatever its shape; it then
    becomes square as an image does.

    Args:
        split: The examples by role, each with the box of its object.
        data: Says whether images are cropped.

    Returns:
        The split; if its images are cropped, their boxes are the whole crops.
    """
    if not data.crop_to_box:
        return split
    roles = {
        role: tuple(
            dataclasses.replace(e, box=WHOLE, crop=e.box) for e in getattr(split, role)
        )
        for role in ROLES
    }
    return Split(**roles)
