"""Exact retrieval scores during the `fit` of any Keras model."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deml_tf.errors import UsageError
from deml_tf.retrieval.inputs import check_ranks
from deml_tf.retrieval.metrics import check_labels, evaluate


class RetrievalMetrics(keras.callbacks.Callback):
    """Score retrieval among validation images at the end of epochs.

    Puts what `deml_tf.retrieval.evaluate` computes, exactly and over all of the
    images, into the logs of the epoch: `val_recall_at_1` and so on for each rank,
    `val_r_precision` and `val_map_at_r`, from 0 to 1. The history, and callbacks
    further down the list, find them there:

        callbacks = [
            RetrievalMetrics(images, labels),
            keras.callbacks.EarlyStopping("val_map_at_r", mode="max", patience=5),
        ]

    The classes should not be those trained on, if unseen ones are to be found later. As
    with `validation_freq`, epochs that are not scored have no such entries in their
    logs; callbacks that watch an entry skip these epochs with a warning.

    Args:
        images: An array `(n, ...)`, or batches of (images, labels): a
            `tf.data.Dataset` or a `keras.utils.PyDataset` that ends. They may be
            shuffled.
        labels: `(n,)` integers or strings. None if `images` is a dataset.
        ranks: K of Recall@K, default 1, 2, 4, 8.
        evaluate_every: Epochs from one scoring to the next, default 1.
        output: Which output is the embedding, if the model has several: its name or its
            position; or the name of an inner layer. If it has more dimensions than
            `(b, d)`, each image's numbers are flattened.
        embedder: The model that embeds, if it is not the one that is fitted: if that
            also takes labels, for a loss with class weights, the part that takes only
            images.
        batch_size: Images of an array that are embedded at once, default 64.

    Raises:
        UsageError: Images and labels are not of this form, or there is no such output.
        DataError: No class has two images; while training, embeddings are not finite
            or all zero.
    """

    def __init__(
        self,
        images: Any,
        labels: ArrayLike | None = None,
        ranks: Sequence[int] = (1, 2, 4, 8),
        *,
        evaluate_every: int = 1,
        output: str | int | None = None,
        embedder: keras.Model | None = None,
        batch_size: int = 64,
    ):
        super().__init__()
        for name, value in (
            ("evaluate_every", evaluate_every),
            ("batch_size", batch_size),
        ):
            if value < 1:
                raise UsageError(f"{name}={value}: it must be at least 1.")
        is_dataset = isinstance(images, tf.data.Dataset | keras.utils.PyDataset)
        if is_dataset and labels is not None:
            raise UsageError(
                "labels are given beside a dataset, which has its own: leave them out."
            )
        if is_dataset and _has_no_end(images):
            raise UsageError(
                "the dataset has no end; give one that has each image once."
            )
        if not is_dataset:
            if labels is None:
                raise UsageError("labels are missing; give one label an image.")
            images = np.asarray(images)
            # Wrong labels are reported before the training.
            check_labels(labels, len(images), ranks)
        self.images: Any = images
        self.labels = labels
        self.ranks = check_ranks(ranks)
        self.evaluate_every = evaluate_every
        self.output = output
        self.embedder = embedder
        self.batch_size = batch_size
        self._forward: Callable[[Any], tf.Tensor] | None = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Find the output, so that a wrong one is reported before the first epoch."""
        images, _ = next(self._batches(), (None, None))
        if images is None:
            raise UsageError(
                "the dataset has no batch; give one with each image once (without "
                "drop_remainder, if it has fewer images than a batch)."
            )
        self._forward = self._embedding_of(tf.nest.map_structure(_first, images))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Score, and write into the logs."""
        if (epoch + 1) % self.evaluate_every == 0 and logs is not None:
            logs |= {f"val_{name}": value for name, value in self.score().items()}

    def score(self) -> dict[str, float]:
        """Embed all images with the model as it is now, and score.

        Returns:
            `recall_at_K` for each rank, `r_precision` and `map_at_r`.

        Raises:
            DataError: Embeddings are not finite or all zero.
        """
        if self._forward is None:  # before the first `fit`
            self.on_train_begin()
        assert self._forward is not None
        embeddings, labels = [], []
        for images, own in self._batches():
            rows = self._forward(images).numpy()
            embeddings.append(rows.reshape(len(rows), -1))
            labels.append(np.reshape(own, -1))
        scores = evaluate(
            np.concatenate(embeddings),
            np.concatenate(labels) if self.labels is None else self.labels,
            self.ranks,
        )
        return {n: value for n, value in scores.items() if not n.startswith("queries")}

    def _batches(self) -> Iterator[tuple[Any, Any]]:
        """Yield images and labels, a batch at a time."""
        if self.labels is None:
            for batch in self.images:
                if not isinstance(batch, tuple | list) or len(batch) < 2:
                    raise UsageError(
                        "the dataset has no labels; give one of pairs (images, labels)."
                    )
                yield batch[0], batch[1]
            return
        for start in range(0, len(self.images), self.batch_size):
            yield self.images[start : start + self.batch_size], ()

    def _embedding_of(self, images: Any) -> Callable[[Any], tf.Tensor]:
        """Return the function from images to the chosen output."""
        model: Any = self.embedder or self.model
        if model is None:
            raise UsageError("there is no model yet: give embedder=, or set_model it.")
        outputs = model(images, training=False)  # builds what is not built yet
        names = getattr(model, "output_names", None)
        choose = _chooser(outputs, names, self.output)
        if choose is None:
            inner = {layer.name: layer for layer in model.layers}
            if self.output not in inner:
                raise UsageError(
                    f"output={self.output!r} is neither an output of the model "
                    f"({', '.join(map(str, _places(outputs, names)))}) nor a layer."
                )
            if not getattr(model, "inputs", None):
                raise UsageError(
                    f"output={self.output!r} is an inner layer, which only functional "
                    "and sequential models can be asked for: give an output."
                )
            if isinstance(inner[self.output], keras.Model):
                raise UsageError(
                    f"output={self.output!r} is a model inside the model: give the "
                    "model itself as embedder=, in place of output."
                )
            inputs = model.inputs if len(model.inputs) > 1 else model.inputs[0]
            model = keras.Model(inputs, inner[self.output].output)
            choose = _chooser(model(images, training=False), None, None)
            assert choose is not None

        def forward(images: Any) -> tf.Tensor:
            found = choose(model(images, training=False))
            return tf.cast(found, "float64" if found.dtype == tf.float64 else "float32")

        # Before `fit` the only model is the one that embeds.
        if getattr(self.model or model, "run_eagerly", False):
            return forward
        return tf.function(forward, reduce_retracing=True, autograph=False)


def _places(outputs: Any, names: Sequence[str] | None) -> dict[str | int, Any]:
    """Map names and numbers of outputs to where they are found."""
    if isinstance(outputs, dict):
        return {name: name for name in outputs}
    if isinstance(outputs, list | tuple):
        named = zip(names or (), range(len(outputs)), strict=False)
        return {**dict(named), **{n: n for n in range(len(outputs))}}
    return {name: None for name in (*(names or ())[:1], 0)}


def _chooser(
    outputs: Any, names: Sequence[str] | None, output: str | int | None
) -> Callable[[Any], Any] | None:
    """Return a function that picks the chosen output; None if there is none."""
    places = _places(outputs, names)
    if output is None:
        if isinstance(outputs, dict | list | tuple) and len(outputs) > 1:
            raise UsageError(
                f"the model has {len(outputs)} outputs: choose one with "
                f"output={next(iter(places))!r} or another of "
                f"{', '.join(map(str, places))}."
            )
        output = next(iter(places))
    if output not in places:
        return None
    place = places[output]
    return (lambda found: found) if place is None else (lambda found: found[place])


def _has_no_end(dataset: Any) -> bool:
    if isinstance(dataset, tf.data.Dataset):
        return bool(dataset.cardinality() == tf.data.INFINITE_CARDINALITY)
    return dataset.num_batches is None


def _first(images: Any) -> Any:
    return images[:1]
