"""Writes a sample for the PyTorch twin's check: `python -m benchmarks.twin_sample`.

The sample holds a model's weights, images, and what the model makes of them;
`python -m benchmarks.torch_twin.check FILE.npz` compares, in the twin's environment.
"""

from typing import Any

import keras
import numpy as np
from absl import flags

from benchmarks.models import U512
from deml_tf.cli import command
from deml_tf.errors import UsageError
from deml_tf.layers.zoom import zoom
from deml_tf.models.cost import parameters
from deml_tf.models.embedder import build_deml, core_of

FLAGS = flags.FLAGS
MODELS = {"U512": U512, "DeML(3,3)": {}}


def main(arguments):
    """Builds the model and writes the sample."""
    if arguments or not FLAGS.output:
        raise UsageError("Give --output=FILE.npz and no other arguments than flags.")
    sample = make_sample(FLAGS.model, FLAGS.backbone, FLAGS.input_size, FLAGS.batch)
    np.savez(FLAGS.output, **sample)


def make_sample(
    model: str, backbone: str, input_size: int, batch: int
) -> dict[str, Any]:
    """Returns a model's weights, images and outputs.

    Args:
        model: A key of `MODELS`.
        backbone: Name of the backbone.
        input_size: Side of the images.
        batch: Number of images.

    Returns:
        Arrays by name; "weight:PATH" is the variable of that path.
    """
    keras.utils.set_random_seed(0)
    core = core_of(
        build_deml(
            weights="none",
            batch_norm="frozen",
            backbone=backbone,
            input_size=input_size,
            **MODELS[model],
        )
    )
    numbers = np.random.default_rng(0)
    for variable in core.variables:
        _disturb(variable, numbers)
    images = smooth_images(numbers, batch, input_size)
    outputs = core(images, training=False)
    boxes = outputs["boxes"].numpy()
    views = [zoom(images, box, input_size).numpy() for box in boxes.swapaxes(0, 1)]
    return {
        "model": model,
        "backbone": backbone,
        "parameters": parameters(core),
        "images": images,
        "views": np.array(views[1:]),
        "parts": outputs["parts"].numpy(),
        "boxes": boxes,
        **{f"weight:{variable.path}": variable.numpy() for variable in core.variables},
    }


def smooth_images(numbers: np.random.Generator, batch: int, side: int) -> np.ndarray:
    """Returns coarse noise, resized: (b, side, side, 3) float32, 0..255."""
    coarse = numbers.uniform(0.0, 255.0, (batch, 8, 8, 3)).astype("float32")
    return np.asarray(keras.ops.image.resize(coarse, (side, side)))


def _disturb(variable: Any, numbers: np.random.Generator) -> None:
    """Changes weights that start at 0 or 1, so that a mix-up of two vectors shows."""
    if len(variable.shape) <= 2 and "projection" not in variable.path:
        factor = numbers.uniform(0.9, 1.1, variable.shape)
        summand = 0.0 if "variance" in variable.name else 0.02
        variable.assign(variable.numpy() * factor + numbers.normal(0.0, summand))


if __name__ == "__main__":
    flags.DEFINE_enum("model", "U512", list(MODELS), "Model to sample.")
    flags.DEFINE_string("backbone", "googlenet", "Backbone of the model.")
    flags.DEFINE_integer("input_size", 224, "Side of the images, in pixels.")
    flags.DEFINE_integer("batch", 3, "Number of images.")
    flags.DEFINE_string("output", None, "File to write, ending in .npz.")
    command.run(main)
