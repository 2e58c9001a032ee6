"""Run an export as its users would, in a process that knows nothing of this project.

This file is run by its path. It needs only numpy and the export's runtime: TensorFlow
(old releases will do), LiteRT or onnxruntime.

    python -P fresh_process.py EXPORT WORK_FOLDER

WORK_FOLDER holds `plan.json`, arrays `NAME.npy` and encoded images `NAME.0`, `NAME.1`,
...; the outputs go to `outputs.npz` there. See `deml_tf.serving.fresh_run`.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

Run = Callable[[str, np.ndarray], dict[str, np.ndarray]]


def main(export: str, work: str) -> None:
    """Feed the plan's batches to every signature, in every runtime of the plan.

    Args:
        export: The SavedModel's folder, or the file.
        work: Folder of the plan, the images and the result.
    """
    with open(os.path.join(work, "plan.json"), encoding="utf-8") as file:
        plan = json.load(file)
    inputs = {name: read(work, name, count) for name, count in plan["inputs"].items()}
    outputs = {}
    for runtime in plan["runtimes"]:
        run = RUNTIMES[runtime](export)
        for signature, source in plan["signatures"].items():
            for number, batch in enumerate(plan["batches"]):
                for name, value in run(signature, inputs[source][batch]).items():
                    outputs[f"{runtime}/{signature}/{number}/{name}"] = value
    found = [name for name in plan["without"] if name in sys.modules]
    if found:
        sys.exit(f"the export was to run without {found}")
    np.savez(os.path.join(work, "outputs.npz"), **outputs)


def read(work: str, name: str, count: "int | None") -> np.ndarray:
    """Read an array, or as many encoded images as `count` says."""
    if count is None:
        return np.load(os.path.join(work, f"{name}.npy"))
    images = []
    for number in range(count):
        with open(os.path.join(work, f"{name}.{number}"), "rb") as file:
            images.append(file.read())
    return np.array(images, object)  # as bytes: numpy would strip trailing zeros


def python(export: str) -> Run:
    """Load with `tf.saved_model.load`; return a function of signature and batch."""
    import tensorflow as tf

    model = tf.saved_model.load(export)

    def run(signature: str, batch: np.ndarray) -> dict[str, np.ndarray]:
        function = model.signatures[signature]
        (name,) = function.structured_input_signature[1]
        found = function(**{name: tf.constant(batch)})
        return {name: value.numpy() for name, value in found.items()}

    return run


def session(export: str) -> Run:
    """Load as TensorFlow Serving does, into a session."""
    import tensorflow as tf

    tf1: Any = tf.compat.v1
    session = tf1.Session(graph=tf.Graph())
    with session.graph.as_default():
        graph = tf1.saved_model.loader.load(session, ["serve"], export)

    def run(signature: str, batch: np.ndarray) -> dict[str, np.ndarray]:
        definition = graph.signature_def[signature]
        (source,) = definition.inputs.values()
        targets = {name: info.name for name, info in definition.outputs.items()}
        return session.run(targets, {source.name: batch})

    return run


def litert(export: "str | os.PathLike[str]") -> Run:
    """Load into LiteRT's interpreter, with its own kernels; one signature."""
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(model_path=os.fspath(export), num_threads=threads())
    run = model.get_signature_runner()
    (name,) = run.get_input_details()
    return lambda signature, batch: run(**{name: batch})


def onnx(export: "str | os.PathLike[str]") -> Run:
    """Load into ONNX Runtime on the CPU; one signature."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(os.fspath(export), options, providers)
    names = [output.name for output in session.get_outputs()]
    (source,) = session.get_inputs()

    def run(signature: str, batch: np.ndarray) -> dict[str, np.ndarray]:
        found = session.run(names, {source.name: batch})
        return {name: np.asarray(v) for name, v in zip(names, found, strict=True)}

    return run


def threads() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


RUNTIMES = {"python": python, "session": session, "LiteRT": litert, "onnxruntime": onnx}

if __name__ == "__main__":
    main(*sys.argv[1:])
