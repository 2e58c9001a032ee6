"""The numbers that an export must reproduce: the embedder, fed as in training."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from deml_tf.data.example import Example
from deml_tf.data.images import decode
from deml_tf.models.embedder import explainer, geometry_of
from deml_tf.retrieval.embedding import embed

Outputs = dict[str, np.ndarray]

MOVED = 1e-3
"""How far pixels are moved, in grey levels of 255, to see how sensitive an image is."""
_DRAWS = 3


class Trained:
    """The embedder on images that are read as training reads them.

    Args:
        embedder: The embedder with all its parts.
        scales: Scales that an export keeps.
        learners: Learners that an export keeps.
    """

    def __init__(
        self, embedder: keras.Model, scales: Sequence[int], learners: Sequence[int]
    ):
        network = explainer(embedder)
        # One trace for images of all sizes.
        any_size = tf.TensorSpec((None, None, None, 3), tf.float32)
        self._forward = tf.function(
            lambda images: network(images, training=False), [any_size]
        )
        self._kept = (scales, learners)
        self.geometry = geometry_of(embedder)

    def of_pixels(self, images: np.ndarray) -> Outputs:
        """Return the outputs, by name, for images `(b, h, w, 3)` of one size."""
        outputs = self._forward(images.astype(np.float32))
        return choose({k: v.numpy() for k, v in outputs.items()}, *self._kept)

    def sensitivity(self, images: np.ndarray) -> Outputs:
        """Return how far the outputs move if all pixels move by `MOVED`, up or down.

        Rounding moves them as well, but some ten times less: a kernel that sums in
        another order may move them by up to this much.

        Args:
            images: (b, h, w, 3) of one size.

        Returns:
            By name, the largest movement in three draws of each image's output, or of
            each scale's if there are several: as many axes as the output, the last of
            length 1. Nothing for booleans.
        """
        still, moved = self.of_pixels(images), {}
        for seed in range(_DRAWS):
            signs = np.random.default_rng(seed).choice((-MOVED, MOVED), images.shape)
            for name, value in self.of_pixels(images + signs).items():
                if value.dtype != bool:
                    gap = np.abs(value - still[name])
                    axes = tuple(range(min(2, gap.ndim - 1), gap.ndim))
                    gap = gap.max(axis=axes, keepdims=True)
                    moved[name] = np.maximum(gap, moved.get(name, 0.0))
        return moved

    def of_files(self, encoded: Sequence[bytes]) -> list[Outputs | None]:
        """Return the outputs of each image by itself, without the batch axis.

        Args:
            encoded: Images, whatever their bytes.

        Returns:
            Outputs by name; None for what training cannot read.
        """
        return self._of_each(encoded, self.of_pixels)

    def sensitivity_of_files(self, encoded: Sequence[bytes]) -> list[Outputs | None]:
        """Return the `sensitivity` of each image by itself, without the batch axis.

        Args:
            encoded: Images, whatever their bytes.
        """
        return self._of_each(encoded, self.sensitivity)

    def _of_each(
        self, encoded: Sequence[bytes], measure: Callable[[np.ndarray], Outputs]
    ) -> list[Outputs | None]:
        results = []
        with _files(encoded) as paths:
            for path in paths:
                try:
                    pixels = decode(path).numpy()
                except tf.errors.OpError:
                    results.append(None)
                    continue
                found = measure(pixels[None])
                results.append({name: value[0] for name, value in found.items()})
        return results

    def as_scored(self, encoded: Sequence[bytes]) -> np.ndarray:
        """Return embeddings `(b, d)` from the pipeline of `deml_tf.evaluate`.

        Args:
            encoded: Images that can be read.
        """
        with _files(encoded) as paths:
            outputs = embed(
                self._forward,
                [Example(path, "") for path in paths],
                resize_size=self.geometry.resize_size,
                fit=self.geometry.fit,
            )
        return choose(outputs, *self._kept)["embedding"]


def choose(
    outputs: Mapping[str, np.ndarray], scales: Sequence[int], learners: Sequence[int]
) -> Outputs:
    """Keep some parts of an explainer's outputs and join them anew.

    Args:
        outputs: Outputs of an `explainer`, `(b, i, ...)` each.
        scales: Scales to keep.
        learners: Learners to keep.

    Returns:
        Outputs of the same names.
    """
    kept = {
        name: value[:, list(scales)]
        for name, value in outputs.items()
        if name != "embedding"
    }
    kept["parts"] = kept["parts"][:, :, list(learners)]
    joined = kept["parts"].reshape(len(kept["parts"]), -1)
    lengths = np.linalg.norm(joined, axis=1, keepdims=True)
    return kept | {"embedding": joined / lengths}


@contextlib.contextmanager
def _files(contents: Sequence[bytes]) -> Iterator[list[str]]:
    """Yield the paths of files with the contents."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, str(number)) for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            Path(path).write_bytes(content)
        yield paths
