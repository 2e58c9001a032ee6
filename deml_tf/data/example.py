"""One labelled image, as every data set gives it."""

from dataclasses import dataclass

LISTED_ROLES = ("train", "validation", "test", "query", "gallery")

Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled image.

    Attributes:
        path: File of the image, or its place in a shard; see `image_bytes`.
        label: Name of its class.
        split: Its role if the data set gives one: train, validation or test; or query
            and gallery, if queries are searched for in a set of their own.
        box: (ymin, xmin, ymax, xmax) of its object, each 0 to 1, relative to the
            upright image, or to what `crop` leaves of it.
        crop: The part of the upright image that is used, a box like `box`; None for all
            of it.
    """

    path: str
    label: str
    split: str | None = None
    box: Box | None = None
    crop: Box | None = None
