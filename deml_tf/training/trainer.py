"""The model that is trained: the core, its losses and the alternating step."""

import math
from collections.abc import Sequence
from typing import Any, cast

import keras
import tensorflow as tf

from deml_tf.decoupling import Decoupling, NoDecoupling
from deml_tf.losses.activation_decay import ACTIVATION_DECAY_WEIGHT, activation_decay
from deml_tf.losses.energy_confusion import energy_confusion
from deml_tf.losses.memory import CrossBatchMemory
from deml_tf.losses.replicas import gather_rows
from deml_tf.losses.unit_rows import unit_rows
from deml_tf.models.embedder import scales_and_learners
from deml_tf.training.batch_diagnostics import (
    DIAGNOSTICS,
    embedding_spread,
    learner_cosine,
)

FLAT = "flat_metric_loss"


class Trainer(keras.Model):
    """Trains a core by alternating updates of an opponent and of the core itself.

    The loss is the sum over scales (paper sections 3.3 and 3.4) of

        metric loss of each learner's part, mean over learners
        + the decoupling's terms
        + activation decay + unit rows + energy confusion

    With several replicas the metric loss must take the pairs of all replicas, as those
    of `deml_tf.losses` and energy confusion do; every other term is a mean over images.
    All are divided by the number of replicas, because optimizers add gradients up.

    Besides the losses it logs signs of a collapse, measured over the whole batch and
    without any influence on the training: `embedding_variance` and `effective_rank`,
    see `batch_diagnostics`; `learner_cosine`, with several learners; and
    `flat_point_distance`, |metric loss - flat| / |flat|, where flat is the metric loss
    of the same labels if all embeddings were equal. The last is left out for metric
    losses with weights, and for those whose flat value is 0.

    Args:
        core: What `deml_tf.models.embedder.core_of` returns.
        metric_loss: Keras loss for all scales, on labels `(b,)` and parts `(b, j, d)`;
            or, if it has weights of its own, one layer for each scale with the same
            `call`. The optimizer of the core trains these weights.
        decoupling: What keeps the learners different; with one learner it is not used.
        steps: Steps of the whole training, for what changes in its course; default 1.
        activation_decay_weight: 0.014 by default, as in the release.
        unit_rows_weight: 1, the default, means the release's 0.5 / d per row; a mean
            over learners that have projections of their own. The other regularisers
            apply to learner 1.
        energy_confusion_weight: 0, the default, for none.
        pairs: Those of energy confusion, "global" (default) or "replica".

    Attributes:
        term_weights: Weight of each term in the embedder's loss, by name.
        embedder_variables: What the optimizer of the core trains.
    """

    def __init__(
        self,
        core: keras.Model,
        metric_loss: keras.losses.Loss | Sequence[keras.layers.Layer],
        decoupling: Decoupling | None = None,
        *,
        steps: int = 1,
        activation_decay_weight: float = ACTIVATION_DECAY_WEIGHT,
        unit_rows_weight: float = 1.0,
        energy_confusion_weight: float = 0.0,
        pairs: str = "global",
    ):
        super().__init__()
        self.core = core
        self.steps = steps
        scales, learners = scales_and_learners(core)
        outputs: Any = core.output
        parts_shape = outputs["parts"].shape  # (None, i, j, d)
        self.metric_losses = (
            [metric_loss] * scales
            if isinstance(metric_loss, keras.losses.Loss)
            else list(metric_loss)
        )
        for layer in self.loss_layers:
            cast(Any, layer).build((None,), (None, *parts_shape[2:]))
        # One learner has nothing to be decoupled from.
        several = decoupling is not None and learners > 1
        self.decoupling = decoupling if several else NoDecoupling()
        self.decoupling.build(parts_shape)
        self.projections = [
            core.get_layer(f"scale{i}_projection") for i in range(1, scales + 1)
        ]
        network = core
        if any(getattr(m, "takes_lengths", False) for m in self.metric_losses):
            projected = [projection.output for projection in self.projections]
            network = keras.Model(core.input, {**outputs, "projected": projected})
        # A function, since Keras would save a model of the same layers a second time.
        self._forward = lambda images: network(images, training=True)
        self.term_weights = {"metric_loss": 1.0, **self.decoupling.term_weights}
        if activation_decay_weight:
            self.term_weights["activation_decay"] = activation_decay_weight
        if unit_rows_weight:
            self.term_weights["unit_rows"] = unit_rows_weight
        if energy_confusion_weight:
            self.term_weights["energy_confusion"] = energy_confusion_weight
        self.pairs = pairs
        flat = 0.0
        if not self.loss_layers:
            flat = float(self._flat_loss(tf.constant([0, 0, 1, 1])))
        self.has_flat_point = flat != 0 and math.isfinite(flat)
        absent = {
            "learner_cosine": learners == 1,
            "flat_point_distance": not self.has_flat_point,
        }
        shown = [name for name in DIAGNOSTICS if not absent.get(name)]
        self.trackers = {
            name: keras.metrics.Mean(name=name)
            for name in ("loss", *self.term_weights, *shown)
        }
        self.built = True

    @property
    def loss_layers(self) -> list[keras.layers.Layer]:
        """Return the metric losses that have weights of their own."""
        return [m for m in self.metric_losses if isinstance(m, keras.layers.Layer)]

    @property
    def embedder_variables(self) -> list[keras.Variable]:
        """Return the trainable variables of the core and of its metric losses."""
        layers = [self.core, *self.loss_layers]
        return [v for layer in layers for v in layer.trainable_variables]

    @property
    def metrics(self) -> list[keras.Metric]:
        """Return the means of losses and diagnostics since they were last reset."""
        return list(self.trackers.values())

    def call(self, images: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        """Return the core's outputs for prepared images `(b, s, s, 3)`."""
        return self.core(images, training=training)

    def compile(self, optimizer: keras.Optimizer, **kwargs: Any) -> None:
        """Take the optimizer of the core and build it.

        Args:
            optimizer: Optimizer of the core and of its metric losses.
            **kwargs: Further arguments of `keras.Model.compile`.
        """
        super().compile(optimizer=optimizer, jit_compile=False, **kwargs)
        # Built now and not in the first step, which is traced.
        self.optimizer.build(self.embedder_variables)

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Run forward once, update the opponent, then the embedder."""
        images, labels = data
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        variables = self.embedder_variables

        with tf.GradientTape() as tape:
            outputs = self._forward(images)
            # Losses are computed in float32, whatever the network's type.
            parts = _float32(tf.unstack(outputs["parts"], axis=1))  # I x (b, j, d)
            projected = _float32(outputs.get("projected", ()))
            pooled = tf.unstack(outputs["pooled"], axis=1)  # I x (b, c)
            with tape.stop_recording():
                self.decoupling.oppose([tf.stop_gradient(p) for p in parts])
            losses = self._terms(labels, parts, pooled, projected)
            weighted = [self.term_weights[name] * losses[name] for name in losses]
            # Not `tf.add_n`, nor `+`, of which Grappler makes one: it begins with
            # whichever term nothing else holds by then, so the last bit would vary.
            loss = tf.reduce_sum(tf.stack(weighted)) / replicas

        joint_variables = self.decoupling.joint_variables
        gradients: Any = tape.gradient(loss, [*variables, *joint_variables])
        gradients, joint = gradients[: len(variables)], gradients[len(variables) :]
        self.decoupling.apply_joint(joint)
        self.optimizer.apply(gradients, variables)

        # Over the whole batch, so that all replicas log, and stop at, the same numbers.
        seen = self._diagnostics(labels, outputs)
        logged = _mean_of_replicas({"loss": loss * replicas, **losses, **seen})
        if self.has_flat_point:
            flat = logged.pop(FLAT)
            ratio = tf.math.divide_no_nan(logged["metric_loss"] - flat, flat)
            logged["flat_point_distance"] = tf.abs(ratio)
        for name, value in logged.items():
            self.trackers[name].update_state(value)
        return {m.name: m.result() for m in self.metrics}

    def _diagnostics(
        self, labels: tf.Tensor, outputs: dict[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Measure a collapse; under `FLAT`, the metric loss of equal embeddings."""
        embeddings = gather_rows(tf.cast(outputs["embedding"], tf.float32))
        variance, rank = embedding_spread(embeddings)
        seen = {"embedding_variance": variance, "effective_rank": rank}
        if "learner_cosine" in self.trackers:
            parts = tf.cast(outputs["parts"], tf.float32)
            seen["learner_cosine"] = learner_cosine(parts)
        if self.has_flat_point:
            seen[FLAT] = self._flat_loss(labels)
        return seen

    def _flat_loss(self, labels: tf.Tensor) -> tf.Tensor:
        """Return the metric loss, summed over scales, if all embeddings were equal.

        For losses without weights. One learner stands for all, and the first axis for
        any direction.
        """
        outputs: Any = self.core.output
        first = tf.one_hot(tf.zeros_like(labels), outputs["parts"].shape[-1])
        loss: Any = self.metric_losses[0]
        value = tf.reduce_mean(loss.call(labels, first[:, None]))  # of (b, 1, d)
        return len(self.metric_losses) * value

    def _terms(
        self,
        labels: tf.Tensor,
        parts: Sequence[tf.Tensor],
        pooled: Sequence[tf.Tensor],
        projected: Sequence[tf.Tensor],
    ) -> dict[str, tf.Tensor]:
        """Return every term of the loss, unweighted, summed over scales.

        The metric loss is computed from the parts, or from `projected`, if there are
        any: the parts before they are made unit vectors.
        """
        every = [[tf.convert_to_tensor(k) for k in p.kernels] for p in self.projections]
        kernels = [own[0] for own in every]
        done = tf.cast(self.optimizer.iterations, tf.float32) / self.steps
        metric = [
            tf.reduce_mean(_values(loss, labels, p))
            for loss, p in zip(self.metric_losses, projected or parts, strict=True)
        ]
        losses = {"metric_loss": tf.add_n(metric), **self.decoupling.terms(parts, done)}
        if "activation_decay" in self.term_weights:
            decays = [
                tf.reduce_mean(activation_decay(x, kernel))
                for x, kernel in zip(pooled, kernels, strict=True)
            ]
            losses["activation_decay"] = tf.add_n(decays)
        if "unit_rows" in self.term_weights:
            rows = [tf.stack([unit_rows(kernel) for kernel in own]) for own in every]
            losses["unit_rows"] = tf.add_n([tf.reduce_mean(own) for own in rows])
        if "energy_confusion" in self.term_weights:
            energies = [
                tf.reduce_mean(energy_confusion(labels, x, kernel, pairs=self.pairs))
                for x, kernel in zip(pooled, kernels, strict=True)
            ]
            losses["energy_confusion"] = tf.add_n(energies)
        return losses


def _values(loss: Any, labels: tf.Tensor, parts: tf.Tensor) -> tf.Tensor:
    """Return the metric loss of each image, `(b,)`; a memory stores the images."""
    # `call`, not the loss itself, which would divide by the replicas once more.
    if isinstance(loss, CrossBatchMemory):
        return loss.call(labels, parts, training=True)
    return loss.call(labels, parts)


def _float32(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return [tf.cast(tensor, tf.float32) for tensor in tensors]


def _mean_of_replicas(losses: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Return the means over replicas of their losses, in one exchange."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return losses
    stacked = replica.all_reduce("mean", tf.stack(list(losses.values())))
    return dict(zip(losses, tf.unstack(stacked), strict=True))
