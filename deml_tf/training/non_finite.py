"""Stops a training whose loss is no longer a number."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from deml_tf.errors import DataError
from deml_tf.training.batch_diagnostics import DIAGNOSTICS


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises at the first NaN or inf in a loss.

    Args:
        first_step: Steps done before this `fit`.
        files_of: Function from a step to the files in its batch.

    Raises:
        DataError: A loss is NaN or inf; names it, the step and the batch's files. The
            checkpoints and the journal of earlier steps stay as they are.
    """

    def __init__(self, first_step: int, files_of: Callable[[int], Sequence[str]]):
        super().__init__()
        self.step = first_step
        self.files_of = files_of

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Check every loss of the step."""
        losses = {n: v for n, v in (logs or {}).items() if n not in DIAGNOSTICS}
        wrong = {n: v for n, v in losses.items() if not np.isfinite(v)}
        if wrong:
            # The total follows from its terms: name it only if all of them are finite.
            named = {n: v for n, v in wrong.items() if n != "loss"} or wrong
            values = ", ".join(f"{name} is {value}" for name, value in named.items())
            raise DataError(
                f"At step {self.step + 1} {values}; nothing saved before is lost. Try "
                "a lower learning_rate or clip_norm=1; the batch's files were: "
                + ", ".join(self.files_of(self.step))
            )
        self.step += 1
