"""Batches of P classes x K images for the `fit` of any Keras model."""

import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deml_tf.data.batch_table import BatchTable, plain
from deml_tf.data.images import decode, explain_unreadable
from deml_tf.errors import UsageError
from deml_tf.layers.prepare import check_geometry, fit_square


class PKSampler(keras.utils.PyDataset):
    """Draw batches of P classes x K images, without end, for `keras.Model.fit`.

    Metric losses compare the images of a batch, but a batch drawn at random from many
    classes rarely holds two images of one class. Here each batch holds P different
    classes, all equally likely, and K different images of each (Hermans et al., "In
    Defense of the Triplet Loss for Person Re-Identification", 2017, section 2).

    Give `fit` the number of `steps_per_epoch`, as with every input that has no end:

        sampler = PKSampler(images, labels, 32, 4)
        model.fit(sampler, epochs=10, steps_per_epoch=100, shuffle=False)

    The batch of a step depends on the seed and the step alone, and an epoch continues
    where the one before ended. A training that is resumed at epoch `e` with
    `first_step=e * steps_per_epoch` sees the same batches as an uninterrupted one.
    Keras cannot shuffle an input without an end, and warns unless given
    `shuffle=False`.

    Args:
        images: What to draw from: an array `(n, ...)`, which may be a `np.memmap`; n
            names of image files; or a finite `tf.data.Dataset` of pairs (image, label),
            batched or not, with images of one size. Such a dataset is read once and
            kept in memory: for more than fits there, give files.
        labels: `(n,)` or `(n, 1)` integers, the class of each image. They are passed on
            as they are, in their own type. None, the default, if `images` is a dataset,
            which has its own.
        classes_per_batch: P, default 32.
        images_per_class: K, default 2.
        seed: Any 64-bit integer, default 0.
        first_step: Step of the first batch, default 0; another to resume a training.
        image_size: Side in pixels of the square that images from files become; required
            for files, and refused for anything else.
        fit: "squash" (default) or "pad": how images from files become square; see
            `deml_tf.layers.prepare.fit_square`.
        **kwargs: As for `keras.utils.PyDataset`, such as `workers`, the number of
            threads that read.

    Raises:
        UsageError: There are fewer than P classes, a class has fewer than K images, the
            arguments are not of this form, or `use_multiprocessing` is given.
    """

    def __init__(
        self,
        images: Any,
        labels: ArrayLike | None = None,
        classes_per_batch: int = 32,
        images_per_class: int = 2,
        *,
        seed: int = 0,
        first_step: int = 0,
        image_size: int | None = None,
        fit: str = "squash",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if self.use_multiprocessing:
            raise UsageError(
                "use_multiprocessing=True forks TensorFlow, which may then wait for "
                "ever: give workers=N, which are threads."
            )
        if isinstance(images, tf.data.Dataset):
            if labels is not None:
                raise UsageError(
                    "labels are given beside a dataset, which has its own: leave them "
                    "out."
                )
            images, labels = _kept_in_memory(images)
        self.images = _array_or_files(images)
        self.labels = _checked_labels(labels, len(self.images))
        self.table = BatchTable(
            self.labels.reshape(-1), classes_per_batch, images_per_class, seed
        )
        self.first_step = first_step
        self.image_size = image_size
        self.fit = fit
        self._paths = None
        if self.images.dtype == object:
            if image_size is None:
                raise UsageError(
                    "image_size is missing: files need it, such as image_size=224."
                )
            check_geometry(image_size, image_size, fit)
            with tf.device("CPU:0"):
                # As bytes: a file's name need not be UTF-8.
                names = [os.fsencode(path) for path in self.images]
                self._paths = tf.constant(names, tf.string)  # (n,)
        elif image_size is not None:
            raise UsageError(
                f"image_size={image_size} is for files: leave it out, as the images of "
                "an array have their size."
            )
        with tf.device("CPU:0"):
            self._labels = tf.constant(self.labels)

    @property
    def num_batches(self) -> None:
        """Return None: there is no last batch."""
        return None

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the batch of a step, counted from `first_step`.

        Args:
            step: From 0.

        Returns:
            Images `(P * K, ...)` of the array's type, or from files float32
            `(P * K, image_size, image_size, 3)`, RGB 0..255; and their labels
            `(P * K,)`, or `(P * K, 1)` if they were given so. The K images of a class
            are adjacent.

        Raises:
            DataError: A file cannot be read.
        """
        indices = self.table.indices(self.first_step + step).numpy()
        if self._paths is None:
            return self.images[indices], self.labels[indices]
        try:
            images = [self._decoded(path).numpy() for path in self._paths_of(indices)]
        except (OSError, tf.errors.OpError) as error:
            raise explain_unreadable(self.images[indices], error) from error
        return np.stack(images), self.labels[indices]

    def dataset(self, first_step: int | None = None) -> tf.data.Dataset:
        """Return the same batches as a `tf.data.Dataset`, without end.

        It loads several batches in parallel.

        Args:
            first_step: Step of the first batch; by default the sampler's own.

        Returns:
            Images and labels as in `sampler[step]`.
        """
        first = self.first_step if first_step is None else first_step
        batches = tf.data.Dataset.counter(first).map(
            plain(self._load), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return batches.prefetch(2)

    def _load(self, step: Any) -> tuple[tf.Tensor, tf.Tensor]:
        indices = self.table.indices(step)
        labels = tf.gather(self._labels, indices)
        if self._paths is not None:
            spec = tf.TensorSpec((self.image_size, self.image_size, 3), tf.float32)
            paths = self._paths_of(indices)
            decoded = tf.map_fn(plain(self._decoded), paths, fn_output_signature=spec)
            return decoded, labels
        # Not as a constant, which TensorFlow would copy.
        images: Any = tf.numpy_function(
            self.images.__getitem__, [indices], self.images.dtype, stateful=False
        )
        shape = (self.table.batch_size, *self.images.shape[1:])
        return tf.ensure_shape(images, shape), labels

    def _paths_of(self, indices: Any) -> Any:
        with tf.device("CPU:0"):
            return tf.gather(self._paths, indices)

    def _decoded(self, path: Any) -> tf.Tensor:
        """Read a file, as (image_size, image_size, 3)."""
        side: Any = self.image_size
        with tf.device("CPU:0"):
            return fit_square(decode(path), side, self.fit)


def _kept_in_memory(dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Read all of a dataset of images and labels."""
    spec: Any = dataset.element_spec
    pair = isinstance(spec, tuple) and len(spec) == 2
    if not pair or not all(isinstance(part, tf.TensorSpec) for part in spec):
        raise UsageError(
            f"the dataset's elements are {spec}; give pairs of (image, label)."
        )
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise UsageError("the dataset has no end; leave out its repeat().")
    first, counted = spec[0].shape[:1], spec[1].shape[:1]
    # A label alone may have the shape (1,), but no image has one row.
    fits = first == counted if counted == [1] else first.is_compatible_with(counted)
    if spec[1].shape.rank and fits:
        dataset = dataset.unbatch()
    pairs = list(dataset.as_numpy_iterator())
    shapes = {np.shape(image) for image, _ in pairs}
    if len(shapes) > 1:
        small, *_, large = sorted(shapes)
        raise UsageError(
            f"the dataset's images differ in size, such as {small} and {large}; resize "
            "them with map()."
        )
    if not pairs:
        raise UsageError("the dataset is empty; give images of several classes.")
    images, labels = zip(*pairs, strict=True)
    return np.stack(images), np.stack(labels)


def _array_or_files(images: Any) -> np.ndarray:
    """Return an array of images, or one of names, which are Python's own strings."""
    try:
        values = np.asarray(images)
    except ValueError as error:
        raise UsageError(
            "images differ in size; give an array (n, h, w, 3), or names of files."
        ) from error
    if values.ndim == 1 and values.dtype.kind in "OSTU":
        names = values.tolist()
        if all(isinstance(name, str | bytes | os.PathLike) for name in names):
            return np.array([*map(os.fsdecode, names), None])[:-1]  # objects
    elif values.ndim and values.dtype.kind not in "OSTU":
        return values
    raise UsageError(
        f"images (shape {values.shape}, dtype {values.dtype}) are neither an array "
        "(n, ...) of numbers, nor names of files, nor a tf.data.Dataset."
    )


def _checked_labels(labels: Any, n: int) -> np.ndarray:
    if labels is None:
        raise UsageError("labels are missing; give one integer an image.")
    values = np.asarray(labels)
    if values.dtype.kind not in "iu" or values.shape not in ((n,), (n, 1)):
        raise UsageError(
            f"labels (shape {values.shape}, dtype {values.dtype}) must be one integer "
            f"for each of the {n} images; np.unique(labels, return_inverse=True)[1] "
            "numbers the classes."
        )
    return values
