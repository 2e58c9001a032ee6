"""From a model and images to arrays of outputs."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from deml_tf.cli.progress import track
from deml_tf.data.batches import scoring_dataset
from deml_tf.data.example import Example
from deml_tf.data.images import explain_unreadable
from deml_tf.kernels.inference_twin import inference_twins
from deml_tf.layers.prepare import boxes_to_original


def inference(model: keras.Model) -> Callable[[], Callable[[Any], Any]]:
    """Return a function that begins a pass of a model over images.

    The pass runs in the model's inference twin, which folds the weights once per pass
    and not once per batch (`deml_tf.kernels.inference_twin`).

    Args:
        model: A functional model of images (b, h, w, 3).

    Returns:
        A function without arguments: call it at the beginning of each pass. It takes
        the model's weights as they are then, and returns the forward pass, a function
        of images for `embed`, which is traced once for all passes.
    """
    (twin,), update = inference_twins(model, compiled=True)
    forward = tf.function(
        lambda images: twin(images, training=False),
        reduce_retracing=True,
        autograph=False,
    )

    def begin():
        update()
        return forward

    return begin


def embed(
    forward: Callable[[Any], Any],
    examples: Sequence[Example],
    *,
    resize_size: int,
    fit: str,
    batch_size: int = 64,
    progress: str | None = None,
    layout: Callable[[np.ndarray, int], np.ndarray] | None = None,
) -> Any:
    """Run a model over images.

    Args:
        forward: A function of images (b, h, w, 3), such as `inference(model)()`.
        examples: The images.
        resize_size: Side in pixels that the images are resized to beforehand.
        fit: "squash" or "pad": how an image becomes square.
        batch_size: Images per batch; default 64.
        progress: Title of a progress bar; None, the default, shows none.
        layout: As in `scoring_dataset`; None, the default, takes the images as they
            are.

    Returns:
        The output for all images as one array (n, ...), or a dict of such arrays, whose
        `boxes` are relative to the images as they were before they became square. For
        padded images, `views` are the same boxes including what they hold of the
        padding.

    Raises:
        DataError: An image cannot be read.
    """
    dataset = scoring_dataset(
        examples,
        resize_size=resize_size,
        fit=fit,
        batch_size=batch_size,
        layout=layout,
    )
    outputs = []
    shown = track(dataset, progress, len(examples), size=lambda batch: len(batch[1]))
    try:
        for images, shapes in shown:
            found = forward(images)
            if fit == "pad" and isinstance(found, dict):
                sides = (resize_size, resize_size)
                given = (found["boxes"], shapes, *sides, fit)
                found = found | {
                    "boxes": boxes_to_original(*given),
                    "views": boxes_to_original(*given, clip=False),
                }
            outputs.append(tf.nest.map_structure(lambda t: t.numpy(), found))
    except tf.errors.OpError as error:
        batch = examples[len(outputs) * batch_size :][:batch_size]
        raise explain_unreadable((e.path for e in batch), error) from error
    return tf.nest.map_structure(lambda *arrays: np.concatenate(arrays), *outputs)
