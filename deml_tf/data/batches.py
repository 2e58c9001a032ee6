"""Batches of P classes x K images, a function of the seed and the step alone."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from deml_tf.data.catalog import Example
from deml_tf.data.images import decode, random_crop_and_mirror
from deml_tf.data.service import through_service
from deml_tf.errors import UsageError
from deml_tf.layers.prepare import center_crop, check_geometry, fit_square

# Streams of random numbers of one seed.
_BATCHES, _AUGMENTATION = 0, 1


class BatchTable:
    """Draws the examples of any training step without a state.

    Every batch holds P different classes, all equally likely, and of each K different
    images, all equally likely: the authors' release trains on 65 x 2. Random numbers
    are keyed by (seed, step), so step n is the same batch in every run, and a run
    that starts there goes on as one that never stopped. The cost of a batch does not
    grow with the number of images.

    Args:
        labels: `(n,)` integers, the class of each example.
        classes_per_batch: P.
        images_per_class: K.
        seed: any integer of 64 bits.

    Raises:
        UsageError: fewer than P classes, or a class with fewer than K images.
    """

    def __init__(
        self,
        labels: Any,
        classes_per_batch: int,
        images_per_class: int,
        seed: int = 0,
    ):
        """Sorts the examples by class; see the class."""
        labels = np.asarray(labels)
        names, counts = np.unique(labels, return_counts=True)
        if min(classes_per_batch, images_per_class) < 1 or (
            len(names) < classes_per_batch or counts.min() < images_per_class
        ):
            raise UsageError(
                f"{classes_per_batch} classes x {images_per_class} images cannot be "
                f"drawn from {len(names)} classes of {min(counts, default=0)} images "
                "or more; lower --classes_per_batch or --images_per_class"
            )
        self.classes_per_batch = classes_per_batch
        self.images_per_class = images_per_class
        self.batch_size = classes_per_batch * images_per_class
        self.num_examples = len(labels)
        self.seed = seed
        with tf.device("CPU:0"):
            order = np.argsort(labels, kind="stable")
            self._order = tf.constant(order, tf.int64)  # examples, class by class
            self._starts = tf.constant(np.cumsum(counts) - counts, tf.int64)
            self._counts = tf.constant(counts, tf.int64)

    def indices(self, step: Any) -> tf.Tensor:
        """The examples of a step.

        Args:
            step: scalar integer, from 0; a Python number or a tensor.

        Returns:
            `(P * K,)` int64, positions in `labels`, the K images of a class together.
        """
        p, k = self.classes_per_batch, self.images_per_class
        with tf.device("CPU:0"):
            key = _fold(_key(self.seed, _BATCHES), step)
            class_key, image_key = tf.unstack(tf.random.split(key, 2, alg="philox"))
            # The P largest of independent draws are P classes without replacement.
            draws = _uniform(tf.shape(self._counts), class_key)
            classes = tf.math.top_k(draws, p).indices  # (p,)
            counts = tf.gather(self._counts, classes)
            # Floyd's sampling: draw among one more image each time; what was drawn
            # before gives way to the newest.
            draws = _uniform([k, p], image_key)
            picks: list[tf.Tensor] = []
            for i in range(k):
                newest = counts - k + i
                pick = tf.cast(draws[i] * tf.cast(newest + 1, tf.float64), tf.int64)
                for earlier in picks[:i]:
                    pick = tf.where(tf.equal(earlier, pick), newest, pick)
                picks.append(pick)
            places = tf.gather(self._starts, classes)[:, None] + tf.stack(picks, 1)
            return tf.reshape(tf.gather(self._order, places), [p * k])


def batch_files(examples: Sequence[Example], table: BatchTable, step: int) -> list[str]:
    """Names the files of a step's batch, in the batch's order.

    Args:
        examples: those whose labels the table holds.
        table: the batches.
        step: from 0.

    Returns:
        P * K paths.
    """
    return [examples[i].path for i in table.indices(step).numpy()]


def class_ids(examples: Sequence[Example]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers the classes of examples in the order of their names.

    Args:
        examples: n of them.

    Returns:
        `(n,)` int32 class numbers, and the names they stand for.
    """
    names = tuple(sorted({example.label for example in examples}))
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[e.label] for e in examples], np.int32), names


def training_dataset(
    examples: Sequence[Example],
    table: BatchTable,
    *,
    resize_size: int,
    input_size: int,
    fit: str = "squash",
    first_step: int = 0,
    last_step: int,
    seed: int = 0,
    augment: bool = True,
    share: tuple[int, int, int] | None = None,
    service: str | None = None,
) -> tf.data.Dataset:
    """Batches of the steps from `first_step` to before `last_step`.

    Each image is made square, cut at a random place and mirrored half of the time
    (the augmentation of the authors' release: 227 of 256 pixels). All of it is a
    function of the seeds, the step and the place in the batch.

    Args:
        examples: those whose labels the table holds.
        table: the batches.
        resize_size: side of the square before the cut, in pixels.
        input_size: side of the cut, in pixels.
        fit: `"squash"` or `"pad"`; see `fit_square`.
        first_step: of this run; a resumed one starts where it stopped.
        last_step: the first step that is not run.
        seed: of cuts and mirrors.
        augment: False cuts the centre and never mirrors.
        share: `(start, stop, size)`: of each step's batch only the images from
            `start` to before `stop`, `size` of them at a time, each with the cut and
            the mirror that it has in the whole; by default all at once.
        service: address of a tf.data service that reads the images, see
            `deml_tf.data.service`; by default this process does.

    Returns:
        Images, float32 `(P * K, input_size, input_size, 3)` in 0..255, and class
        numbers of `class_ids`, int32 `(P * K,)`; of a share, `size` in place of P * K.

    Raises:
        UsageError: unknown `fit`, sizes that do not fit each other, or a table of
            other examples.
    """
    check_geometry(resize_size, input_size, fit)
    if len(examples) != table.num_examples:
        raise UsageError(
            f"the batch table holds {table.num_examples} examples and the data set "
            f"{len(examples)}; make the table of the same examples"
        )
    paths = _paths(examples, whole=service is not None)
    labels = tf.constant(class_ids(examples)[0])
    key = _key(seed, _AUGMENTATION)

    start, stop, size = share or (0, table.batch_size, table.batch_size)
    parts = (stop - start) // size

    def places(part):
        # Of the batches that this share comes in, `part` counts all from step 0 on.
        step, place = part // parts, start + part % parts * size
        place = tf.cast(place, tf.int32) + tf.range(size)
        indices = tf.gather(table.indices(step), place)
        return tf.data.Dataset.from_tensor_slices(
            (indices, tf.repeat(step, size), place)
        )

    def load(index, step, place):
        square = fit_square(decode(paths[index]), resize_size, fit)
        if augment:
            own_key = _fold(_fold(key, step), place)
            image = random_crop_and_mirror(square, input_size, own_key)
        else:
            image = center_crop(square, input_size)
        return image, labels[index]

    def read(numbers):
        images = numbers.flat_map(places).map(
            load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return images.batch(size, drop_remainder=True)

    first, last = first_step * parts, max(first_step, last_step) * parts
    numbers = tf.data.Dataset.range(first, last)
    served = service is not None
    batches = through_service(numbers, read, service) if served else read(numbers)
    # flat_map hides the number of batches from the progress bar.
    count = tf.data.experimental.assert_cardinality(last - first)
    return batches.apply(count).prefetch(2)


def scoring_dataset(
    examples: Sequence[Example],
    *,
    resize_size: int,
    fit: str = "squash",
    batch_size: int = 64,
) -> tf.data.Dataset:
    """All images once, in order, squares as an embedder's `Prepare` makes them.

    Args:
        examples: what to embed.
        resize_size: side of the square, in pixels; the embedder cuts its centre.
        fit: `"squash"` or `"pad"`; see `fit_square`.
        batch_size: images in a batch; the last one may be smaller.

    Returns:
        Images, float32 `(b, resize_size, resize_size, 3)` in 0..255, and their
        heights and widths before that, int32 `(b, 2)`.

    Raises:
        UsageError: unknown `fit` or no size.
    """
    check_geometry(resize_size, resize_size, fit)

    def load(path):
        image = decode(path)
        return fit_square(image, resize_size, fit), tf.shape(image)[:2]

    images = tf.data.Dataset.from_tensor_slices(_paths(examples)).map(
        load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return images.batch(batch_size).prefetch(2)


def _paths(examples: Sequence[Example], whole: bool = False) -> tf.Tensor:
    """The paths; whole ones for processes that were started elsewhere."""
    paths = (os.path.abspath(e.path) if whole else e.path for e in examples)
    with tf.device("CPU:0"):
        # As bytes: a file's name need not be UTF-8.
        return tf.constant([os.fsencode(path) for path in paths], tf.string)


def _key(seed: int, stream: int) -> Any:
    with tf.device("CPU:0"):
        return tf.constant([seed, stream], tf.int64)


def _fold(key: Any, data: Any) -> Any:
    return tf.random.fold_in(key, tf.cast(data, tf.int64), alg="philox")


def _uniform(shape: Any, key: Any) -> Any:
    # 53 random bits: with float32's 23, classes would tie and large ones be uneven.
    return tf.random.stateless_uniform(shape, key, dtype=tf.float64, alg="philox")
