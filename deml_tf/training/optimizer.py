"""Adam and AdamW with learning-rate multipliers by variable group and coupled L2."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="deml_tf")
class GroupedAdam(keras.optimizers.Adam):
    """Adam as the release uses it: L2 in the gradient, rates by group.

    The gradient of `l2 / 2 * ||w||^2` is added to that of every weight matrix or kernel
    before the moments see it (coupled, unlike AdamW), but not to that of biases and
    BatchNorm's vectors; clipping comes first, as in Caffe. A variable's rate is
    `learning_rate` times its group's multiplier. With several replicas the sum of their
    gradients is clipped, where Keras clips each replica's own.

    With a weight decay it is AdamW (Loshchilov & Hutter, "Decoupled Weight Decay
    Regularization", ICLR 2019): each step also takes the share
    `learning_rate * multiplier * weight_decay` off the variables that L2 is for.

    A variable's moments and values are updated by one operation (TensorFlow's
    ApplyAdam), in one pass over its memory in place of about ten.

    Args:
        learning_rate: A float or a schedule; default 1e-5, a hundredth of Keras's.
        multipliers: Dict from regular expressions, searched for in `variable.path`, to
            multipliers; the first that is found counts, no match means 1.
        l2: Weight of the coupled L2 term; default 0.
        own_l2: Dict from regular expressions, searched for in `variable.path`, to
            weights that replace `l2`. Variables that match have no weight decay.
        weight_decay: Weight of the decoupled decay; None, the default, means none.
        **kwargs: Further arguments of `keras.optimizers.Adam`.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-5,
        multipliers: Mapping[str, float] | None = None,
        l2: float = 0.0,
        own_l2: Mapping[str, float] | None = None,
        weight_decay: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, weight_decay=weight_decay, **kwargs)
        self.multipliers = dict(multipliers or {})
        self.l2 = l2
        self.own_l2 = dict(own_l2 or {})

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Resolve each variable's multiplier and L2 weight once."""
        super().build(variables)
        self._rates = [_first_found(self.multipliers, v.path, 1.0) for v in variables]
        # The bias of several heads or gates has a rank above 1, too.
        kernels = [len(v.shape) > 1 and not v.name.endswith("bias") for v in variables]
        self._decays = [
            _first_found(self.own_l2, v.path, self.l2) if is_kernel else 0.0
            for v, is_kernel in zip(variables, kernels, strict=True)
        ]
        owned = dict.fromkeys(self.own_l2, 0.0)
        self._weight_decays = [
            _first_found(owned, v.path, self.weight_decay or 0.0)
            if is_kernel and self._use_weight_decay(v)
            else 0.0
            for v, is_kernel in zip(variables, kernels, strict=True)
        ]

    def apply(
        self,
        grads: Sequence[tf.Tensor | None],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        """Update the variables by gradients of which each replica has a part."""
        # TensorFlow sums the replicas' gradients in one type, but a metric loss's
        # weights and an embedder in float64 may have different ones.
        given = [g for g in grads if g is not None]  # Keras warns about the others
        widest: Any = max((g.dtype for g in given), key=lambda d: d.size, default=None)
        given = [tf.cast(g, widest) for g in given]
        clips = self.clipnorm or self.global_clipnorm or self.clipvalue
        replica = tf.distribute.get_replica_context()
        if clips and replica is not None and replica.num_replicas_in_sync > 1:
            # The clipped sum is equal on all replicas, over which Keras then adds up.
            scale = self.loss_scale_factor or 1.0  # Keras divides by it later
            sums = [g / scale for g in replica.all_reduce("sum", given)]
            share = scale / replica.num_replicas_in_sync
            given = [g * share for g in self._clip_gradients(sums)]
        rest = iter(given)
        applied: Any = [None if g is None else next(rest) for g in grads]
        super().apply(applied, trainable_variables)

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        """Update one variable."""
        index = self._get_variable_index(variable)
        if self._decays[index]:
            gradient = gradient + self._decays[index] * keras.ops.cast(
                variable, gradient.dtype
            )
        learning_rate = learning_rate * self._rates[index]
        if self._weight_decays[index]:
            share = tf.cast(learning_rate * self._weight_decays[index], variable.dtype)
            variable.assign_sub(share * variable)
        if self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        dtype = variable.dtype
        step = tf.cast(tf.convert_to_tensor(self.iterations) + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.constant(self.beta_1, dtype), step),
            beta2_power=tf.pow(tf.constant(self.beta_2, dtype), step),
            lr=tf.cast(learning_rate, dtype),
            beta1=tf.constant(self.beta_1, dtype),
            beta2=tf.constant(self.beta_2, dtype),
            epsilon=tf.constant(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
            use_locking=True,
        )

    def _apply_weight_decay(self, variables: Sequence[keras.Variable]) -> None:
        """Do nothing: Keras would decay all alike; `update_step` uses each rate."""

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "multipliers": self.multipliers,
            "l2": self.l2,
            "own_l2": self.own_l2,
        }


def _first_found(by_pattern: Mapping[str, float], path: str, default: float) -> float:
    """Return the value of the first pattern that is found in a path."""
    found = (v for pattern, v in by_pattern.items() if re.search(pattern, path))
    return next(found, default)
