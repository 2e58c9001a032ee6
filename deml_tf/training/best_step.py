"""Chooses the step whose weights are kept, on classes held out of training."""

from collections.abc import Callable

import keras
import tensorflow as tf

from deml_tf.data.batches import class_ids
from deml_tf.models.embedder import core_of
from deml_tf.retrieval.embedding import embed, inference
from deml_tf.retrieval.metrics import evaluate
from deml_tf.runs.atomic import save_atomically


class ChooseBestStep(keras.callbacks.Callback):
    """Scores the validation classes and keeps the best step's weights.

    The best is that of the highest MAP@R: a few held-out classes among themselves are
    easy, and Recall@1 is then near 1 and blind to what still changes.

    Its `state` belongs into the checkpoint, so that a resumed run chooses as an
    undisturbed one would.

    Args:
        embedder: The model that is scored.
        examples: Images of the validation classes.
        path: File for the core's best weights, ending in `.weights.h5`.
        every: Steps between scorings.
        last_step: Steps of the whole training; scored as well.
        patience: Stop after so many scorings without a better one; None never.
        decide: Function that gives every worker the first one's number, so that all
            of them stop together; needed where there are several.
        scores: Whether this worker is the one that scores and saves.
        **embedding: Arguments of `embed`.
    """

    def __init__(
        self,
        embedder,
        examples,
        path,
        *,
        every,
        last_step,
        patience,
        decide: Callable[[int], int] = int,
        scores=True,
        **embedding,
    ):
        super().__init__()
        self.embedder = embedder
        self.inference = inference(embedder)
        self.examples = examples
        self.labels, _ = class_ids(examples)
        self.path = path
        self.begin(0, lambda record: None)
        self.every = every
        self.last_step = last_step
        self.patience = patience
        self.decide = decide
        self.scores = scores
        self.embedding = embedding
        self.state = tf.train.Checkpoint(
            best=tf.Variable(tf.constant(-1.0, tf.float64), trainable=False),
            best_step=tf.Variable(tf.constant(0, tf.int64), trainable=False),
            scorings_since=tf.Variable(tf.constant(0, tf.int64), trainable=False),
        )

    def begin(self, first_step, write):
        """Prepares a `fit`.

        Args:
            first_step: Steps done before it.
            write: Function that takes a dict of what was found, for the journal.
        """
        self.step = first_step
        self.write = write

    def on_train_batch_end(self, batch, logs=None):
        """Scores every so many steps."""
        self.step += 1
        if self.step % self.every and self.step != self.last_step:
            return
        stops = self.scores and self.score()
        if self.decide(stops):
            self.model.stop_training = True

    def score(self):
        """Scores now, and keeps the weights if they are the best so far.

        Returns:
            Whether the training has gone on for long enough without a better one.
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
        return bool(self.patience) and int(state.scorings_since) >= self.patience
