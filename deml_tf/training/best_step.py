"""The step whose weights are kept, chosen on classes held out of training."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import keras
import tensorflow as tf

from deml_tf.config import TrainConfig
from deml_tf.data.batches import class_ids
from deml_tf.data.example import Example
from deml_tf.models.embedder import core_of
from deml_tf.retrieval.embedding import embed, inference
from deml_tf.retrieval.metrics import evaluate
from deml_tf.runs.atomic import save_atomically
from deml_tf.training.workers import Workers


class ChooseBestStep(keras.callbacks.Callback):
    """Scores the validation classes and keeps the weights of the best step.

    The best step has the highest MAP@R. Recall@1 among a few held-out classes is near 1
    and hides what still changes.

    Its `state` belongs into the checkpoint: then a resumed run chooses as an
    undisturbed one does.

    Args:
        embedder: The model that is scored.
        examples: Images of the validation classes.
        path: File for the core's best weights, ending in `.weights.h5`.
        train: `evaluate_every`, the steps between scorings; `steps`, the last of which
            is scored as well; `patience`, after how many scorings without a better one
            the training stops.
        embedding: Keyword arguments of `embed`.
        workers: The writer among them scores and saves; all stop together.
    """

    def __init__(
        self,
        embedder: keras.Model,
        examples: Sequence[Example],
        path: Path,
        train: TrainConfig,
        embedding: Mapping[str, Any],
        workers: Workers,
    ):
        super().__init__()
        self.embedder = embedder
        self.inference = inference(embedder)
        self.examples = examples
        self.labels, _ = class_ids(examples)
        self.path = path
        self.train = train
        self.embedding = embedding
        self.workers = workers
        self.begin(0, lambda record: None)
        self.state = tf.train.Checkpoint(
            best=tf.Variable(tf.constant(-1.0, tf.float64), trainable=False),
            best_step=tf.Variable(tf.constant(0, tf.int64), trainable=False),
            scorings_since=tf.Variable(tf.constant(0, tf.int64), trainable=False),
        )

    def begin(
        self, first_step: int, write: Callable[[Mapping[str, object]], None]
    ) -> None:
        """Prepare a `fit`.

        Args:
            first_step: Steps done before it.
            write: Function that takes the scores by name, for the journal.
        """
        self.step = first_step
        self.write = write

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Score every so many steps."""
        self.step += 1
        if (
            self.step % cast(int, self.train.evaluate_every)
            and self.step != self.train.steps
        ):
            return
        stops = self.workers.is_writer and self.score()
        if self.workers.agree(stops):
            self.model.stop_training = True

    def score(self) -> bool:
        """Score now, and keep the weights if they are the best so far.

        Returns:
            Whether the training has gone on for long enough without a better step.
        """
        embeddings = embed(self.inference(), self.examples, **self.embedding)
        scores = evaluate(embeddings, self.labels, (1,))
        names = ("recall_at_1", "map_at_r")
        self.write({f"validation_{name}": scores[name] for name in names})
        state = self.state
        if scores["map_at_r"] > float(state.best):
            save_atomically(self.path, core_of(self.embedder).save_weights)
            state.best.assign(scores["map_at_r"])
            state.best_step.assign(self.step)
            state.scorings_since.assign(0)
        else:
            state.scorings_since.assign_add(1)
        patience = self.train.patience
        return bool(patience) and int(state.scorings_since) >= patience
