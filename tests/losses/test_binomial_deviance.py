from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.losses import BinomialDeviance, binomial_deviance

DEGREES = np.deg2rad([0.0, 20.0, 40.0, 60.0])
FAN = np.stack([np.cos(DEGREES), np.sin(DEGREES)], axis=-1)
LABELS = {
    "two of each": [0, 0, 1, 1],
    "mixed": [3, 1, 3, 2, 1, 3],
    "unequal classes": [0, 0, 0, 0, 7],
    "one class": [5, 5, 5],
    "all different": [4, 2, 9, -1],
    "one image": [1],
}
labelled = pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())


def naive(labels, embeddings, alpha=2, beta=0.5, cost_positive=1, cost_negative=35):
    """The formula, pair by pair, in float64."""
    if embeddings.ndim == 2:
        embeddings = embeddings[:, None]
    total = 0.0
    for j in range(embeddings.shape[1]):
        same, other = [], []
        for p in range(len(labels)):
            for q in range(p + 1, len(labels)):
                a, b = embeddings[p, j], embeddings[q, j]
                s = a @ b / np.sqrt((a @ a) * (b @ b))
                if labels[p] == labels[q]:
                    x = -alpha * cost_positive * (s - beta)
                    same.append(np.log(1 + np.exp(x)))
                else:
                    x = alpha * cost_negative * (s - beta)
                    other.append(np.log(1 + np.exp(x)))
        total += sum(same) / max(len(same), 1) + sum(other) / max(len(other), 1)
    return total / embeddings.shape[1]


def value_and_gradient(loss, labels, embeddings):
    embeddings = tf.cast(embeddings, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        value = loss(labels, embeddings)
    return value, tape.gradient(value, embeddings)


@pytest.mark.parametrize(("cost_negative", "known"), [(25, 12.667713), (35, 17.526620)])
@pytest.mark.parametrize("lengths", [(1, 1, 1, 1), (0.1, 5, 2, 30)])
def test_known_answers(cost_negative, known, lengths):
    loss = BinomialDeviance(cost_negative=cost_negative)
    given = (FAN * np.array(lengths)[:, None]).astype("float32")
    assert float(loss([0, 0, 1, 1], given)) == pytest.approx(known, abs=5e-6)
    three = np.repeat(given[:, None], 3, axis=1)
    # A CPU may round the cosines of a batch of products otherwise: by two units in the
    # last place, which the loss magnifies by alpha * cost_negative.
    rounding = 2 * float(np.finfo("float32").eps) * loss.alpha * cost_negative
    assert float(loss([0, 0, 1, 1], three)) == pytest.approx(known, abs=rounding)


def test_defaults_are_the_release_s():
    loss = BinomialDeviance()
    constants = (loss.alpha, loss.beta, loss.cost_positive, loss.cost_negative)
    assert constants == (2, 0.5, 1, 35)


@labelled
@pytest.mark.parametrize("shape", [(2,), (1, 4), (3, 5)])
@pytest.mark.parametrize(
    "constants",
    [{}, {"alpha": 1.3, "beta": -0.2, "cost_positive": 4.0, "cost_negative": 9.0}],
)
def test_values_and_gradients_equal_a_loop(
    labels, shape, constants, central_differences
):
    random = np.random.default_rng(len(labels))
    embeddings = random.normal(size=(len(labels), *shape))
    loss = BinomialDeviance(**constants)
    value, gradient = value_and_gradient(loss, labels, embeddings)
    wanted = naive(labels, embeddings, **constants)
    np.testing.assert_allclose(value, wanted, rtol=2e-5, atol=1e-6)
    wanted = central_differences(lambda x: naive(labels, x, **constants), embeddings)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-4)


def test_one_value_an_anchor():
    random = np.random.default_rng(2)
    embeddings = tf.constant(random.normal(size=(6, 3, 4)), tf.float32)
    labels = tf.constant(LABELS["mixed"])
    anchors = BinomialDeviance().call(labels, embeddings)
    assert anchors.shape == (6,) and anchors.dtype == tf.float32
    by_reduction = {
        name: BinomialDeviance(reduction=name)(labels, embeddings)
        for name in ("none", "sum", "sum_over_batch_size")
    }
    np.testing.assert_allclose(by_reduction["none"], anchors)
    np.testing.assert_allclose(by_reduction["sum"], np.sum(anchors), rtol=1e-6)
    np.testing.assert_allclose(
        by_reduction["sum_over_batch_size"], np.mean(anchors), rtol=1e-6
    )
    # An anchor's value is half of all its pairs' costs, times the batch size.
    one = np.zeros(6)
    for q in range(1, 6):
        pair = naive([3, LABELS["mixed"][q]], embeddings.numpy()[[0, q]])
        one[q] = pair / (4 if LABELS["mixed"][q] == 3 else 11)
    assert float(anchors[0]) == pytest.approx(6 * one.sum() / 2, rel=1e-5)


def test_the_order_of_images_and_learners_does_not_matter():
    random = np.random.default_rng(3)
    embeddings = random.normal(size=(6, 3, 4)).astype("float32")
    labels = np.array(LABELS["mixed"])
    loss = BinomialDeviance(reduction="none")
    wanted = loss(labels, embeddings).numpy()
    order = random.permutation(6)
    moved = loss(labels[order], embeddings[order][:, [2, 0, 1]])
    np.testing.assert_allclose(moved, wanted[order], rtol=1e-5)


def fitted(labels, dtype=None):
    """The losses of two steps of somebody else's training."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(len(labels), 6)).astype("float32")
    keras.utils.set_random_seed(0)
    model: Any = keras.Sequential([keras.layers.Dense(4)])
    model.compile("sgd", BinomialDeviance(dtype=dtype))
    history = model.fit(
        vectors, labels, batch_size=len(labels), epochs=2, shuffle=False, verbose=0
    )
    return history.history["loss"]


def test_large_class_numbers_stay_apart_in_fit():
    labels = np.repeat(np.arange(16), 4)
    expected = fitted(labels)
    assert np.isfinite(expected).all()
    assert fitted(labels + 220_000_000) == expected
    assert fitted(labels.astype("uint64") + np.uint64(2**63)) == expected


def test_labels_do_not_take_the_type_of_floats():
    labels = np.repeat(np.arange(300, 316), 4)
    before = keras.config.floatx()
    keras.config.set_floatx("bfloat16")
    try:
        assert fitted(labels, dtype="float32") == fitted(labels - 300, dtype="float32")
        assert BinomialDeviance().dtype == "bfloat16"
    finally:
        keras.config.set_floatx(before)
    again = BinomialDeviance.from_config(BinomialDeviance(dtype="float64").get_config())
    assert again.dtype == "float64"


def test_floats_that_were_rounded_are_refused():
    vectors = tf.ones([4, 3])
    for dtype, last in (("float32", 2**24), ("bfloat16", 256), ("float16", 2048)):
        exact = tf.constant([1, 1, 0, last - 1], dtype)
        binomial_deviance(exact, vectors)
        with pytest.raises(tf.errors.InvalidArgumentError, match="give integers"):
            binomial_deviance(tf.constant([1, 1, 0, last], dtype), vectors)
    with pytest.raises(UsageError, match="labels are strings"):
        binomial_deviance(tf.constant(["a", "b"]), vectors[:2])


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float32"])
@pytest.mark.parametrize("column", [False, True])
def test_labels_of_any_type(dtype, column):
    labels = np.array([0, 0, 1, 1], dtype)
    labels = labels[:, None] if column else labels
    loss = BinomialDeviance()
    for value in (
        loss(labels, FAN),
        tf.reduce_mean(binomial_deviance(tf.constant(labels), tf.constant(FAN))),
    ):
        assert float(value) == pytest.approx(17.526620, abs=5e-6)


def test_the_function_tells_large_labels_apart():
    labels = tf.constant([2**40, 2**40, 2**41, 2**41], tf.int64)
    value = tf.reduce_mean(binomial_deviance(labels, tf.constant(FAN)))
    assert float(value) == pytest.approx(17.526620, abs=5e-6)


@labelled
def test_no_direction_no_nan(labels):
    embeddings = np.random.default_rng(4).normal(size=(len(labels), 3, 4))
    embeddings[0] = 0
    value, gradient = value_and_gradient(BinomialDeviance(), labels, embeddings)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))
    np.testing.assert_array_equal(gradient[0], 0)


@pytest.mark.parametrize("cost_negative", [35.0, 1e4])
@pytest.mark.parametrize("sign", [1, -1])
def test_extreme_similarities(cost_negative, sign):
    embeddings = np.array([[1, 2], [1, 2], [sign, 2 * sign], [sign, 2 * sign]])
    loss = BinomialDeviance(cost_negative=cost_negative)
    value, gradient = value_and_gradient(loss, [0, 0, 1, 1], embeddings)
    # Same class at cosine 1; the other one at cosine +1 or -1.
    x = 2 * cost_negative * (sign - 0.5)
    wanted = np.log1p(np.exp(-1)) + np.logaddexp(0, x)
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
    assert np.all(np.isfinite(gradient))


@labelled
def test_xla_and_graphs_equal_eager(labels):
    embeddings = np.random.default_rng(5).normal(size=(len(labels), 3, 4))
    embeddings[-1, 0] = 0
    loss = BinomialDeviance()
    wanted = value_and_gradient(loss, labels, embeddings)

    def step(labels, embeddings):
        return value_and_gradient(loss, labels, embeddings)

    compiled = tf.function(step, jit_compile=True)
    dynamic = tf.function(
        step,
        input_signature=[
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, 3, 4], tf.float32),
        ],
    )
    for function in (compiled, dynamic):
        found = function(tf.constant(labels), tf.constant(embeddings, tf.float32))
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5)
        np.testing.assert_allclose(found[1], wanted[1], rtol=1e-4, atol=1e-5)


def test_bfloat16_is_computed_in_float32():
    embeddings = np.random.default_rng(6).normal(size=(6, 3, 4))
    low = tf.cast(embeddings, tf.bfloat16)
    labels = LABELS["mixed"]
    wanted = naive(labels, tf.cast(low, tf.float64).numpy())
    assert float(BinomialDeviance()(labels, low)) == pytest.approx(wanted, rel=1e-5)
    anchors = BinomialDeviance().call(tf.constant(labels), low)
    assert anchors.dtype == tf.float32
    assert float(np.mean(anchors)) == pytest.approx(wanted, rel=1e-5)


def test_config_round_trip():
    arguments = {
        "alpha": 1.5,
        "beta": 0.25,
        "cost_positive": 2.0,
        "cost_negative": 25.0,
        "pairs": "replica",
        "reduction": "sum",
        "name": "metric",
    }
    loss = BinomialDeviance(**arguments)
    assert loss.get_config() == arguments
    saved: Any = keras.saving.serialize_keras_object(loss)
    assert saved["registered_name"] == "deml_tf>BinomialDeviance"
    again = keras.saving.deserialize_keras_object(saved)
    assert isinstance(again, BinomialDeviance) and again.get_config() == arguments
    assert float(again([0, 0, 1, 1], FAN)) == float(loss([0, 0, 1, 1], FAN))


def test_fit_takes_it():
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    labels = np.arange(16) % 4
    images = np.eye(4)[labels] + 0.1 * random.normal(size=(16, 4))
    model: Any = keras.Sequential([keras.Input([4]), keras.layers.Dense(3)])
    model.compile("adam", BinomialDeviance())
    model.optimizer.learning_rate = 0.02
    history = model.fit(images, labels, batch_size=16, epochs=20, verbose=0).history
    wanted = naive(labels, model.predict(images, verbose=0).astype("float64"))
    found = model.evaluate(images, labels, batch_size=16, verbose=0)
    assert found == pytest.approx(wanted, rel=1e-4)
    assert history["loss"][-1] < 0.5 * history["loss"][0]


@pytest.mark.parametrize(
    ("constants", "name"),
    [
        ({"alpha": 0}, "alpha"),
        ({"alpha": -2.0}, "alpha"),
        ({"cost_positive": 0.0}, "cost_positive"),
        ({"cost_negative": float("inf")}, "cost_negative"),
        ({"cost_negative": float("nan")}, "cost_negative"),
        ({"beta": 1.5}, "beta"),
        ({"beta": float("nan")}, "beta"),
    ],
)
def test_constants_out_of_range(constants, name):
    with pytest.raises(UsageError, match=name):
        BinomialDeviance(**constants)


@pytest.mark.parametrize(
    ("labels", "embeddings", "name"),
    [
        (np.eye(4), FAN, "labels"),
        (np.int64(3), FAN, "labels"),
        ([0, 0, 1, 1], FAN[:, 0], "embeddings"),
        ([0, 0, 1, 1], FAN[:, None, None], "embeddings"),
    ],
)
def test_shapes_that_are_not_the_loss_s(labels, embeddings, name):
    with pytest.raises(UsageError, match=name):
        BinomialDeviance()(labels, embeddings)
