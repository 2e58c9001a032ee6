"""Random cuts and mirrors of training images."""

from typing import Protocol

import tensorflow as tf

from deml_tf.data.images import random_crop_and_mirror
from deml_tf.errors import UsageError
from deml_tf.layers.prepare import fit_square


class Augmentation(Protocol):
    """Makes the network's square input from an image, at random."""

    def __call__(
        self,
        image: tf.Tensor,
        seed: tf.Tensor,
        *,
        resize_size: int,
        input_size: int,
        fit: str,
    ) -> tf.Tensor:
        """Augment an image.

        Args:
            image: `(h, w, 3)`, as it is on disk.
            seed: `(2,)` integers. The result depends on them and on the image alone.
            resize_size: Side of the whole image, made square, in pixels.
            input_size: Side of what the network sees, in pixels.
            fit: "squash" or "pad"; see `fit_square`.

        Returns:
            float32 `(input_size, input_size, 3)`, in the units of the image.
        """
        ...


class Release:
    """Make the image square, then cut and mirror it as the authors' release does."""

    def __call__(
        self,
        image: tf.Tensor,
        seed: tf.Tensor,
        *,
        resize_size: int,
        input_size: int,
        fit: str,
    ) -> tf.Tensor:
        """Augment an image; see `Augmentation`."""
        square = fit_square(image, resize_size, fit)
        return random_crop_and_mirror(square, input_size, seed)


class RandomResizedCrop:
    """Cut out a part of random area and shape, make it a square, and mirror it.

    The part has between `min_area` and all of the image's area, and is between 3/4 and
    4/3 as wide as it is high (Szegedy et al., "Going Deeper with Convolutions", CVPR
    2015, section 6); if none of 100 draws lies within the image, it is the whole image.
    It is cut from the image as it is on disk, and mirrored half of the time.

    Args:
        min_area: Smallest area of the part that is cut out, as a share of the image's,
            above 0, at most 1; 0.08 is usual for classification.
    """

    def __init__(self, min_area: float = 0.16):
        if not 0 < min_area <= 1:
            raise UsageError(
                f"min_area={min_area}: it must be above 0 and at most 1, a share of "
                "the image."
            )
        self.min_area = min_area

    def __call__(
        self,
        image: tf.Tensor,
        seed: tf.Tensor,
        *,
        resize_size: int,
        input_size: int,
        fit: str,
    ) -> tf.Tensor:
        """Augment an image; see `Augmentation`. `resize_size` is not used."""
        crop_seed, mirror_seed = tf.unstack(tf.random.split(seed, 2, alg="philox"))
        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.shape(image),
            tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            crop_seed,
            min_object_covered=0.0,
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(self.min_area, 1.0),
            max_attempts=100,
        )
        part = tf.slice(image, begin, size)
        part = tf.ensure_shape(part, (None, None, image.shape[-1]))
        square = fit_square(part, input_size, fit)
        return tf.image.stateless_random_flip_left_right(square, seed=mirror_seed)


AUGMENTATIONS: dict[str, type[Release] | type[RandomResizedCrop]] = {
    "release": Release,
    "random_resized_crop": RandomResizedCrop,
}
