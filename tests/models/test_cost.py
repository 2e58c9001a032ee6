import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from deml_tf.models.cost import gmacs, parameters


def model_of(shape, *stack):
    return keras.Sequential([keras.Input(shape), *stack])


@pytest.mark.parametrize(
    ("shape", "layer", "macs"),
    [
        ((8, 8, 3), layers.Conv2D(5, 3, padding="same"), 8 * 8 * 5 * 27),
        ((8, 8, 3), layers.Conv2D(5, 3, 2, padding="valid"), 3 * 3 * 5 * 27),
        ((8, 8, 4), layers.Conv2D(6, 3, groups=2, padding="same"), 64 * 6 * 18),
        ((8, 8, 4), layers.DepthwiseConv2D(5, padding="same"), 64 * 4 * 25),
        (
            (8, 8, 4),
            layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
            64 * 8 * 9,
        ),
        (
            (8, 8, 4),
            layers.DepthwiseConv2D(3, padding="same", dilation_rate=2),
            64 * 4 * 9,
        ),
        ((7,), layers.Dense(11), 77),
        ((3, 7), layers.Dense(11), 3 * 77),
        ((8, 8, 3), layers.ReLU(), 0),
    ],
)
def test_macs_of_one_layer(shape, layer, macs):
    assert gmacs(model_of(shape, layer), *shape) * 1e9 == pytest.approx(macs)


def test_macs_inside_loops_branches_and_functions():
    class Nested(layers.Layer):
        def call(self, x):  # (b, 4)
            square, wide = tf.ones((4, 4)), tf.ones((4, 5))
            x = tf.while_loop(
                lambda i, y: i < 3,
                lambda i, y: (i + 1, tf.matmul(y, square)),
                [0, x],
            )[1]
            x = tf.cond(
                tf.reduce_sum(x) > 0,
                lambda: tf.matmul(x, wide),
                lambda: tf.matmul(x, wide) * 2,
            )
            return tf.function(lambda y: tf.matmul(y, tf.ones((5, 2))))(x)

    model = model_of((4,), Nested())
    assert gmacs(model, 4) * 1e9 == pytest.approx(16 + 20 + 20 + 10)


@pytest.mark.parametrize(
    ("equation", "other", "macs"),
    [
        ("bhd,dk->bhk", (4, 7), 3 * 4 * 7),
        ("...d,dk->...k", (4, 7), 3 * 4 * 7),
        ("bhd,hd->b", (3, 4), 12),
        ("bhd,bkd->bhk", (1, 5, 4), 3 * 5 * 4),
    ],
)
def test_macs_of_einsum(equation, other, macs):
    class Product(layers.Layer):
        def call(self, x):  # (b, 3, 4)
            return tf.einsum(equation, x, tf.ones(other))

    model = model_of((3, 4), Product())
    assert gmacs(model, 3, 4) * 1e9 == pytest.approx(macs)


def test_macs_of_transposed_matmul():
    class Product(layers.Layer):
        def call(self, x):  # (b, 6, 4)
            return tf.matmul(x, tf.ones((1, 6, 3)), transpose_a=True)

    assert gmacs(model_of((6, 4), Product()), 6, 4) * 1e9 == pytest.approx(4 * 6 * 3)


def test_macs_need_static_shapes():
    class Ragged(layers.Layer):
        def call(self, x):  # (b, 5, 4)
            rows = tf.cast(tf.reduce_max(x), tf.int32)
            return tf.matmul(x[:, :rows], tf.ones((4, 2)))

    with pytest.raises(ValueError, match="static shape"):
        gmacs(model_of((5, 4), Ragged()), 5, 4)


def test_an_open_batch_axis_is_one_image():
    class Open(layers.Layer):
        def call(self, x):  # (b, 4)
            return tf.matmul(tf.boolean_mask(x, x[:, 0] > 0), tf.ones((4, 2)))

    assert gmacs(model_of((4,), Open()), 4) * 1e9 == pytest.approx(4 * 2)


def test_parameters_leave_out_what_is_not_learnt():
    norm = layers.BatchNormalization()
    model = model_of((8, 8, 3), layers.Conv2D(5, 3), norm, layers.Dropout(0.5, seed=1))
    assert parameters(model) == 3 * 3 * 3 * 5 + 5 + 2 * 5
    norm.trainable = False  # frozen ones are parameters all the same
    assert parameters(model) == 3 * 3 * 3 * 5 + 5 + 2 * 5


def test_shared_layers_count_once_in_parameters_and_twice_in_macs():
    dense = layers.Dense(4)
    x = keras.Input((4,))
    model = keras.Model(x, dense(dense(x)))
    assert parameters(model) == 20
    assert gmacs(model, 4) * 1e9 == pytest.approx(32)
    assert np.isfinite(model(np.ones((2, 4)))).all()
