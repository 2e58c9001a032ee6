"""One labelled image, as every data set gives it."""

from dataclasses import dataclass

ROLES = ("train", "validation", "test", "query", "gallery")

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled image.

    Attributes:
        path: File of the image, or its place in a shard; see `image_bytes`.
        label: Name of its class.
        split: Its role if the data set gives one: train, validation or test; or query
            and gallery, if queries are searched in a set of its own.
        box: (ymin, xmin, ymax, xmax) of its object, each 0 to 1, relative to the
            upright image.
    """

    path: str
    label: str
    split: str | None = None
    box: Box | None = None
