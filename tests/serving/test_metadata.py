import dataclasses
import random

import keras
import pytest

from deml_tf.serving.metadata import describe, fingerprint
from deml_tf.serving.servable import Servable
from deml_tf.serving.source import Choice


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
    assert fingerprint(loaded.variables, "bfloat16") != known
    loaded.variables[0].assign(loaded.variables[0] * 1.0001)
    assert fingerprint(loaded.variables) != known


def test_fingerprint_knows_which_weight_is_which():
    def make(a, b):
        values = {"a": a, "b": b}
        return [keras.Variable([v], name=n) for n, v in values.items()]

    assert fingerprint(make(1.0, 2.0)) == fingerprint(make(1.0, 2.0))
    assert fingerprint(make(1.0, 2.0)) != fingerprint(make(2.0, 1.0))


@pytest.mark.parametrize(
    "changed", [{"precision": "bfloat16"}, {"quantize": "dynamic_int8"}]
)
def test_other_arithmetic_is_another_model(changed, tiny):
    """The same weights give embeddings that are not to be mixed."""
    servable = Servable(tiny(scales=1, learners=2), (0,), (0, 1))
    exact = Choice("birds", (0,), (0, 1))
    hashes = {
        describe(servable, choice, version=1)["weights_sha256"]
        for choice in (exact, dataclasses.replace(exact, **changed))
    }
    assert len(hashes) == 2
