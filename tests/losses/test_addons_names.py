"""Models saved with losses of tensorflow-addons come back with ours."""

import json
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest

from deml_tf import losses
from deml_tf.errors import UsageError
from deml_tf.losses import addons_names  # noqa: F401


def saved(kind, **config):
    """What Keras 2.15 writes of a loss of tensorflow-addons 0.23."""
    return {
        "module": "tensorflow_addons.losses.triplet",
        "class_name": kind,
        "config": {"reduction": "none", "name": None, **config},
        "registered_name": f"Addons>{kind}",
    }


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (
            saved("TripletSemiHardLoss", margin=0.5, distance_metric="squared-L2"),
            losses.Triplet(margin=0.5, squared=True),
        ),
        (
            saved("TripletHardLoss", margin=0.7, soft=True, distance_metric="L2"),
            losses.Triplet(margin=0.7, sampling="hard", soft=True),
        ),
        (
            saved("LiftedStructLoss", margin=1.5, name="mine"),
            losses.LiftedStructure(margin=1.5, name="mine"),
        ),
    ],
)
def test_a_saved_loss_is_ours(given, wanted):
    found = keras.saving.deserialize_keras_object(given)
    assert type(found) is type(wanted)
    assert found.get_config() == wanted.get_config()


def test_a_compiled_model_goes_on(tmp_path):
    model: Any = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    model.compile("adam", losses.Triplet())
    config: Any = model.get_compile_config()
    config["loss"] = saved("TripletSemiHardLoss", margin=1.0, distance_metric="L2")
    loaded: Any = keras.Sequential.from_config(model.get_config())
    loaded.compile_from_config(json.loads(json.dumps(config)))
    labels = np.repeat(np.arange(4), 2)
    vectors = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    loaded.set_weights(model.get_weights())
    steps = [
        m.fit(vectors, labels, shuffle=False, verbose=0).history
        for m in (model, loaded)
    ]
    assert steps[0] == steps[1]
    loaded.save(tmp_path / "model.keras")
    again: Any = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.loss) is losses.Triplet


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (saved("TripletHardLoss", distance_metric="angular"), "'angular' has no succ"),
        (saved("ContrastiveLoss", margin=1.0), "ContrastiveLoss took distances"),
        (saved("NpairsLoss"), "NpairsLoss took a matrix of similarities"),
        (saved("NpairsMultilabelLoss"), "NpairsMultilabelLoss took a matrix"),
    ],
)
def test_what_has_no_successor_is_said(given, message):
    with pytest.raises(UsageError, match=message):
        keras.saving.deserialize_keras_object(given)


@pytest.mark.slow
def test_nothing_registers_them_unasked():
    code = (
        "import keras, deml_tf.train; "
        "print([n for n in keras.saving.get_custom_objects() if 'Addons' in n])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n"
