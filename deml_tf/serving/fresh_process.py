"""Runs an export as a server would, in a process that knows nothing of this project.

Called by path, with TensorFlow and numpy alone, old releases of them included:

    python -I fresh_process.py VERSION_FOLDER WORK_FOLDER

WORK_FOLDER holds `plan.json`, encoded images `0.bin`, `1.bin`, ... and `images.npy`;
the outputs go to `outputs.npz` there. See `deml_tf.serving.parity`.
"""

import json
import os
import sys

import numpy as np
import tensorflow as tf


def main(export, work):
    """Feeds the plan's batches to every signature, by both loaders.

    Args:
        export: The SavedModel's folder.
        work: Folder of the plan, the images and the result.
    """
    assert "deml_tf" not in sys.modules, "this process must not know the project"
    with open(os.path.join(work, "plan.json"), encoding="utf-8") as file:
        plan = json.load(file)
    encoded = []
    for number in range(plan["images"]):
        with open(os.path.join(work, f"{number}.bin"), "rb") as file:
            encoded.append(file.read())
    encoded = np.array(encoded, object)  # as bytes: numpy would cut zeros off
    images = np.load(os.path.join(work, "images.npy"))
    inputs = {
        "image_bytes": encoded,
        "images": images,
        "images_float": images.astype("float32"),
    }
    outputs = {}
    for loader, load in LOADERS.items():
        run = load(export)
        for signature, source in plan["signatures"].items():
            for number, batch in enumerate(plan["batches"]):
                found = run(signature, inputs[source][batch])
                for name, value in found.items():
                    key = f"{loader}/{signature}/{number}/{name}"
                    outputs[key] = value
    outputs["tensorflow"] = np.array(tf.__version__)
    np.savez(os.path.join(work, "outputs.npz"), **outputs)
    assert "deml_tf" not in sys.modules, "the export pulled the project in"


def python_loader(export):
    """`tf.saved_model.load`; gives a function of signature and batch."""
    model = tf.saved_model.load(export)

    def run(signature, batch):
        function = model.signatures[signature]
        (name,) = function.structured_input_signature[1]
        found = function(**{name: tf.constant(batch)})
        return {name: value.numpy() for name, value in found.items()}

    return run


def session_loader(export):
    """The loader that TensorFlow Serving uses, with a session."""
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], export)

    def run(signature, batch):
        definition = graph.signature_def[signature]
        (source,) = definition.inputs.values()
        targets = {name: info.name for name, info in definition.outputs.items()}
        return session.run(targets, {source.name: batch})

    return run


LOADERS = {"python": python_loader, "session": session_loader}

if __name__ == "__main__":
    main(*sys.argv[1:])
