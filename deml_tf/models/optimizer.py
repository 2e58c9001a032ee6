"""Adam with learning-rate multipliers by variable group and coupled L2."""

import re

import keras


@keras.saving.register_keras_serializable(package="deml_tf")
class GroupedAdam(keras.optimizers.Adam):
    """Adam as the release uses it: L2 in the gradient, rates by group.

    The gradient of `l2 / 2 * ||w||^2` is added to that of every weight matrix or
    kernel before the moments see it (coupled, unlike AdamW), none to biases and
    BatchNorm's vectors; clipping acts before, as in Caffe. A variable's step is
    `learning_rate` times its group's multiplier.

    Args:
        learning_rate: A float or a schedule.
        multipliers: Dict of regular expressions, searched for in `variable.path`,
            to multipliers; the first that is found counts, no match means 1.
        l2: Weight of the coupled L2 term.
        **kwargs: Further arguments of `keras.optimizers.Adam`.
    """

    def __init__(self, learning_rate=1e-5, multipliers=None, l2=0.0, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.multipliers = dict(multipliers or {})
        self.l2 = l2

    def build(self, variables):
        """Resolves each variable's multiplier and L2 weight once."""
        super().build(variables)
        self._rates = [self._multiplier(v.path) for v in variables]
        # A bias of several heads (Keras's attention) has a rank above 1, too.
        self._decays = [
            self.l2 if len(v.shape) > 1 and v.name != "bias" else 0.0 for v in variables
        ]

    def _multiplier(self, path):
        for pattern, multiplier in self.multipliers.items():
            if re.search(pattern, path):
                return multiplier
        return 1.0

    def update_step(self, gradient, variable, learning_rate):
        """One variable's update."""
        index = self._get_variable_index(variable)
        if self._decays[index]:
            gradient = gradient + self._decays[index] * keras.ops.cast(
                variable, gradient.dtype
            )
        super().update_step(gradient, variable, learning_rate * self._rates[index])

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "multipliers": self.multipliers, "l2": self.l2}
