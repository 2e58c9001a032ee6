"""Channel attention: one gate over the features for each learner."""

import math
from typing import Any

import keras
import tensorflow as tf

from deml_tf.errors import UsageError


@keras.saving.register_keras_serializable(package="deml_tf")
class ChannelAttention(keras.layers.Layer):
    """Gate a feature map J times, once for each learner.

    A_j = gate_j(U) * U, gate_j(U) = sigmoid(conv1x1_c(relu(conv1x1_{c/8}(U)))) (Chen &
    Deng, CVPR 2019, channel attention; sizes as in the authors' release: 512 -> 64 ->
    512 at inception_4b). Nothing is pooled, so a gate differs from place to place. All
    J gates are computed at once; they share no weight.

    Args:
        num_learners: J, the number of gates.
        reduction: Ratio of U's channels to the hidden layer's; default 8.
        hidden: Channels of each gate's hidden layer; by default c // reduction. (The
            release's other place has 480 -> 64 -> 480.)
        pooled: Whether U is first averaged over space, so that a gate is one number per
            channel, as in squeeze-and-excitation; default False, as in the release.
        bias: Initial bias of the gates' output. 0, the default and the release's value,
            starts every gate near one half; 3 starts them near one, for backbones whose
            frozen BatchNorm does not expect halved features.
        **kwargs: As for any Keras layer.

    Raises:
        UsageError: If a count is below 1.

    Departures from the release: both weights have Glorot's uniform range, sqrt(6 / (fan
    in + fan out)), whereas Caffe's xavier filler uses the fan in alone; `bias`,
    `pooled` and `hidden` can be chosen.
    """

    def __init__(
        self,
        num_learners: int,
        reduction: int = 8,
        hidden: int | None = None,
        pooled: bool = False,
        bias: float = 0.0,
        **kwargs,
    ):
        """Keep the arguments; see the class."""
        super().__init__(**kwargs)
        for name, value in [
            ("num_learners", num_learners),
            ("reduction", reduction),
            ("hidden", hidden),
        ]:
            if value is not None and value < 1:
                raise UsageError(f"{name}={value} is too few; use at least 1.")
        self.num_learners = num_learners
        self.reduction = reduction
        self.hidden = hidden
        self.pooled = pooled
        self.bias = bias

    def build(self, features_shape: tuple[Any, ...]) -> None:
        """Make the weights, with fans counted for each learner separately.

        Args:
            features_shape: (b, h, w, c).
        """
        learners, channels = self.num_learners, features_shape[-1]
        hidden = self.hidden or max(1, channels // self.reduction)
        limit = math.sqrt(6.0 / (channels + hidden))
        glorot = keras.initializers.RandomUniform(-limit, limit)
        self.hidden_kernel = self.add_weight(
            shape=(channels, learners, hidden), initializer=glorot, name="hidden_kernel"
        )
        self.hidden_bias = self.add_weight(
            shape=(learners, hidden), initializer="zeros", name="hidden_bias"
        )
        self.gate_kernel = self.add_weight(
            shape=(learners, hidden, channels),
            initializer=glorot.clone(),
            name="gate_kernel",
        )
        self.gate_bias = self.add_weight(
            shape=(learners, channels),
            initializer=keras.initializers.Constant(self.bias),
            name="gate_bias",
        )
        self.built = True

    def gates(self, features: Any) -> tf.Tensor:
        """Compute the gates alone.

        Args:
            features: (b, h, w, c), U.

        Returns:
            (b, j, h, w, c) within [0, 1]; (b, j, 1, 1, c) when pooled.
        """
        weights = self.hidden_kernel, self.hidden_bias, self.gate_kernel, self.gate_bias
        # Cast as Keras does within `call`.
        features, hidden_kernel, hidden_bias, gate_kernel, gate_bias = (
            tf.cast(tensor, self.compute_dtype) for tensor in (features, *weights)
        )
        if self.pooled:
            features = tf.reduce_mean(features, axis=(1, 2), keepdims=True)
        # r: hidden channels of one gate.
        hidden = tf.einsum("bhwc,cjr->bjhwr", features, hidden_kernel)
        hidden = tf.nn.relu(hidden + hidden_bias[:, None, None, :])
        gates = tf.einsum("bjhwr,jrc->bjhwc", hidden, gate_kernel)
        return tf.sigmoid(gates + gate_bias[:, None, None, :])

    def call(self, features: Any) -> tf.Tensor:
        """Gate the features.

        Args:
            features: (b, h, w, c), U.

        Returns:
            (b, j, h, w, c), A.
        """
        return self.gates(features) * features[:, None]

    def compute_output_shape(self, features_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return (b, j, h, w, c)."""
        batch, *rest = features_shape
        return (batch, self.num_learners, *rest)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "num_learners": self.num_learners,
            "reduction": self.reduction,
            "hidden": self.hidden,
            "pooled": self.pooled,
            "bias": self.bias,
        }
