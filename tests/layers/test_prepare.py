from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.trainers.trainer import model_supports_jit
from PIL import Image

from deml_tf.errors import UsageError
from deml_tf.layers.prepare import (
    Prepare,
    RestoreBoxes,
    boxes_to_original,
    center_crop,
    fit_square,
)


def random_images(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)


@pytest.mark.parametrize("shape", [(50, 31), (9, 64), (20, 20), (7, 5)])
def test_squash_agrees_with_pillow(shape):
    image = random_images(*shape)
    expected = [
        np.asarray(
            Image.fromarray(image[..., c].astype(np.float32)).resize(
                (20, 20), Image.Resampling.BILINEAR
            )
        )
        for c in range(3)
    ]
    result = fit_square(image, 20, "squash")
    assert result.dtype == tf.float32
    np.testing.assert_allclose(result, np.stack(expected, -1), atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "size", "rows", "columns"),
    [
        ((2, 4), 4, (1, 3), (0, 4)),
        ((4, 2), 4, (0, 4), (1, 3)),
        ((8, 16), 4, (1, 3), (0, 4)),  # made smaller
        ((1, 2), 4, (1, 3), (0, 4)),  # made larger
        ((3, 4), 4, (0, 3), (0, 4)),  # the odd row below
        ((1, 4), 4, (1, 2), (0, 4)),
        ((4, 1), 4, (0, 4), (1, 2)),
        ((1, 900), 8, (3, 4), (0, 8)),  # never thinner than a pixel
        ((5, 8), 4, (0, 3), (0, 4)),  # 2.5 rows are 3
    ],
)
def test_pad_puts_the_image_in_the_middle(shape, size, rows, columns):
    expected = np.zeros((size, size, 3), np.float32)
    expected[slice(*rows), slice(*columns)] = 7
    result = fit_square(np.full((*shape, 3), 7, np.uint8), size, "pad")
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_pad_is_a_resize_between_margins():
    image = random_images(30, 60)
    result = fit_square(image, 20, "pad")
    expected = tf.image.resize(image, (10, 20), antialias=True)
    np.testing.assert_array_equal(result[5:15], expected)
    assert not np.any(result[:5]) and not np.any(result[15:])


@pytest.mark.parametrize("fit", ["squash", "pad"])
@pytest.mark.parametrize("dtype", [tf.uint8, tf.float32, tf.bfloat16])
@pytest.mark.parametrize("known", [True, False])
def test_a_square_of_the_size_is_left_alone(fit, dtype, known):
    batch = tf.cast(random_images(2, 24, 24), dtype)
    shape = (2, 24, 24, 3) if known else (None, None, None, 3)
    run = tf.function(
        lambda x: fit_square(x, 24, fit), input_signature=[tf.TensorSpec(shape, dtype)]
    )
    assert run(batch).dtype == tf.float32
    np.testing.assert_array_equal(run(batch), tf.cast(batch, tf.float32))


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_batch_single_and_dynamic_shapes_agree(fit):
    batch = random_images(3, 17, 29)
    run = tf.function(
        lambda x: fit_square(x, 12, fit),
        input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)],
    )
    concrete = run.get_concrete_function()
    assert concrete.structured_outputs.shape.as_list() == [None, 12, 12, 3]
    together = fit_square(batch, 12, fit)
    np.testing.assert_array_equal(together, run(batch))
    for image, expected in zip(batch, together.numpy(), strict=True):
        np.testing.assert_array_equal(fit_square(image, 12, fit), expected)


@pytest.mark.parametrize(("side", "size", "first"), [(8, 4, 2), (7, 4, 1), (4, 4, 0)])
def test_center_crop(side, size, first):
    batch = random_images(2, side, side + 2)
    cut = batch[:, first : first + size, first + 1 : first + 1 + size]
    np.testing.assert_array_equal(center_crop(batch, size), cut)
    np.testing.assert_array_equal(center_crop(batch[0], size), cut[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_square(random_images(4, 4), 4, "crop"), "fit='crop' is unknown"),
        (lambda: fit_square(random_images(4), 4), "are no images"),
        (lambda: Prepare(8, 8)(np.zeros((0, 9, 9, 3))), "hold no pixel; give one"),
        (lambda: fit_square(np.zeros((2, 0, 9, 3)), 4), "hold no pixel; give one"),
        (lambda: center_crop(random_images(4, 9), 5), "side of 4 pixels is too small"),
        (lambda: Prepare(8, 9), "input_size=9 does not fit into resize_size=8"),
        (lambda: Prepare(8, 0), "input_size=0"),
        (lambda: RestoreBoxes(8, 8, "stretch"), "fit='stretch'"),
        (lambda: boxes_to_original([[0, 0, 1, 1]], (4, 4), 8, 9), "input_size=9"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(UsageError, match=message):
        call()


@pytest.mark.parametrize(
    ("box", "shape", "sizes", "fit", "expected"),
    [
        # No crop: relative boxes survive a squash, whatever the image's shape.
        ((0.1, 0.2, 0.5, 0.9), (30, 70), (16, 16), "squash", (0.1, 0.2, 0.5, 0.9)),
        # 8 of 10 pixels: the whole crop is .1 to .9 of the image.
        ((0, 0, 1, 1), (30, 70), (10, 8), "squash", (0.1, 0.1, 0.9, 0.9)),
        # 7 of 10 pixels: one is left over before, two after.
        ((0, 0, 1, 1), (30, 70), (10, 7), "squash", (0.1, 0.1, 0.8, 0.8)),
        ((0.5, 0.25, 1, 0.5), (9, 9), (10, 8), "squash", (0.5, 0.3, 0.9, 0.5)),
        # 40 x 80 in a square of 8: rows 2 to 6.
        ((0.25, 0, 0.75, 1), (40, 80), (8, 8), "pad", (0, 0, 1, 1)),
        ((0.25, 0, 0.5, 0.5), (40, 80), (8, 8), "pad", (0, 0, 0.5, 0.5)),
        ((0, 0, 1, 1), (40, 80), (8, 8), "pad", (0, 0, 1, 1)),  # clipped
        ((0, 0.5, 0.125, 1), (40, 80), (8, 8), "pad", (0, 0.5, 0, 1)),  # all padding
        # 80 x 40: columns 2 to 6; the crop of 4 cuts 2 pixels from each side.
        ((0, 0, 1, 1), (80, 40), (8, 4), "pad", (0.25, 0, 0.75, 1)),
        ((0.5, 0.5, 1, 0.75), (80, 40), (8, 4), "pad", (0.5, 0.5, 0.75, 0.75)),
    ],
)
def test_boxes_to_original_by_hand(box, shape, sizes, fit, expected):
    boxes = np.tile(np.float32(box), (2, 3, 1))  # (b, i, 4)
    settings: Any = (*sizes, fit)
    result = boxes_to_original(boxes, shape, *settings)
    assert result.shape == (2, 3, 4)
    np.testing.assert_allclose(result, np.broadcast_to(expected, (2, 3, 4)), atol=1e-6)
    layer = RestoreBoxes(*settings)(boxes, np.zeros((2, *shape, 3), np.uint8))
    np.testing.assert_array_equal(layer, result)


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_boxes_to_images_of_different_sizes(fit):
    boxes = np.random.default_rng(0).uniform(0, 1, (4, 3, 4)).astype("float32")
    shapes = [(30, 70), (70, 30), (50, 50), (1, 200)]
    together = boxes_to_original(boxes, shapes, 16, 14, fit)
    for box, shape, found in zip(boxes, shapes, together.numpy(), strict=True):
        np.testing.assert_array_equal(found, boxes_to_original(box, shape, 16, 14, fit))


@pytest.mark.parametrize("fit", ["squash", "pad"])
@pytest.mark.parametrize("shape", [(96, 150), (150, 96), (64, 64), (301, 120)])
def test_a_bright_box_is_found_again(fit, shape):
    height, width = shape
    rows, columns = (int(0.4 * height), int(0.6 * height)), (width // 2, width * 2 // 3)
    image = np.zeros((1, *shape, 3), np.uint8)
    image[0, slice(*rows), slice(*columns)] = 255
    bright = np.argwhere(Prepare(72, 64, fit)(image)[0, ..., 0].numpy() > 127)
    box = np.concatenate([bright.min(0), bright.max(0) + 1]) / 64
    found = RestoreBoxes(72, 64, fit)(box[None, None].astype(np.float32), image)
    pixels = found[0, 0] * np.array([height, width, height, width], "float32")
    expected = [rows[0], columns[0], rows[1], columns[1]]
    one_pixel = max(shape) / 72
    np.testing.assert_allclose(pixels, expected, atol=one_pixel)


@pytest.mark.parametrize("fit", ["squash", "pad"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_prepare_is_fit_then_crop(fit, dtype):
    batch = random_images(2, 33, 21).astype(dtype)
    result = Prepare(16, 12, fit)(batch)
    np.testing.assert_array_equal(result, fit_square(batch, 16, fit)[:, 2:14, 2:14])


def test_prepare_leaves_prepared_images_alone():
    batch = random_images(2, 16, 16)
    np.testing.assert_array_equal(Prepare(16, 16)(batch), batch.astype(np.float32))
    again = Prepare(20, 16)(fit_square(batch, 20))
    np.testing.assert_array_equal(again, Prepare(20, 16)(batch))


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_functional_model_survives_saving(precision, dtype, tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        images = keras.Input((None, None, 3), dtype=dtype)
        boxes = keras.Input((2, 4))
        prepared = Prepare(20, 16, "pad", name="prepare")(images)
        assert prepared.shape == (None, 16, 16, 3) and prepared.dtype == "float32"
        restored = RestoreBoxes(20, 16, "pad")(boxes, images)
        assert restored.shape == (None, 2, 4) and restored.dtype == "float32"
        model = keras.Model([images, boxes], [prepared, restored])
        model.save(tmp_path / "model.keras")
        loaded: Any = keras.saving.load_model(tmp_path / "model.keras")
    finally:
        keras.config.set_dtype_policy(before)
    layer = loaded.get_layer("prepare")
    assert (layer.resize_size, layer.input_size, layer.fit) == (20, 16, "pad")
    batch, box = random_images(2, 51, 30), np.full((2, 2, 4), 0.3, np.float32)
    for a, b in zip(model([batch, box]), loaded([batch, box]), strict=True):
        assert a.dtype == tf.float32
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(model([batch, box])[0], Prepare(20, 16, "pad")(batch))


def test_keras_does_not_have_xla_compile_it():
    """XLA has no kernel for its resize; Keras would choose XLA on a GPU."""
    images = keras.Input((None, None, 3))
    prepared = Prepare(40, 32)(images)
    flat = keras.layers.GlobalAveragePooling2D()
    assert model_supports_jit(keras.Model(prepared, flat(prepared)))
    assert not model_supports_jit(keras.Model(images, flat(prepared)))
