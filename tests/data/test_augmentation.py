"""Random cuts and mirrors."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deml_tf.data.augmentation import AUGMENTATIONS, RandomResizedCrop, Release
from deml_tf.data.batch_table import BatchTable
from deml_tf.data.batches import training_dataset
from deml_tf.data.example import Example
from deml_tf.data.images import random_crop_and_mirror
from deml_tf.errors import UsageError
from deml_tf.layers.prepare import fit_square

HEIGHT, WIDTH = 60, 90
SIZES: Any = {"resize_size": 40, "input_size": 32}
# Its pixels say where they are, in shares of the image, and that it is no padding.
ROWS, COLUMNS = np.meshgrid(
    (np.arange(HEIGHT) + 0.5) / HEIGHT, (np.arange(WIDTH) + 0.5) / WIDTH, indexing="ij"
)
IMAGE = np.stack([ROWS, COLUMNS, np.ones_like(ROWS)], -1).astype("float32")


def key(n):
    return tf.constant([5, n], tf.int64)


def drawn(augmentation, count, fit="squash"):
    """Augmented images, traced once."""
    numbers = tf.data.Dataset.range(count)
    dataset = numbers.map(lambda n: augmentation(IMAGE, (5, n), fit=fit, **SIZES))
    return np.array(list(dataset.as_numpy_iterator()))


def parts(images):
    """Height and width of what was cut out, in pixels, and whether it is mirrored."""
    found = []
    for image in images:
        # Away from the borders, where the resize repeats pixels.
        half = (image[24, 24] - image[8, 8])[:2]
        found.append((2 * half[0] * HEIGHT, 2 * abs(half[1]) * WIDTH, half[1] < 0))
    return np.array(found).T


def test_release_is_the_random_crop_of_a_square():
    found = drawn(Release(), 3)
    for n in range(3):
        square = fit_square(IMAGE, 40)
        want = random_crop_and_mirror(square, 32, key(n))
        np.testing.assert_allclose(found[n], want, rtol=1e-6)


@pytest.mark.parametrize("min_area", [0.08, 0.5])
def test_areas_and_shapes_of_parts(min_area):
    heights, widths, mirrored = parts(drawn(RandomResizedCrop(min_area), 400))
    areas = heights * widths / (HEIGHT * WIDTH)
    ratios = widths / heights
    slack = 0.06  # parts end between whole pixels
    assert min_area - slack < areas.min() < min_area + 0.12
    assert 0.8 < areas.max() < 1 + slack
    assert 3 / 4 - slack < ratios.min() < 0.85
    assert 1.2 < ratios.max() < 4 / 3 + slack
    assert 150 < mirrored.sum() < 250


def test_parts_lie_everywhere():
    found = drawn(RandomResizedCrop(0.08), 400)
    centres = found[:, 15:17, 15:17, :2].mean((1, 2))
    for axis in range(2):
        assert centres[:, axis].min() < 0.3 and centres[:, axis].max() > 0.7
        assert abs(centres[:, axis].mean() - 0.5) < 0.05


def test_an_image_without_a_fitting_part_is_taken_whole():
    narrow = tf.constant(IMAGE[:, :4])  # no part of a quarter is as wide as that
    made = RandomResizedCrop(0.9)(narrow, key(0), fit="squash", **SIZES).numpy()
    want = fit_square(narrow, 32).numpy()
    assert np.allclose(made, want) or np.allclose(made[:, ::-1], want)


def test_pad_keeps_the_shape():
    for image in drawn(RandomResizedCrop(), 20, "pad"):
        inside = image[..., 2] > 0.5
        high, wide = inside.any(1).sum(), inside.any(0).sum()
        assert max(high, wide) == 32 and 3 / 4 - 0.1 < wide / high < 4 / 3 + 0.1


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_seed_alone_decides(name):
    augmentation = AUGMENTATIONS[name]()
    first, again = drawn(augmentation, 4), drawn(augmentation, 4)
    np.testing.assert_array_equal(first, again)
    for n in range(4):
        alone = augmentation(tf.constant(IMAGE), key(n), fit="squash", **SIZES)
        np.testing.assert_allclose(alone, first[n], atol=1e-6)
    assert len(np.unique(first.reshape(4, -1), axis=0)) == 4


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_resumed_run_sees_the_same_images(name, tmp_path):
    random = np.random.default_rng(0)
    examples = []
    for n in range(6):
        path = str(tmp_path / f"{n}.png")
        Image.fromarray(random.integers(0, 256, (50, 44, 3), "uint8")).save(path)
        examples.append(Example(path, "ab"[n % 2]))
    table = BatchTable(np.arange(6) % 2, 2, 2)

    def images(first_step, share=None):
        dataset = training_dataset(
            examples,
            table,
            **SIZES,
            first_step=first_step,
            last_step=4,
            augmentation=AUGMENTATIONS[name](),
            share=share,
        )
        return np.array([images for images, _ in dataset])

    whole = images(0)
    np.testing.assert_array_equal(images(2), whole[2:])
    np.testing.assert_array_equal(images(0, (1, 3, 2)), whole[:, 1:3])


@pytest.mark.parametrize("min_area", [0.0, -1.0, 1.01, float("nan")])
def test_no_share_of_an_image(min_area):
    with pytest.raises(UsageError, match=f"min_area={min_area}: it must be above 0"):
        RandomResizedCrop(min_area)
