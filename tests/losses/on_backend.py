"""Every metric loss on one backend: `KERAS_BACKEND=jax python on_backend.py OUT`.

Writes values and gradients of seeded batches as .npz. It needs numpy, Keras and the
backend alone, so that it runs in an environment without TensorFlow.
"""

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from deml_tf.losses import METRIC_LOSSES  # noqa: E402

LABELS = {
    "pairs": [0, 0, 1, 1, 2, 2, 3, 3],
    "mixed": [5, 1, 5, 5, 1, 7, 1, 1],
    "one class": [4] * 8,
    "all different": [0, 1, 2, 3, 4, 5, 6, 7],
}


def batches():
    """Labels and embeddings `(8, d)` or `(8, j, d)` by name; some equal, some zero."""
    random = np.random.default_rng(0)
    for name, labels in LABELS.items():
        for shape in ((6,), (2, 5)):
            embeddings = random.normal(size=(8, *shape)).astype("float32")
            yield f"{name} {shape}", np.array(labels), embeddings
            embeddings[3], embeddings[4] = embeddings[2], 0.0
            yield f"{name} {shape} degenerate", np.array(labels), embeddings


# What has derivatives of its own, beside every loss as it is.
CASES = {
    **{name: (kind, {}) for name, kind in METRIC_LOSSES.items()},
    "triplet, all, soft": (METRIC_LOSSES["triplet"], {"sampling": "all", "soft": True}),
}


def prepared(kind, arguments, embeddings):
    """A loss as `call`, and the values of its weights, the same on every backend."""
    if issubclass(kind, keras.losses.Loss):
        return kind(**arguments).call, []
    layer = kind(num_classes=8)
    layer.build((None,), embeddings.shape)
    random = np.random.default_rng(1)
    weights = [random.normal(size=v.shape) for v in layer.weights]
    for variable, value in zip(layer.weights, weights, strict=True):
        variable.assign(value.astype("float32") if variable.shape else variable.value)
    return layer.call, layer.trainable_variables


def value_and_gradients(loss, variables, labels, embeddings):
    """Values `(b,)`, and gradients of their mean to embeddings and variables."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        given = tf.constant(embeddings)
        with tf.GradientTape() as tape:
            tape.watch(given)
            values = loss(labels, given)
            mean = tf.reduce_mean(values)
        wanted = [given, *(v.value for v in variables)]
        gradients: Any = tape.gradient(
            mean, wanted, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return values, [tf.convert_to_tensor(g) for g in gradients]
    if backend == "jax":
        import jax  # pyright: ignore[reportMissingImports]

        def mean_of(given, *values):
            pairs = [*zip(variables, values, strict=True)]
            with keras.StatelessScope(state_mapping=pairs):
                found = loss(labels, given)
            return found.mean(), found

        given = (embeddings, *(v.value for v in variables))
        places = tuple(range(len(given)))
        derive = jax.jit(jax.grad(mean_of, argnums=places, has_aux=True))
        gradients, values = derive(*given)
        return values, gradients
    import torch  # pyright: ignore[reportMissingImports]

    given = torch.tensor(embeddings, requires_grad=True)
    values = loss(labels, given)
    for variable in variables:
        variable.value.grad = None
    if values.requires_grad:
        values.mean().backward()
    gradients = [given.grad, *(v.value.grad for v in variables)]
    shapes = [embeddings, *variables]
    return values.detach(), [
        np.zeros(s.shape, "float32") if g is None else g
        for g, s in zip(gradients, shapes, strict=True)
    ]


def main():
    found = {}
    for name, (kind, arguments) in CASES.items():
        for batch, labels, embeddings in batches():
            loss, variables = prepared(kind, arguments, embeddings)
            given = (loss, variables, labels, embeddings)
            values, gradients = value_and_gradients(*given)
            found[f"{name}; {batch}; value"] = np.asarray(values)
            for n, gradient in enumerate(gradients):
                found[f"{name}; {batch}; gradient {n}"] = np.asarray(gradient)
    np.savez(sys.argv[1], **found)


if __name__ == "__main__":
    main()
