import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.layers.adversary import Adversary
from deml_tf.losses import adversary_loss, ordered_pairs


def some_parts(images, learners, d, seed=0):
    random = np.random.default_rng(seed)
    return tf.constant(random.normal(size=(images, learners, d)) * 3, tf.float32)


def with_random_biases(adversary, parts):
    if not adversary.built:
        adversary.build(parts.shape)
    random = np.random.default_rng(9)
    for weight in adversary.weights:
        weight.assign(random.normal(size=weight.shape) * 0.5)
    return adversary


def naive(adversary, parts):
    """One small network after the other, in float64, with loops over learners."""
    weights = [w.value.numpy().astype("float64") for w in adversary.weights]
    parts = np.asarray(parts, np.float64)
    predictions = []
    for image in parts:
        row = []
        for a in range(parts.shape[1]):
            for b in range(parts.shape[1]):
                if a == b:
                    continue
                w1, b1, w2, b2 = (w[len(row)] for w in weights)
                x = image[a] / np.sqrt(image[a] @ image[a])
                y = np.maximum(x @ w1 + b1, 0) @ w2 + b2
                row.append(y / np.sqrt(y @ y))
        predictions.append(row)
    return np.array(predictions)


@pytest.mark.parametrize(("learners", "d", "hidden"), [(2, 3, 4), (3, 5, 7), (4, 2, 1)])
def test_predictions_equal_a_loop(learners, d, hidden):
    parts = some_parts(6, learners, d)
    adversary = with_random_biases(Adversary(learners, d, hidden), parts)
    found = adversary(parts)
    assert found.shape == (6, learners * (learners - 1), d)
    assert found.shape == adversary.compute_output_shape(parts.shape)
    np.testing.assert_allclose(found, naive(adversary, parts), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, rtol=1e-5)


def test_gradients_equal_central_differences():
    parts = some_parts(3, 3, 4)
    adversary = with_random_biases(Adversary(3, 4, 5), parts)
    _, target = ordered_pairs(3)
    goal = np.asarray(parts, np.float64)[:, target]
    goal /= np.linalg.norm(goal, axis=-1, keepdims=True)

    def loss():
        return np.mean(1 - np.sum(naive(adversary, parts) * goal, axis=-1))

    with tf.GradientTape() as tape:
        value = tf.reduce_mean(adversary_loss(adversary(parts), parts))
    gradients = tape.gradient(value, [w.value for w in adversary.weights])
    assert float(value) == pytest.approx(loss(), rel=1e-5)
    random = np.random.default_rng(1)
    for weight, gradient in zip(adversary.weights, gradients, strict=True):
        kept = weight.value.numpy()
        toward = random.normal(size=kept.shape)
        sides = []
        for step in (1e-3, -1e-3):
            weight.assign(kept + step * toward)
            sides.append(loss())
        weight.assign(kept)
        wanted = (sides[0] - sides[1]) / 2e-3
        assert np.sum(gradient * toward) == pytest.approx(wanted, rel=5e-3, abs=1e-5)


def test_a_prediction_hangs_on_its_source_alone():
    parts = some_parts(1, 3, 4)
    adversary = with_random_biases(Adversary(3, 4, 5), parts)
    source, _ = ordered_pairs(3)
    before = adversary(parts).numpy()[0]
    for learner in range(3):
        moved = parts.numpy()
        moved[0, learner] += 1
        changed = np.any(np.abs(adversary(moved)[0] - before) > 1e-4, axis=-1)
        np.testing.assert_array_equal(changed, source == learner)


def test_the_embedder_is_reached_through_the_source_alone():
    """With one source muted, d loss / d e_b is what e_b does as a source."""
    parts = some_parts(5, 2, 4)
    adversary = with_random_biases(Adversary(2, 4, 6), parts)
    # Pair 0 -> 1 predicts from e_0; pair 1 -> 0 ignores its source.
    kernel = adversary.hidden_kernel.value.numpy()
    kernel[1] = 0
    adversary.hidden_kernel.assign(kernel)
    with tf.GradientTape() as tape:
        tape.watch(parts)
        loss = tf.reduce_mean(adversary_loss(adversary(parts), parts))
    gradient = tape.gradient(loss, parts).numpy()
    assert np.all(np.any(gradient[:, 0] != 0, axis=-1))
    np.testing.assert_array_equal(gradient[:, 1], 0)


def test_each_pair_starts_as_a_layer_of_its_own():
    keras.utils.set_random_seed(0)
    adversary = Adversary(4, 24, 48)
    adversary.build((None, 4, 24))
    bound = np.sqrt(6 / (24 + 48))
    for kernel in (
        adversary.hidden_kernel.value.numpy(),
        adversary.output_kernel.value.numpy(),
    ):
        assert kernel.shape[0] == 12
        top = np.max(np.abs(kernel), axis=(1, 2))
        assert np.all(top <= bound) and np.all(top > 0.98 * bound)
        spread = np.std(kernel, axis=(1, 2))
        np.testing.assert_allclose(spread, bound / np.sqrt(3), rtol=0.05)
        assert len({pair.tobytes() for pair in kernel}) == 12
    for bias in (adversary.hidden_bias, adversary.output_bias):
        np.testing.assert_array_equal(bias.value.numpy(), 0)


def test_save_and_reload(tmp_path):
    parts = some_parts(4, 3, 5)
    inputs = keras.Input([3, 5])
    layer = Adversary(3, 5, hidden=7, name="predictor")
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, 6, 5)
    with_random_biases(layer, parts)
    model.save(tmp_path / "adversary.keras")
    again = keras.saving.load_model(tmp_path / "adversary.keras")
    np.testing.assert_array_equal(again(parts), model(parts))
    config = again.get_layer("predictor").get_config()
    assert config == layer.get_config()
    assert {k: config[k] for k in ("num_learners", "part_dim", "hidden")} == {
        "num_learners": 3,
        "part_dim": 5,
        "hidden": 7,
    }
    assert Adversary.from_config(config).hidden == 7


def test_xla_equals_eager():
    parts = some_parts(4, 3, 5)
    adversary = with_random_biases(Adversary(3, 5, 7), parts)

    def step(parts):
        with tf.GradientTape() as tape:
            tape.watch(parts)
            loss = tf.reduce_mean(adversary_loss(adversary(parts), parts))
        return loss, tape.gradient(loss, parts)

    dynamic = tf.function(step, input_signature=[tf.TensorSpec([None, 3, 5])])
    wanted = step(parts)
    for function in (tf.function(step, jit_compile=True), dynamic):
        for found, value in zip(function(parts), wanted, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-6)


def test_bfloat16():
    parts = some_parts(4, 3, 5)
    adversary = with_random_biases(Adversary(3, 5, 7, dtype="mixed_bfloat16"), parts)
    assert adversary.hidden_kernel.dtype == "float32"
    found = adversary(tf.cast(parts, tf.bfloat16))
    assert found.dtype == tf.bfloat16
    np.testing.assert_allclose(
        tf.cast(found, tf.float32), naive(adversary, parts), atol=0.05
    )
    kept = with_random_biases(Adversary(3, 5, 7, dtype="float32"), parts)
    assert kept(tf.cast(parts, tf.bfloat16)).dtype == tf.float32


def test_a_silent_learner_gives_no_nan():
    parts = some_parts(4, 3, 5).numpy()
    parts[0] = 0
    parts = tf.constant(parts)
    adversary = Adversary(3, 5, 7)
    with tf.GradientTape() as tape:
        tape.watch(parts)
        loss = tf.reduce_mean(adversary_loss(adversary(parts), parts))
    weights = [w.value for w in adversary.weights]
    assert np.isfinite(loss)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(adversary_loss(adversary(parts), parts))
    assert all(np.all(np.isfinite(g)) for g in tape.gradient(loss, weights))


def train(parts, size=128):
    """Loss on the last quarter of the parts after one pass over the others."""
    keras.utils.set_random_seed(0)
    parts = tf.constant(parts, tf.float32)
    seen, unseen = tf.split(parts, [len(parts) * 3 // 4, len(parts) // 4])
    adversary = Adversary(parts.shape[1], parts.shape[2], hidden=32)
    adversary.build(seen.shape)
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(adversary.trainable_variables)

    @tf.function
    def step(batch):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(adversary_loss(adversary(batch), batch))
        variables = adversary.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)

    def loss():
        return float(tf.reduce_mean(adversary_loss(adversary(unseen), unseen)))

    before = loss()
    for batch in tf.split(seen, len(seen) // size):
        step(batch)
    return before, loss()


def test_it_learns_what_follows():
    random = np.random.default_rng(0)
    first = random.normal(size=(2**15, 1, 6))
    turn = np.linalg.qr(random.normal(size=(6, 6)))[0]
    before, after = train(np.concatenate([first, first @ turn], axis=1))
    assert before > 0.7 and after < 0.02


def test_it_learns_nothing_from_noise():
    random = np.random.default_rng(0)
    _, after = train(random.normal(size=(2**15, 2, 6)))
    assert 0.98 < after < 1.02


@pytest.mark.parametrize(
    ("sizes", "name"),
    [((1, 4), "num_learners"), ((2, 0), "part_dim"), ((2, 4, 0), "hidden")],
)
def test_sizes_too_small(sizes, name):
    with pytest.raises(UsageError, match=name):
        Adversary(*sizes)


@pytest.mark.parametrize("shape", [(2, 2, 4), (2, 3, 5), (2, 3, 4, 1)])
def test_parts_of_other_sizes(shape):
    with pytest.raises(UsageError, match="it was made for"):
        Adversary(3, 4)(tf.zeros(shape))
