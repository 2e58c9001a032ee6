import random

import keras

from deml_tf.serving.metadata import fingerprint


def test_fingerprint_is_of_the_weights_alone(tiny, tmp_path):
    embedder = tiny(scales=1, learners=2)
    known = fingerprint(embedder.variables)
    assert len(known) == 64
    shuffled = list(embedder.variables)
    random.Random(0).shuffle(shuffled)
    assert fingerprint(shuffled) == known
    embedder.save(tmp_path / "embedder.keras")
    loaded = keras.saving.load_model(tmp_path / "embedder.keras")
    assert fingerprint(loaded.variables) == known
    loaded.variables[0].assign(loaded.variables[0] * 1.0001)
    assert fingerprint(loaded.variables) != known


def test_fingerprint_knows_which_weight_is_which():
    def make(a, b):
        values = {"a": a, "b": b}
        return [keras.Variable([v], name=n) for n, v in values.items()]

    assert fingerprint(make(1.0, 2.0)) == fingerprint(make(1.0, 2.0))
    assert fingerprint(make(1.0, 2.0)) != fingerprint(make(2.0, 1.0))
