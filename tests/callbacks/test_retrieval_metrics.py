"""Retrieval scores in the `fit` of somebody else's model."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.callbacks import RetrievalMetrics
from deml_tf.data import PKSampler
from deml_tf.errors import DataError, UsageError
from deml_tf.losses import BinomialDeviance, ProxyAnchor
from deml_tf.retrieval import evaluate

RANDOM = np.random.default_rng(0)
LABELS = np.repeat(np.arange(6), 5)
IMAGES = (RANDOM.normal(size=(6, 8))[LABELS] + RANDOM.normal(size=(30, 8))).astype("f4")
NAMES = {f"val_{n}" for n in ("recall_at_1", "recall_at_3", "r_precision", "map_at_r")}


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, n):
        return IMAGES[8 * n : 8 * n + 8], LABELS[8 * n : 8 * n + 8]


def network(dtype=None):
    """The embedding among other things, with what differs while training."""
    images = keras.Input((8,))
    x = keras.layers.Dense(16, "relu", name="hidden", dtype=dtype)(images)
    x = keras.layers.Dropout(0.5, seed=0)(x)
    parts = keras.layers.Reshape((2, 3), name="parts")(keras.layers.Dense(6)(x))
    return images, {"one": keras.layers.Dense(1, name="one")(x), "parts": parts}


def fitted(model, *callbacks, epochs=2, **options):
    model.compile("sgd", BinomialDeviance(), run_eagerly=True, **options)
    model.fit(IMAGES, LABELS, 10, epochs, verbose=0, callbacks=callbacks)
    return model.history.history


def single(seed=0):
    keras.utils.set_random_seed(seed)
    images, outputs = network()
    return keras.Model(images, outputs["parts"])


def expected(embeddings):
    scores = evaluate(np.reshape(embeddings, (30, -1)), LABELS, (1, 3))
    return {f"val_{n}": s for n, s in scores.items() if not n.startswith("queries")}


def dataset(shuffled=False):
    made = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS))
    return (made.shuffle(30) if shuffled else made).batch(7)


@pytest.mark.parametrize(
    "given",
    [(IMAGES, LABELS), (dataset(),), (dataset(True),), (Batches(),)],
    ids=["arrays", "dataset", "shuffled", "PyDataset"],
)
def test_the_logs_hold_the_exact_scores(given):
    model = single()
    found = []

    class Note(keras.callbacks.Callback):
        model: Any

        def on_epoch_end(self, epoch, logs=None):
            own = {name: (logs or {})[name] for name in NAMES}
            found.append(own)
            assert own == pytest.approx(expected(self.model(IMAGES)), abs=1e-12)

    metrics = RetrievalMetrics(*given, ranks=(1, 3), batch_size=7)
    history = fitted(model, metrics, Note())
    assert found[0] != found[1]
    assert {n for n in history if n.startswith("val_")} == NAMES
    for name in NAMES:
        assert history[name] == [scores[name] for scores in found]


def test_strings_and_large_labels():
    for labels in (LABELS.astype(str), LABELS + 2**62, (LABELS + 2**62).tolist()):
        metrics = RetrievalMetrics(IMAGES, labels, (1, 3))
        history = fitted(single(), metrics, epochs=1)
        names = tf.data.Dataset.from_tensor_slices((IMAGES, np.array(labels))).batch(9)
        again = fitted(single(), RetrievalMetrics(names, None, (1, 3)), epochs=1)
        assert {n: history[n] for n in NAMES} == {n: again[n] for n in NAMES}


def test_every_second_epoch():
    history = fitted(
        single(), RetrievalMetrics(IMAGES, LABELS, evaluate_every=2), epochs=5
    )
    assert len(history["val_map_at_r"]) == 2 and len(history["loss"]) == 5


def test_early_stopping_and_checkpoints_see_the_scores(tmp_path):
    class Planned(RetrievalMetrics):
        """Its epochs go down, up and down."""

        def score(self):
            return {"map_at_r": next(plan)}

    plan = iter([0.3, 0.2, 0.6, 0.5, 0.4, 0.9])
    kept = tmp_path / "best.keras"
    stop = keras.callbacks.EarlyStopping(
        "val_map_at_r", mode="max", patience=2, restore_best_weights=True
    )
    save = keras.callbacks.ModelCheckpoint(
        str(kept), "val_map_at_r", mode="max", save_best_only=True
    )
    weights = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: weights.append(model.get_weights())
    )
    model = single()
    history = fitted(model, Planned(IMAGES, LABELS), note, stop, save, epochs=6)
    assert history["val_map_at_r"] == [0.3, 0.2, 0.6, 0.5, 0.4]
    best: Any = keras.saving.load_model(kept)
    for found in (model.get_weights(), best.get_weights()):
        for ours, theirs in zip(found, weights[2], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(weights[2][0], weights[4][0])


@pytest.mark.parametrize("output", ["parts", 1, "hidden", None])
@pytest.mark.parametrize("kind", ["dict", "list", "eager class", "Sequential"])
def test_a_chosen_output(kind, output):
    keras.utils.set_random_seed(0)
    images, outputs = network()
    if kind == "dict":
        model = keras.Model(images, outputs)
    elif kind == "list":
        model = keras.Model(images, list(outputs.values()))
    elif kind == "Sequential":
        layers = [keras.layers.Dense(6, name="hidden"), keras.layers.Dense(2)]
        model = keras.Sequential(layers)
    else:
        inner: Any = keras.Model(images, outputs)

        class Own(keras.Model):
            def call(self, images, training=False):
                return inner(images, training=training)

        model = Own()
    metrics = RetrievalMetrics(IMAGES, LABELS, (1, 3), output=output)
    metrics.set_model(model)
    model.compile("sgd", "mse", run_eagerly=kind == "eager class")
    is_wrong = {
        "dict": [1, None],
        "list": [None],
        "eager class": [1, "hidden", None],
        "Sequential": ["parts", 1],
    }
    if output in is_wrong[kind]:
        with pytest.raises(UsageError, match="output") as caught:
            metrics.on_train_begin()
        assert "\n" not in str(caught.value)
        return
    metrics.on_train_begin()
    every = model(IMAGES)
    if output == "hidden":
        want = keras.Model(model.inputs[0], model.get_layer("hidden").output)(IMAGES)
    elif isinstance(every, dict):
        want = every["parts"]
    else:
        want = every[1] if kind == "list" else every
    scores = {f"val_{name}": score for name, score in metrics.score().items()}
    assert scores == pytest.approx(expected(want), abs=1e-12)


def test_bfloat16():
    images, _ = network()
    model = keras.Model(images, keras.layers.Dense(4, dtype="bfloat16")(images))
    model.compile("sgd", "mse")
    metrics = RetrievalMetrics(IMAGES, LABELS, (1, 3))
    metrics.set_model(model)
    metrics.on_train_begin()
    found = {f"val_{name}": score for name, score in metrics.score().items()}
    rows = tf.cast(model(IMAGES), "float32")
    assert found == pytest.approx(expected(rows), abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((IMAGES,), {}, "labels are missing"),
        ((IMAGES, LABELS[:3]), {}, "labels has 3 entries for 30 rows"),
        ((IMAGES, LABELS, (0,)), {}, "ranks holds 0"),
        ((dataset(), None, (0,)), {}, "ranks holds 0"),
        ((dataset(), LABELS), {}, "beside a dataset"),
        ((dataset().repeat(),), {}, "no end"),
        ((PKSampler(IMAGES, LABELS, 2, 2),), {}, "no end"),
        ((IMAGES, LABELS), {"evaluate_every": 0}, "evaluate_every=0: it must be"),
        ((IMAGES, LABELS), {"batch_size": 0}, "batch_size=0: it must be"),
    ],
)
def test_what_cannot_be_scored(arguments, options, words):
    with pytest.raises(UsageError, match=words) as caught:
        RetrievalMetrics(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_many_images_are_no_collapse(capsys):
    """There are no embeddings to speak of before the first epoch."""
    RetrievalMetrics(np.zeros((1500, 1)), np.arange(1500) // 2)
    assert not capsys.readouterr().out


def test_said_before_the_first_epoch():
    with pytest.raises(DataError, match="no query has another image of its class"):
        RetrievalMetrics(IMAGES, np.arange(30))
    bare = tf.data.Dataset.from_tensor_slices(IMAGES).batch(7)
    with pytest.raises(UsageError, match="no labels; give one of pairs"):
        fitted(single(), RetrievalMetrics(bare))


def test_the_model_that_embeds_may_be_a_part_of_the_fitted_one():
    """Such as that beside a loss with class weights, whose costs are the output."""
    model, label = single(), keras.Input((), dtype="int64")
    flat = keras.layers.Flatten()(model.output)
    costs = ProxyAnchor(num_classes=6)(label, flat)
    training = keras.Model([model.input, label], costs)
    training.compile("sgd")
    metrics = RetrievalMetrics(IMAGES, LABELS, (1, 3), embedder=model)
    history = training.fit([IMAGES, LABELS], verbose=0, callbacks=[metrics]).history
    assert {n: v[0] for n, v in history.items() if n in NAMES} == pytest.approx(
        expected(model(IMAGES)), abs=1e-12
    )


def test_a_model_inside_is_asked_for_as_embedder():
    model = single()
    model.name = "embeds"
    images = keras.Input((8,))
    outer = keras.Model(images, keras.layers.Flatten()(model(images)))
    with pytest.raises(UsageError, match="'embeds' is a model inside the model: give"):
        fitted(outer, RetrievalMetrics(IMAGES, LABELS, output="embeds"))
    embeds = RetrievalMetrics(IMAGES, LABELS, (1, 3), embedder=model)
    assert fitted(outer, embeds, epochs=1).keys() >= NAMES


def test_a_dataset_without_a_batch_is_refused():
    with pytest.raises(UsageError, match="the dataset has no batch"):
        fitted(single(), RetrievalMetrics(dataset().take(0)))


@pytest.mark.parametrize("as_embedder", [False, True])
def test_it_scores_before_the_first_fit(as_embedder):
    model = single()
    given = {"embedder": model} if as_embedder else {}
    metrics = RetrievalMetrics(IMAGES, LABELS, ranks=(1, 3), **given)
    if not as_embedder:
        with pytest.raises(UsageError, match="there is no model yet"):
            metrics.score()
        metrics.set_model(model)
    found = {f"val_{name}": score for name, score in metrics.score().items()}
    assert found == pytest.approx(expected(model(IMAGES)), abs=1e-12)
