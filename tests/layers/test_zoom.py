import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.layers.zoom import Zoom, compose_boxes, hat_windows, zoom


def random_images(h, w, count=2, seed=0):
    rng = np.random.default_rng(seed)
    return tf.constant(rng.uniform(0, 255, (count, h, w, 3)), tf.float32)


@pytest.mark.parametrize("size", [16, 32, 45, 64, 96])
@pytest.mark.parametrize(("h", "w"), [(32, 32), (64, 48), (31, 77)])
def test_the_whole_image_equals_resize(h, w, size):
    images = random_images(h, w)
    found = zoom(images, tf.constant([[0.0, 0.0, 1.0, 1.0]] * 2), size)
    expected = tf.image.resize(images, (size, size), "bilinear", antialias=True)
    assert found.dtype == tf.float32
    assert np.abs(found - expected).max() <= 1e-4 * 255


@pytest.mark.parametrize("size", [12, 24, 40])
def test_whole_pixel_crops_equal_resize_of_the_crop(size):
    rng = np.random.default_rng(1)
    h, w = 57, 43
    images = random_images(h, w, 40)
    starts = rng.integers(0, (h - 2, w - 2), (40, 2))
    stops = starts + 1 + rng.integers(0, (h, w) - starts, (40, 2))
    boxes = np.concatenate([starts, stops], axis=1) / (h, w, h, w)
    found = zoom(images, tf.constant(boxes, tf.float32), size)
    for image, (y0, x0), (y1, x1), result in zip(
        images, starts, stops, found, strict=True
    ):
        crop = image[y0:y1, x0:x1]
        expected = tf.image.resize(crop, (size, size), antialias=True)
        np.testing.assert_allclose(result, expected, atol=1e-4 * 255)


def test_weights_equal_a_naive_loop():
    start, stop, pixels, size = 0.137, 0.713, 11, 4
    span = (tf.constant([start]), tf.constant([stop]))
    weights = hat_windows(*span, pixels, size)[0][:, 0]
    for sample in range(size):
        at = pixels * (start + (sample + 0.5) / size * (stop - start)) - 0.5
        reach = max(1.0, pixels * (stop - start) / size)
        row = [max(0.0, 1 - abs(at - pixel) / reach) for pixel in range(pixels)]
        # Pixels 1..7 lie in [1.507, 7.843].
        row = [value if 1 <= pixel <= 7 else 0.0 for pixel, value in enumerate(row)]
        np.testing.assert_allclose(weights[0, sample], np.divide(row, sum(row)), 1e-5)


def test_odd_boxes_give_finite_images():
    boxes = [[0.5, 0.5, 0.5, 0.5], [-1, -1, 2, 2], [1, 1, 1, 1], [0, 0, 0, 0]]
    images = random_images(20, 20, 4)
    found = zoom(images, tf.constant(boxes, tf.float32), 8).numpy()
    assert np.isfinite(found).all()
    assert found.min() >= 0 and found.max() <= 255 + 1e-3
    whole = zoom(images[1:2], tf.constant([[0.0, 0.0, 1.0, 1.0]]), 8)
    np.testing.assert_allclose(found[1:2], whole, atol=1e-3)


def test_gradient_reaches_images():
    images = random_images(9, 9)
    boxes = tf.constant([[0.1, 0.2, 0.8, 0.7]] * 2)
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(zoom(images, boxes, 6))
    # Every output weighs its inputs to a sum of one.
    of_images = tape.gradient(total, images)
    np.testing.assert_allclose(tf.reduce_sum(of_images), 2 * 6 * 6 * 3, rtol=1e-5)


@pytest.mark.parametrize(
    "box, rtol",
    [
        ([0.31, 0.42, 0.46, 0.55], 1e-3),
        ([0.2, 0.1, 0.9, 0.8], 0.08),  # hats that shrink keep ramps but nearly
    ],
)
def test_gradient_of_boxes_on_a_ramp(box, rtol):
    """On a y + b x a sample is a times its row plus b times its column."""
    side, size, (a, b) = 40, 8, (0.7, -0.3)
    y, x = np.mgrid[0:side, 0:side].astype("float32")
    images = tf.constant((a * y + b * x)[None, :, :, None])
    boxes = tf.constant([box])
    with tf.GradientTape() as tape:
        tape.watch(boxes)
        samples = zoom(images, boxes, size)[0, :, :, 0]
        picked = samples[2, 5]
    found = tape.gradient(picked, boxes)[0]
    row, column = (2 + 0.5) / size, (5 + 0.5) / size
    expected = [a * (1 - row), b * (1 - column), a * row, b * column]
    np.testing.assert_allclose(found, side * np.array(expected), rtol=rtol)


def test_boxes_compose():
    outer = tf.constant([[0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 1.0, 1.0]])
    inner = tf.constant([[0.5, 0.0, 1.0, 0.5], [0.1, 0.2, 0.3, 0.4]])
    np.testing.assert_allclose(
        compose_boxes(outer, inner),
        [[0.5, 0.5, 0.75, 0.75], [0.1, 0.2, 0.3, 0.4]],
        atol=1e-7,
    )


def test_zoom_of_a_zoom_is_the_zoom_of_the_composed_box():
    y, x = np.mgrid[0:64, 0:64]
    image = tf.constant(np.stack([y, x, y + x], -1)[None], tf.float32)
    outer = tf.constant([[0.125, 0.25, 0.625, 0.75]])
    inner = tf.constant([[0.25, 0.25, 0.75, 0.75]])
    twice = zoom(zoom(image, outer, 64), inner, 16)
    np.testing.assert_allclose(
        twice, zoom(image, compose_boxes(outer, inner), 16), atol=0.3
    )


@pytest.mark.parametrize("dtype", ["uint8", "bfloat16", "float32"])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_layer_is_a_float32_island(dtype, policy):
    images = tf.cast(random_images(12, 12), dtype)
    boxes = tf.constant([[0.0, 0.0, 0.5, 0.5]] * 2)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        found = Zoom(6)(images, boxes)
    finally:
        keras.config.set_dtype_policy(before)
    assert found.dtype == tf.float32
    expected = tf.cast(images[:, :6, :6], tf.float32)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_xla_agrees_and_it_saves_and_loads(tmp_path):
    images, boxes = random_images(20, 30), tf.constant([[0.1, 0.2, 0.8, 0.9]] * 2)
    inputs = [keras.Input((20, 30, 3)), keras.Input((4,))]
    model = keras.Model(inputs, Zoom(10, name="zoom")(*inputs))
    expected = model([images, boxes])
    compiled = tf.function(Zoom(10), jit_compile=True)
    np.testing.assert_allclose(compiled(images, boxes), expected, atol=1e-3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.output_shape == (None, 10, 10, 3)
    assert loaded.get_layer("zoom").compute_dtype == "float32"
    np.testing.assert_array_equal(loaded([images, boxes]), expected)


def test_wrong_arguments_are_named():
    with pytest.raises(UsageError, match="size=0"):
        Zoom(0)
    with pytest.raises(UsageError, match="shape"):
        Zoom(4)(keras.Input((None, None, 3)), keras.Input((4,)))
