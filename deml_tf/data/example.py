"""One labelled image, as every data set gives it."""

from dataclasses import dataclass

ROLES = ("train", "validation", "test", "query", "gallery")

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled image.

    Attributes:
        path: the image's file, or its place in a shard; see `stored`.
        label: name of its class.
        split: its role if the data set gives one: train, validation, test, or query
            and gallery where queries are searched in images of their own.
        box: (ymin, xmin, ymax, xmax) of its object, relative to the upright
            image; see `exif`.
    """

    path: str
    label: str
    split: str | None = None
    box: Box | None = None
