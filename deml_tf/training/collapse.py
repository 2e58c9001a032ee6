"""Warns of a training whose embeddings all become equal."""

from collections.abc import Mapping

import keras

from deml_tf.cli.printing import say
from deml_tf.config import TrainConfig

# Sound trainings stay far above, see docs/training.md.
LEAST = {"embedding_variance": 0.01, "effective_rank": 1.5}
MEANING = {
    "embedding_variance": "all images look alike to it",
    "effective_rank": "images differ for it in one direction only",
}
# With fewer classes a perfect embedding has a low rank in a batch too.
CLASSES_FOR_RANK = 4


class WarnOfCollapse(keras.callbacks.Callback):
    """Warns once, at the end of a log interval, that the embedding has collapsed.

    It checks means over the interval: of `embedding_variance` and, in batches of at
    least `CLASSES_FOR_RANK` classes, of `effective_rank`. The training continues.

    Args:
        first_step: Steps done before this `fit`.
        train: Says `log_every`, the steps and the classes in a batch.
    """

    def __init__(self, first_step: int, train: TrainConfig):
        super().__init__()
        self.step = first_step
        self.train = train
        self.has_warned = False

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Check the means when the journal writes them."""
        self.step += 1
        ends = self.step % self.train.log_every == 0 or self.step == self.train.steps
        if ends and not self.has_warned:
            self._look(logs or {})

    def _look(self, logs: Mapping[str, float]) -> None:
        for name, least in LEAST.items():
            is_told = name in logs and (
                name != "effective_rank"
                or self.train.classes_per_batch >= CLASSES_FOR_RANK
            )
            if is_told and logs[name] < least:
                self.has_warned = True
                say(
                    f"WARNING: the embedding has collapsed by step {self.step}, for "
                    f"{name} is {logs[name]:.2g}, below {least}, so that "
                    f"{MEANING[name]}: lower learning_rate, give clip_norm=1, or take "
                    "another loss."
                )
                return
