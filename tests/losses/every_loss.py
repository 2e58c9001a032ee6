"""Every metric loss, made with its defaults and with each of its other choices."""

import inspect
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from deml_tf.cli.settings import constructor_settings
from deml_tf.losses import METRIC_LOSSES

CLASSES = 10  # of losses with class weights
# Every choice of a constructor is tried by itself; more, and pairs of choices, here.
MORE = [("triplet", {"sampling": "all", "soft": True})]


def _choices():
    for name, kind in METRIC_LOSSES.items():
        yield name, {}
        for setting in constructor_settings(kind):
            others = setting.choices or ()
            if setting.kind is bool:
                others = (False, True)
            for value in others:
                if value != setting.default:
                    yield name, {setting.name: value}


CASES = {
    ", ".join([name, *(f"{k}={v}" for k, v in own.items())]): (name, own)
    for name, own in [*_choices(), *MORE]
}


def has_weights(name):
    return issubclass(METRIC_LOSSES[name], keras.layers.Layer)


def make(name, arguments=(), learners=3, d=4):
    """One loss; with weights, built and with every weight drawn at random."""
    kind = METRIC_LOSSES[name]
    arguments = dict(arguments)
    if "num_classes" in inspect.signature(kind).parameters:
        arguments.setdefault("num_classes", CLASSES)
    loss: Any = kind(**arguments)
    if has_weights(name):
        loss.build((None,), (None, learners, d))
        random = np.random.default_rng(100)  # not what a test draws as embeddings
        for weight in loss.trainable_variables:
            weight.assign(random.normal(size=weight.shape))
    return loss


def numbered(name, labels):
    """Labels that the loss takes: numbers below the classes where it has weights."""
    labels = np.asarray(labels)
    return np.unique(labels, return_inverse=True)[1] if has_weights(name) else labels


def weights_of(loss):
    """What is trained besides the embeddings, as tf.Variables."""
    variables = getattr(loss, "trainable_variables", [])
    return [v.value for v in variables]


def value_and_gradients(loss, labels, embeddings, references=None) -> Any:
    """The anchors' values, and the gradients of their mean for all there is."""
    known = {} if references is None else {"references": references}
    weights = weights_of(loss)
    with tf.GradientTape() as tape:
        tape.watch([embeddings, *weights])
        values = loss.call(labels, embeddings, **known)
        mean = tf.reduce_mean(values)
    zero = tf.UnconnectedGradients.ZERO
    return values, tape.gradient(mean, [embeddings, *weights], None, zero)
