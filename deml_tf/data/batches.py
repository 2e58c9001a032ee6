"""Batches of images, to train on and to score."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from deml_tf.data.augmentation import Augmentation, Release
from deml_tf.data.batch_table import BatchTable, fold, plain, random_key
from deml_tf.data.converted_formats import format_of
from deml_tf.data.example import WHOLE, Example
from deml_tf.data.image_bytes import read_head
from deml_tf.data.image_files import CONVERTED_SUFFIXES
from deml_tf.data.images import cut_out, decode
from deml_tf.data.service import through_service
from deml_tf.errors import DataError, UsageError
from deml_tf.layers.prepare import center_crop, check_geometry, fit_square

_RELEASE = Release()
_STREAM = 1  # stream of the seed's random numbers; 0 is for batches


def batch_files(examples: Sequence[Example], table: BatchTable, step: int) -> list[str]:
    """Return the files of a step's batch, in the order of the batch.

    Args:
        examples: Examples whose labels the table holds.
        table: Table of the batches.
        step: Number of the step, from 0.

    Returns:
        P * K paths.
    """
    return [examples[i].path for i in table.indices(step).numpy()]


def class_ids(examples: Sequence[Example]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return a number for the class of each example, in the order of class names.

    Args:
        examples: n examples.

    Returns:
        `(n,)` int32 class numbers, and the names of the classes by number.
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
    augmentation: Augmentation | None = _RELEASE,
    share: tuple[int, int, int] | None = None,
    service: str | None = None,
) -> tf.data.Dataset:
    """Return the batches of the steps from `first_step` to before `last_step`.

    Each image, or the part of it that its example uses, is made square, cut and
    mirrored at random. The result depends only on the seeds, the step and the place in
    the batch.

    Args:
        examples: Examples whose labels the table holds.
        table: Table of the batches.
        resize_size: Side of the square before the cut, in pixels.
        input_size: Side of the cut, in pixels.
        fit: `"squash"` or `"pad"`; see `fit_square`.
        first_step: First step of this run; a resumed run starts where it stopped.
        last_step: The step before which the batches end.
        seed: Seed of cuts and mirrors.
        augmentation: How images are cut and mirrored, by default as in the authors'
            release; None cuts the centre and never mirrors.
        share: `(start, stop, size)` gives only the images from `start` to before `stop`
            of each batch, `size` of them at a time. Each has the cut and the mirror
            that it has in the whole batch. By default the whole batch at once.
        service: Address of a tf.data service that reads the images, see
            `deml_tf.data.service`; by default this process reads them.

    Returns:
        Images, float32 `(P * K, input_size, input_size, 3)` in 0..255, and class
        numbers as in `class_ids`, int32 `(P * K,)`. With a share, `size` instead of
        P * K.

    Raises:
        UsageError: `fit` is unknown, the sizes do not fit each other, or the table
            holds another number of examples.
    """
    check_geometry(resize_size, input_size, fit)
    if len(examples) != table.num_examples:
        raise UsageError(
            f"the batch table holds {table.num_examples} examples and the data set "
            f"{len(examples)}; make the table of the same examples"
        )
    paths = _paths(examples, whole=service is not None)
    crops = _crops(examples)
    labels = tf.constant(class_ids(examples)[0])
    key = random_key(seed, _STREAM)

    start, stop, size = share or (0, table.batch_size, table.batch_size)
    parts = (stop - start) // size  # in each step

    @plain
    def load(index: Any, step: Any, place: Any) -> tuple[Any, Any]:
        image = decode(paths[index], elsewhere=service is not None)
        if crops is not None:
            image = cut_out(image, crops[index])
        if augmentation is None:
            square = fit_square(image, resize_size, fit)
            return center_crop(square, input_size), labels[index]
        own_key = fold(fold(key, step), place)
        sizes = {"resize_size": resize_size, "input_size": input_size, "fit": fit}
        return augmentation(image, own_key, **sizes), labels[index]

    def read(numbers: tf.data.Dataset) -> tf.data.Dataset:
        places = numbers.flat_map(
            plain(lambda part: _places(table, part, parts, start, size))
        )
        images = places.map(
            load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return images.batch(size, drop_remainder=True)

    first, last = first_step * parts, max(first_step, last_step) * parts
    numbers = tf.data.Dataset.range(first, last)
    served = service is not None
    batches = through_service(numbers, read, service) if served else read(numbers)
    # After flat_map, the progress bar would not know the number of batches.
    count = tf.data.experimental.assert_cardinality(last - first)
    return batches.apply(count).prefetch(2 * parts)  # two steps


def _places(
    table: BatchTable, part: Any, parts: int, start: int, size: int
) -> tf.data.Dataset:
    """Return example, step and place in the batch of each image of a part.

    Each step has `parts` parts of `size` images, which begin at place `start` of its
    batch; `part` counts them from step 0.
    """
    step, place = part // parts, start + part % parts * size
    place = tf.cast(place, tf.int32) + tf.range(size)
    indices = tf.gather(table.indices(step), place)
    return tf.data.Dataset.from_tensor_slices((indices, tf.repeat(step, size), place))


def scoring_dataset(
    examples: Sequence[Example],
    *,
    resize_size: int,
    fit: str = "squash",
    batch_size: int = 64,
    layout: Callable[[np.ndarray, int], np.ndarray] | None = None,
) -> tf.data.Dataset:
    """Return all images once, in order, as squares like those of `Prepare`.

    Args:
        examples: Examples to embed.
        resize_size: Side of the square, in pixels; the embedder cuts its centre.
        fit: `"squash"` or `"pad"`; see `fit_square`.
        batch_size: Images in a batch; the last batch may be smaller.
        layout: Function of an image, uint8 `(h, w, 3)`, and of its place in the list
            that gives the image to take instead; None takes the images as they are.

    Returns:
        Images, float32 `(b, resize_size, resize_size, 3)` in 0..255, and the height and
        width of what was made square, the image or the part of it that its example
        uses, int32 `(b, 2)`.

    Raises:
        UsageError: `fit` is unknown, or a size is not valid.
    """
    check_geometry(resize_size, resize_size, fit)

    @plain
    def load(number: Any, path: Any, crop: Any = None) -> tuple[Any, Any]:
        image: Any = decode(path)
        if crop is not None:
            image = cut_out(image, crop)
        if layout is not None:
            image = tf.numpy_function(layout, [image, number], tf.uint8, stateful=False)
            image.set_shape((None, None, 3))
        return fit_square(image, resize_size, fit), tf.shape(image)[:2]

    crops = _crops(examples)
    numbers = tf.range(len(examples), dtype=tf.int64)
    given = (numbers, _paths(examples), *(() if crops is None else (crops,)))
    images = tf.data.Dataset.from_tensor_slices(given).map(
        load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return images.batch(batch_size).prefetch(2)


def _paths(examples: Sequence[Example], whole: bool = False) -> tf.Tensor:
    """Return the paths, absolute if `whole`, as processes in other folders need."""
    paths = [os.path.abspath(e.path) if whole else e.path for e in examples]
    if whole:
        _refuse_converted(paths)
    with tf.device("CPU:0"):
        # As bytes: a file's name need not be UTF-8.
        return tf.constant([os.fsencode(path) for path in paths], tf.string)


def _refuse_converted(paths: Sequence[str]) -> None:
    """Refuse images that this process would have to convert for a service."""
    for path in paths:
        if path.lower().endswith(CONVERTED_SUFFIXES) or _is_converted(path):
            raise DataError(
                f"a data_service cannot convert {path}: save it as PNG or JPEG, or "
                "leave the flag out"
            )


def _is_converted(path: str) -> bool:
    try:
        return bool(format_of(read_head(path)))
    except OSError:  # reported when it is decoded
        return False


def _crops(examples: Sequence[Example]) -> tf.Tensor | None:
    """Return the box used of each image, `(n, 4)`; None if all are used whole."""
    if not any(e.crop for e in examples):
        return None
    with tf.device("CPU:0"):
        return tf.constant([e.crop or WHOLE for e in examples], tf.float32)
