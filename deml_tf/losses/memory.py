"""A memory of the embeddings of past batches: more pairs for a pair loss."""

from typing import Any

import keras

from deml_tf.errors import UsageError
from deml_tf.losses.class_numbers import class_numbers
from deml_tf.losses.keras_ops import ops
from deml_tf.losses.loss_layer import LossLayer
from deml_tf.losses.pair_loss import (
    PairLoss,
    check_above_zero,
    check_not_negative,
)
from deml_tf.losses.pairs import by_learner
from deml_tf.losses.replicas import gather_rows


@keras.saving.register_keras_serializable(package="deml_tf")
class CrossBatchMemory(LossLayer):
    """A pair loss on a batch, and on the batch against the images of past batches.

    For each anchor

        loss among the batch + weight * loss against the memory

    after which the whole batch, over all replicas, replaces the oldest images in the
    memory. No gradient flows to the memory. Wang et al. (CVPR 2020) call it XBM:
    embeddings drift slowly once training has settled, so the first `start` steps go
    without it. Called as a layer it adds its loss to the model's, see `LossLayer`.

    Departure from the authors' release: the release puts a batch into the memory first,
    and so compares it with itself there too.

    Args:
        loss: Any pair loss of deml_tf, such as `MultiSimilarity()`.
        size: Number of images remembered, at least 1.
        weight: Weight of the loss against the memory, at least 0.
        start: Number of training steps before the memory begins to fill, by default
            1,000: give less in a shorter training.
        **kwargs: As for any Keras layer.

    Raises:
        UsageError: If the loss is not a pair loss, or a number is out of its range.
    """

    def __init__(
        self,
        loss: PairLoss,
        size: int,
        weight: float = 1.0,
        start: int = 1000,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not isinstance(loss, PairLoss):
            raise UsageError(
                f"loss={type(loss).__name__}: it compares no pairs, so there is "
                "nothing to remember; take a pair loss."
            )
        check_above_zero(size=size)
        check_not_negative(weight=weight, start=start)
        self.loss, self.size, self.weight, self.start = loss, size, weight, start
        self.takes_lengths = getattr(loss, "takes_lengths", False)

    def build(self, labels_shape: Any, embeddings_shape: Any) -> None:
        """Make the memory, empty.

        Args:
            labels_shape: Not used.
            embeddings_shape: `(b, d)` or `(b, j, d)`.
        """
        learners = embeddings_shape[1] if len(embeddings_shape) == 3 else 1
        for name, shape, dtype in (
            ("embeddings", (self.size, learners, embeddings_shape[-1]), "float32"),
            ("labels", (self.size,), "int64"),
            ("remembered", (), "int64"),  # images so far, including those replaced
            ("steps", (), "int64"),
        ):
            variable = self.add_weight(
                name=name,
                shape=shape,
                dtype=dtype,
                initializer="zeros",
                trainable=False,
                # All replicas write the same values, each into its own copy: the memory
                # is not sent from one to the others.
                aggregation="none",
            )
            setattr(self, name, variable)

    def call(self, labels: Any, embeddings: Any, training: bool = False) -> Any:
        """Return one value for each image, `(b,)`.

        Args:
            labels: `(b,)` or `(b, 1)`, whole numbers.
            embeddings: `(b, d)` or `(b, j, d)`.
            training: Whether the batch is put into the memory; default False. Keras's
                `fit` sets it; in a training loop of your own, pass `training=True`.
        """
        values = self.loss.call(labels, embeddings)
        remembered = ops.convert_to_tensor(self.remembered)
        there = ops.arange(self.size, dtype="int64") < remembered
        memory = [ops.convert_to_tensor(v) for v in (self.labels, self.embeddings)]
        against = self.loss.call(labels, embeddings, references=(*memory, there))
        if training:
            self._remember(labels, embeddings)
        return values + self.weight * against

    def compute_output_spec(
        self, labels: Any, embeddings: Any, training: bool = False
    ) -> Any:
        """Return `(b,)`, without a call that would remember a symbolic batch."""
        return keras.KerasTensor((embeddings.shape[0],), "float32")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "loss": keras.saving.serialize_keras_object(self.loss),
            "size": self.size,
            "weight": self.weight,
            "start": self.start,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "CrossBatchMemory":
        """Make the layer again from what `get_config` returns."""
        loss: Any = keras.saving.deserialize_keras_object(config["loss"])
        return cls(**{**config, "loss": loss})

    def _remember(self, labels: Any, embeddings: Any) -> None:
        """Replace the oldest images by the batch of all replicas."""
        # Of a batch larger than the memory, only the last images.
        labels = ops.cast(gather_rows(class_numbers(labels)), "int64")[-self.size :]
        rows = ops.stop_gradient(gather_rows(by_learner(embeddings)))[-self.size :]
        steps = ops.convert_to_tensor(self.steps)
        first = ops.convert_to_tensor(self.remembered)
        count = ops.cast(ops.shape(labels)[0], "int64")
        # A NaN, or a row too long for float32, would spoil every later step, even if
        # the optimizer skipped the step that it came from.
        is_sound = ops.all(ops.isfinite(ops.sum(ops.square(rows), axis=-1)))
        started = ops.logical_and(steps >= self.start, is_sound)
        # Which image of the batch goes to each place. No scatter, which TensorFlow
        # runs on the CPU if a GPU has to be deterministic.
        image = (ops.arange(self.size, dtype="int64") - first) % self.size
        comes = ops.logical_and(started, image < count)
        image = ops.minimum(image, count - 1)
        for variable, new, own in (
            (self.labels, labels, comes),
            (self.embeddings, rows, comes[:, None, None]),
        ):
            variable.assign(ops.where(own, ops.take(new, image, axis=0), variable))
        self.remembered.assign(first + ops.cast(started, "int64") * count)
        self.steps.assign(steps + 1)
