"""The model that is trained: the core, its adversaries and the alternating step."""

import keras
import tensorflow as tf

from deml_tf.errors import UsageError
from deml_tf.layers.adversary import Adversary
from deml_tf.layers.gradient_reversal import GradientReversal
from deml_tf.losses.activation_decay import ACTIVATION_DECAY_WEIGHT, activation_decay
from deml_tf.losses.learner_hinge import LEARNER_HINGE_WEIGHT, learner_hinge
from deml_tf.losses.predictability import predictability
from deml_tf.losses.unit_rows import unit_rows
from deml_tf.models.embedder import scales_and_learners

DECOUPLINGS = ("hinge", "adversary", "reversal", "none")


class Trainer(keras.Model):
    """Trains a core by alternating the adversaries' and the metric update.

    Per scale (paper sections 3.3 and 3.4; constants of the release):

        metric loss of each learner's part, mean over learners
        + decoupling, one of
            hinge      weight * hinge on distances between learners
            adversary  - weight * adversary loss, predictors held still
            reversal   the same through a gradient-reversal layer in one backward
                       pass, ramped up over the training
        + activation decay + unit rows

    and the sum over scales. Under several replicas the metric loss must be one of
    `deml_tf.losses`, whose pairs span replicas; every other term is a mean over
    images, and all are divided by the number of replicas because optimizers
    add gradients up.

    Args:
        core: What `deml_tf.models.embedder.core_of` gives.
        metric_loss: Keras loss on labels `(b,)` and parts `(b, j, d)`.
        decoupling: "hinge", "adversary", "reversal" or "none".
        decoupling_weight: Weight of the decoupling term: the release's 0.2 for its
            hinge, and for lack of a published one the same for the adversary.
        adversary_steps: Adversary updates for one metric update.
        adversary_hidden: Hidden units of each predictor.
        ramp_steps: Steps of the whole training, which `reversal` ramps over.
        activation_decay_weight: 0.014 in the release.
        unit_rows_weight: 1 means the release's 0.5 / d a row.
    """

    def __init__(
        self,
        core,
        metric_loss,
        decoupling="hinge",
        decoupling_weight=LEARNER_HINGE_WEIGHT,
        adversary_steps=1,
        adversary_hidden=256,
        ramp_steps=1,
        activation_decay_weight=ACTIVATION_DECAY_WEIGHT,
        unit_rows_weight=1.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if decoupling not in DECOUPLINGS:
            raise UsageError(
                f"decoupling is {decoupling!r}: use one of {', '.join(DECOUPLINGS)}."
            )
        self.core = core
        self.metric_loss = metric_loss
        self.scales, self.learners = scales_and_learners(core)
        if self.learners == 1:
            decoupling = "none"  # one learner has nothing to be decoupled from
        self.decoupling = decoupling
        # What each loss counts for in the embedder's update.
        self.term_weights = {"metric_loss": 1.0}
        if decoupling == "hinge":
            self.term_weights["hinge_loss"] = decoupling_weight
        elif decoupling == "adversary":
            self.term_weights["adversary_loss"] = -decoupling_weight
        elif decoupling == "reversal":
            self.term_weights["adversary_loss"] = 1.0  # the layer turns and weighs it
        if activation_decay_weight:
            self.term_weights["activation_decay"] = activation_decay_weight
        if unit_rows_weight:
            self.term_weights["unit_rows"] = unit_rows_weight
        self.decoupling_weight = decoupling_weight
        self.adversary_steps = adversary_steps
        self.ramp_steps = ramp_steps
        self.projections = [
            core.get_layer(f"scale{i}_projection") for i in range(1, self.scales + 1)
        ]
        part_dim = core.output["parts"].shape[-1]
        self.adversaries = []
        if decoupling in ("adversary", "reversal"):
            for i in range(1, self.scales + 1):
                adversary = Adversary(
                    self.learners,
                    part_dim,
                    hidden=adversary_hidden,
                    dtype="float32",
                    name=f"scale{i}_adversary",
                )
                adversary.build((None, self.learners, part_dim))
                self.adversaries.append(adversary)
        self.reversal = GradientReversal(dtype="float32")
        self.trackers = {
            name: keras.metrics.Mean(name=name) for name in ("loss", *self.term_weights)
        }
        self.built = True

    def call(self, images, training=False):
        """The core's outputs for prepared images `(b, s, s, 3)`."""
        return self.core(images, training=training)

    def compile(self, optimizer, adversary_optimizer=None, **kwargs):
        """Takes the two optimizers and builds each on its own variables.

        Args:
            optimizer: Of the core.
            adversary_optimizer: Of the adversaries; needed where there are any.
            **kwargs: Further arguments of `keras.Model.compile`.
        """
        super().compile(optimizer=optimizer, jit_compile=False, **kwargs)
        if self.adversaries and adversary_optimizer is None:
            raise UsageError(
                f"decoupling={self.decoupling!r} needs an adversary_optimizer."
            )
        self.adversary_optimizer = adversary_optimizer
        # Built here, not at the first step: see the README, "For maintainers".
        self.optimizer.build(self.core.trainable_variables)
        if self.adversaries:
            self.adversary_optimizer.build(self.adversary_variables)

    @property
    def adversary_variables(self):
        """Trainable variables of all scales' adversaries."""
        return [v for a in self.adversaries for v in a.trainable_variables]

    @property
    def metrics(self):
        """Means of the losses since they were last reset."""
        return list(self.trackers.values())

    def train_step(self, data):
        """Forward once, update the adversaries, then the embedder."""
        images, labels = data
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        embedder_variables = self.core.trainable_variables
        adversary_variables = self.adversary_variables

        with tf.GradientTape() as tape:
            outputs = self.core(images, training=True)
            parts = tf.unstack(outputs["parts"], axis=1)  # I x (b, j, d)
            pooled = tf.unstack(outputs["pooled"], axis=1)  # I x (b, c)
            if self.decoupling == "adversary":
                with tape.stop_recording():
                    self._update_adversaries(parts, replicas)
            losses = self._terms(labels, parts, pooled)
            loss = (
                tf.add_n([self.term_weights[n] * losses[n] for n in losses]) / replicas
            )

        if self.decoupling == "reversal":
            variables = [embedder_variables, adversary_variables]
            gradients, adversary_gradients = tape.gradient(loss, variables)
            self.adversary_optimizer.apply(adversary_gradients, adversary_variables)
        else:
            gradients = tape.gradient(loss, embedder_variables)
        self.optimizer.apply(gradients, embedder_variables)

        # Over the whole batch, so that all replicas log, and stop at, the same numbers.
        losses = _mean_of_replicas({"loss": loss * replicas, **losses})
        for name, value in losses.items():
            self.trackers[name].update_state(value)
        return {m.name: m.result() for m in self.metrics}

    def _update_adversaries(self, parts, replicas):
        """Minimises the adversary loss over the predictors, embeddings detached."""
        variables = self.adversary_variables
        detached = [tf.stop_gradient(p) for p in parts]
        for _ in range(self.adversary_steps):
            with tf.GradientTape() as tape:
                loss = self._adversary_loss(detached) / replicas
            self.adversary_optimizer.apply(tape.gradient(loss, variables), variables)

    def _adversary_loss(self, parts):
        """How badly the predictors do: sum over scales of 1 - mean cosine."""
        return tf.add_n(
            [
                tf.reduce_mean(predictability(adversary(p), p))
                for adversary, p in zip(self.adversaries, parts, strict=True)
            ]
        )

    def _terms(self, labels, parts, pooled):
        """Every loss that counts, unweighted, summed over scales."""
        kernels = [tf.convert_to_tensor(p.kernels[0]) for p in self.projections]
        # `call`, not the loss itself: that would divide by the replicas once more.
        metric = [tf.reduce_mean(self.metric_loss.call(labels, p)) for p in parts]
        losses = {"metric_loss": tf.add_n(metric)}
        if self.decoupling == "hinge":
            losses["hinge_loss"] = tf.add_n(
                [tf.reduce_mean(learner_hinge(p)) for p in parts]
            )
        elif self.decoupling == "adversary":
            losses["adversary_loss"] = self._adversary_loss(parts)
        elif self.decoupling == "reversal":
            scale = self.decoupling_weight * self._ramp()
            losses["adversary_loss"] = self._adversary_loss(
                [self.reversal(p, scale) for p in parts]
            )
        if "activation_decay" in self.term_weights:
            losses["activation_decay"] = tf.add_n(
                [
                    tf.reduce_mean(activation_decay(x, kernel))
                    for x, kernel in zip(pooled, kernels, strict=True)
                ]
            )
        if "unit_rows" in self.term_weights:
            losses["unit_rows"] = tf.add_n([unit_rows(kernel) for kernel in kernels])
        return losses

    def _ramp(self):
        """2 / (1 + exp(-10 p)) - 1 with p the part of the training done."""
        done = tf.cast(self.optimizer.iterations, tf.float32) / self.ramp_steps
        return 2.0 / (1.0 + tf.exp(-10.0 * done)) - 1.0


def _mean_of_replicas(losses):
    """The means over replicas of their losses, in one exchange."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return losses
    stacked = replica.all_reduce("mean", tf.stack(list(losses.values())))
    return dict(zip(losses, tf.unstack(stacked), strict=True))
