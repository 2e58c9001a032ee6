"""Twins of models, for inference only: folded weights, and XLA where it is faster."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from deml_tf.kernels.convolution import Convolution
from deml_tf.kernels.layers_within import layers_within
from deml_tf.kernels.normed_convolution import NormedConvolution
from deml_tf.kernels.response_norm import ResponseNorm


def inference_twins(
    *models: keras.Model, compiled: bool
) -> tuple[list[keras.Model], Callable[[], None]]:
    """Copy models for inference; the copies share every layer that is not replaced.

    A layer with a kernel and a bias computed beforehand replaces each `Convolution` and
    `NormedConvolution`, so that calls need not compute them again. The twins' outputs
    are bit for bit those of the models in inference; with `compiled` they agree except
    for rounding.

    Args:
        *models: Functional models; layers that they share stay shared.
        compiled: Whether XLA computes each `ResponseNorm`: for scoring, but not for an
            export that must run without XLA.

    Returns:
        The twins, and a function that reads the models' weights again: call it after
        they have changed.
    """
    twins: dict[int, Any] = {}
    folded: list[_FoldedConvolution] = []

    def make(layer: Any):
        if isinstance(layer, Convolution | NormedConvolution):
            folded.append(_FoldedConvolution(layer))
            return folded[-1]
        if compiled and isinstance(layer, ResponseNorm):
            return layer.compiled_twin()
        if isinstance(layer, keras.Model) and any(
            isinstance(inner, Convolution | NormedConvolution | ResponseNorm)
            for inner in layers_within(layer)
        ):
            return keras.models.clone_model(layer, clone_function=twin_of)
        return layer

    def twin_of(layer: Any):
        if id(layer) not in twins:
            twins[id(layer)] = make(layer)
        return twins[id(layer)]

    found = [twin_of(model) for model in models]
    fold = tf.function(lambda: [layer.fold() for layer in folded], autograph=False)

    def update():
        for layer, tensors in zip(folded, fold(), strict=True):
            layer.hold(tensors)

    update()
    return found, update


class _FoldedConvolution(keras.layers.Layer):
    """Convolves as another layer does, with that layer's weights folded beforehand."""

    def __init__(self, layer: Convolution | NormedConvolution):
        super().__init__(name=layer.name, dtype=layer.dtype_policy, trainable=False)
        # Its methods, as Keras would track the layer itself and save its weights.
        self.fold, self._convolve = layer.fold, layer.convolve
        self._output_shape = layer.compute_output_shape
        self._held = [
            self.add_weight(
                shape=tensor.shape,
                dtype=self.compute_dtype,
                initializer="zeros",
                trainable=False,
                name=name,
            )
            for name, tensor in zip(("kernel", "bias"), layer.fold(), strict=True)
        ]
        self.built = True

    def hold(self, tensors: Any) -> None:
        """Keep a kernel and a bias."""
        for variable, tensor in zip(self._held, tensors, strict=True):
            variable.assign(tensor)

    def call(self, x: Any) -> Any:
        """Convolve x (b, h, w, c)."""
        kernel, bias = map(tf.convert_to_tensor, self._held)
        return self._convolve(x, kernel, bias)

    def compute_output_shape(self, x_shape: Any) -> Any:
        """Return (b, h', w', filters)."""
        return self._output_shape(x_shape)
