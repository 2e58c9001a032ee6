import keras
import numpy as np
import pytest
import tensorflow as tf
from small_backbone import build_tiny

from deml_tf.config import TrainConfig
from deml_tf.losses import BinomialDeviance
from deml_tf.models.embedder import core_of
from deml_tf.training.collapse import WarnOfCollapse
from deml_tf.training.loop import fit
from deml_tf.training.trainer import Trainer

SOUND = {"loss": 1.0, "embedding_variance": 0.5, "effective_rank": 9.0}


def warned(capsys, *logs, first_step=0, classes=4):
    """What is said of the steps that end with these logs, two in an interval."""
    train = TrainConfig(steps=99, log_every=2, classes_per_batch=classes)
    callback = WarnOfCollapse(first_step, train)
    for step, values in enumerate(logs):
        callback.on_train_batch_end(step, values)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    "sign, meaning",
    [
        ({"embedding_variance": 0.0099}, "all images look alike"),
        ({"effective_rank": 1.49}, "in one direction only"),
    ],
)
def test_it_says_so_once_in_one_sentence(capsys, sign, meaning):
    (line,) = warned(capsys, SOUND, SOUND, SOUND | sign, *[SOUND | sign] * 5)
    ((name, value),) = sign.items()
    assert line.startswith("WARNING: the embedding has collapsed by step 4, for ")
    assert f"{name} is {value:.2g}, below" in line and meaning in line
    assert "lower learning_rate" in line and line.count(". ") == 0


def test_a_moment_within_an_interval_is_nothing(capsys):
    low = SOUND | {"embedding_variance": 0.0}
    assert not warned(capsys, low, SOUND, low, SOUND)
    assert warned(capsys, low, SOUND, first_step=1)


def test_sound_logs_and_few_classes_are_left_alone(capsys):
    line = SOUND | {"effective_rank": 1.0}
    assert not warned(capsys, *[SOUND] * 6)
    assert not warned(capsys, *[line] * 6, classes=3)
    assert not warned(capsys, *[{"loss": 1.0}] * 6)
    assert warned(capsys, *[line] * 6)


def train(capsys, rate, steps=12):
    """Trains on four classes, each of a colour, and returns what is said."""
    keras.utils.set_random_seed(0)
    trainer = Trainer(core_of(build_tiny(learners=1)), BinomialDeviance())
    trainer.compile(keras.optimizers.SGD(rate))
    random = np.random.default_rng(1)
    colours = np.repeat(random.uniform(0, 255, (4, 1, 1, 3)), 2, axis=0)
    images = (colours * random.uniform(0.5, 1, (8, 40, 40, 3))).astype("f4")
    labels = np.repeat(np.arange(4), 2).astype("i4")
    data = tf.data.Dataset.from_tensors((images, labels)).repeat(steps)
    settings = TrainConfig(steps=steps, log_every=4, classes_per_batch=4)
    fit(trainer, data, [WarnOfCollapse(0, settings)])
    return capsys.readouterr().out.splitlines()


@pytest.mark.slow
def test_a_training_that_collapses_is_told_and_a_sound_one_is_not(capsys):
    assert not train(capsys, 1e-3)
    (line,) = train(capsys, 10.0)
    assert "the embedding has collapsed by step" in line
