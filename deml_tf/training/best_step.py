"""The step whose weights are kept, chosen on classes held out of training."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import keras
import tensorflow as tf

from deml_tf.cli import termination
from deml_tf.config import TrainConfig
from deml_tf.data.batches import class_ids
from deml_tf.data.example import Example
from deml_tf.errors import UsageError
from deml_tf.models.embedder import core_of
from deml_tf.retrieval.embedding import embed, inference
from deml_tf.retrieval.metrics import evaluate
from deml_tf.training.workers import Workers


def check_patience(train: TrainConfig, has_validation: bool) -> None:
    """Refuse patience if there are no validation classes to choose a step by.

    Args:
        train: Says the patience.
        has_validation: Whether there are validation classes, or may be.

    Raises:
        UsageError: Patience is given, and there are none.
    """
    if train.patience and not has_validation:
        raise UsageError(
            f"patience={train.patience} needs validation classes: give "
            f"validation_classes=0.1, or leave out patience={train.patience}."
        )


class ChooseBestStep(keras.callbacks.Callback):
    """Scores the validation classes and keeps the weights of the best step.

    The best step has the highest MAP@R. Recall@1 among a few held-out classes is near 1
    and hides what still changes.

    Its `state` and what it has `kept` belong in the checkpoint, so that a resumed run
    chooses as an uninterrupted one does. SIGTERM ends a scoring, and the resumed run
    begins by repeating it.

    Args:
        embedder: The model that is scored.
        examples: Images of the validation classes.
        train: `evaluate_every`, the steps between scorings; `steps`, the last of which
            is scored as well; `patience`, the number of scorings without a better one
            after which the training stops.
        embedding: Keyword arguments of `embed`.
        workers: Their writer scores and saves; all stop together.
    """

    def __init__(
        self,
        embedder: keras.Model,
        examples: Sequence[Example],
        train: TrainConfig,
        embedding: Mapping[str, Any],
        workers: Workers,
    ):
        super().__init__()
        self.embedder = embedder
        # Only where it is needed, since this copy of the network takes time and memory.
        self.inference = inference(embedder) if examples and workers.is_writer else None
        self.examples = examples
        self.labels, _ = class_ids(examples)
        self.train = train
        self.embedding = embedding
        self.workers = workers
        self.begin(0, lambda record: None)
        self.state = tf.train.Checkpoint(
            best=tf.Variable(tf.constant(-1.0, tf.float64), trainable=False),
            best_step=tf.Variable(tf.constant(0, tf.int64), trainable=False),
            scorings_since=tf.Variable(tf.constant(0, tf.int64), trainable=False),
        )
        core = core_of(embedder)
        with tf.device("CPU:0"):
            self.kept = tf.train.Checkpoint(
                scored_step=tf.Variable(tf.constant(0, tf.int64), trainable=False),
                weights=[
                    tf.Variable(value, trainable=False)
                    for value in (core.get_weights() if examples else ())
                ],
            )

    def begin(
        self, first_step: int, write: Callable[[Mapping[str, float]], None]
    ) -> None:
        """Prepare a `fit`.

        Args:
            first_step: Steps done before this `fit`.
            write: Function that takes the scores by name, for the journal.
        """
        self.step = first_step
        self.write = write

    def take_best(self) -> None:
        """Put the weights of the best step into the embedder."""
        core_of(self.embedder).set_weights([v.numpy() for v in self.kept.weights])

    def why_stopped(self) -> str:
        """Say why the training ended before its last step; nothing if it did not."""
        step, steps = int(self.kept.scored_step), self.train.steps
        if step == steps or not self._has_no_patience():
            return ""
        return (
            f"Stopped at step {step} of {steps}: no better MAP@R since step "
            f"{int(self.state.best_step)} (patience={self.train.patience})."
        )

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Score now if SIGTERM came before the last step was scored."""
        if self._is_due() and int(self.kept.scored_step) < self.step:
            self._score_together()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Score every so many steps."""
        self.step += 1
        if self._is_due():
            self._score_together()

    def score(self) -> bool:
        """Score now, and keep the weights if they are the best so far.

        Returns:
            Whether `patience` is exhausted.

        Raises:
            Terminated: SIGTERM has come; nothing was chosen.
        """
        forward = cast(Any, self.inference)()

        def unless_asked(images: tf.Tensor) -> Any:
            if termination.asked():
                raise termination.Terminated
            return forward(images)

        embeddings = embed(unless_asked, self.examples, **self.embedding)
        scores = evaluate(embeddings, self.labels, (1,))
        names = ("recall_at_1", "map_at_r")
        self.write({f"validation_{name}": scores[name] for name in names})
        state = self.state
        if scores["map_at_r"] > float(state.best):
            self._keep()
            state.best.assign(scores["map_at_r"])
            state.best_step.assign(self.step)
            state.scorings_since.assign(0)
        else:
            state.scorings_since.assign_add(1)
        self.kept.scored_step.assign(self.step)
        return self._has_no_patience()

    def _has_no_patience(self) -> bool:
        patience = self.train.patience
        return bool(patience) and int(self.state.scorings_since) >= patience

    def _is_due(self) -> bool:
        every = cast(int, self.train.evaluate_every)
        return self.step > 0 and (
            self.step % every == 0 or self.step == self.train.steps
        )

    def _score_together(self) -> None:
        stops = False
        if self.workers.is_writer:
            with contextlib.suppress(termination.Terminated):
                stops = self.score()
        if self.workers.agree(stops):
            self.model.stop_training = True

    def _keep(self) -> None:
        weights = core_of(self.embedder).get_weights()
        for kept, value in zip(self.kept.weights, weights, strict=True):
            kept.assign(value)
