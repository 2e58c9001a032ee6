"""Batches of P classes x K images, a function of the seed and the step alone."""

from typing import Any

import numpy as np
import tensorflow as tf

from deml_tf.errors import UsageError

# For functions with nothing to convert: converting takes longer than tracing.
plain: Any = tf.autograph.experimental.do_not_convert
_STREAM = 0  # stream of the seed's random numbers; 1 is for crops and mirrors


class BatchTable:
    """Draw the examples of any training step, without keeping a state.

    Every batch holds P different classes, all equally likely, and K different images of
    each, all equally likely. The authors' release trains on 65 x 2. Random numbers are
    keyed by (seed, step), so step n has the same batch in every run, and a resumed run
    continues like one that never stopped. The cost of a batch does not grow with the
    number of images.

    Args:
        labels: `(n,)` integers, the class of each example.
        classes_per_batch: P.
        images_per_class: K.
        seed: Any 64-bit integer, by default 0.

    Raises:
        UsageError: There are fewer than P classes, or a class has fewer than K images.
    """

    def __init__(
        self,
        labels: Any,
        classes_per_batch: int,
        images_per_class: int,
        seed: int = 0,
    ):
        labels = np.asarray(labels)
        names, counts = np.unique(labels, return_counts=True)
        _check_sizes(names, counts, classes_per_batch, images_per_class)
        self.classes_per_batch = classes_per_batch
        self.images_per_class = images_per_class
        self.batch_size = classes_per_batch * images_per_class
        self.num_examples = len(labels)
        self.seed = seed
        with tf.device("CPU:0"):
            order = np.argsort(labels, kind="stable")
            self._order = tf.constant(order, tf.int64)  # examples, class by class
            self._starts = tf.constant(np.cumsum(counts) - counts, tf.int64)
            self._counts = tf.constant(counts, tf.int64)

    def indices(self, step: Any) -> tf.Tensor:
        """Return the examples of a step.

        Args:
            step: Scalar integer, from 0; a Python number or a tensor.

        Returns:
            `(P * K,)` int64, positions in `labels`, with the K images of a class
            together.
        """
        p, k = self.classes_per_batch, self.images_per_class
        with tf.device("CPU:0"):
            key = fold(random_key(self.seed, _STREAM), step)
            class_key, image_key = tf.unstack(tf.random.split(key, 2, alg="philox"))
            # The P largest of independent draws are P classes without replacement.
            draws = _uniform(tf.shape(self._counts), class_key)
            classes = tf.math.top_k(draws, p).indices  # (p,)
            counts = tf.gather(self._counts, classes)
            # Floyd's sampling: each draw is among one more image than the last one. An
            # image that was drawn before is replaced by the image that was added.
            draws = _uniform([k, p], image_key)
            picks: list[tf.Tensor] = []
            for i in range(k):
                newest = counts - k + i
                pick = tf.cast(draws[i] * tf.cast(newest + 1, tf.float64), tf.int64)
                for earlier in picks[:i]:
                    pick = tf.where(tf.equal(earlier, pick), newest, pick)
                picks.append(pick)
            places = tf.gather(self._starts, classes)[:, None] + tf.stack(picks, 1)
            return tf.reshape(tf.gather(self._order, places), [p * k])


def _check_sizes(names: np.ndarray, counts: np.ndarray, p: int, k: int) -> None:
    """Refuse batch sizes that classes with these numbers of images cannot fill."""
    for name, value in (("classes_per_batch", p), ("images_per_class", k)):
        if value < 1:
            raise UsageError(f"{name}={value}: it must be at least 1.")
    if len(names) < p:
        raise UsageError(
            f"classes_per_batch={p} is more than the {len(names)} classes of the "
            f"labels; give {len(names)} or less."
        )
    few = np.flatnonzero(counts < k)
    if len(few):
        raise UsageError(
            f"images_per_class={k} is more than the images of {len(few)} of the "
            f"{len(names)} classes, such as {names[few[0]]} with {counts[few[0]]}; "
            f"give {counts.min()} or less, or leave these classes out."
        )


def random_key(seed: int, stream: int) -> Any:
    """Return the key of a stream of random numbers.

    Args:
        seed: Any 64-bit integer.
        stream: 0 for batches, 1 for crops and mirrors.

    Returns:
        `(2,)` int64.
    """
    with tf.device("CPU:0"):
        return tf.constant([seed, stream], tf.int64)


def fold(key: Any, number: Any) -> Any:
    """Derive a key from a key and a number.

    Args:
        key: `(2,)` integers.
        number: Scalar integer.

    Returns:
        `(2,)`, the new key.
    """
    return tf.random.fold_in(key, tf.cast(number, tf.int64), alg="philox")


def _uniform(shape: Any, key: Any) -> Any:
    # float32 has only 23 random bits: classes would tie, and images of large classes
    # would not be equally likely.
    return tf.random.stateless_uniform(shape, key, dtype=tf.float64, alg="philox")
