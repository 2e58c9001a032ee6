"""Runs an exported file in its own runtime, where nothing else is known.

Called by path, with numpy and the runtime alone, no TensorFlow and not this project:

    python -I fresh_runtime.py FORMAT FILE WORK_FOLDER

WORK_FOLDER holds `squares.npy` and `plan.json`, a list of batches; the outputs go to
`outputs.npz` there. See `deml_tf.serving.file_parity`.
"""

import json
import os
import sys

import numpy as np

FOREIGN = ("deml_tf", "tensorflow", "keras")


def main(form, path, work):
    """Feeds the plan's batches to the file.

    Args:
        form: "litert" or "onnx".
        path: The file.
        work: Folder of the plan, the images and the result.
    """
    with open(os.path.join(work, "plan.json"), encoding="utf-8") as file:
        batches = json.load(file)
    squares = np.load(os.path.join(work, "squares.npy"))
    run = RUNTIMES[form](path)
    outputs = {}
    for number, batch in enumerate(batches):
        for name, value in run(squares[batch]).items():
            outputs[f"{number}/{name}"] = value
    found = [name for name in FOREIGN if name in sys.modules]
    assert not found, f"the file was to run without {found}"
    np.savez(os.path.join(work, "outputs.npz"), **outputs)


def litert(path):
    """LiteRT's interpreter with its own kernels; a function of (b, s, s, 3) float32."""
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(model_path=os.fspath(path), num_threads=threads())
    run = model.get_signature_runner()
    (name,) = run.get_input_details()
    return lambda batch: run(**{name: batch})


def onnx(path):
    """ONNX Runtime on the CPU; a function of (b, s, s, 3) float32."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(os.fspath(path), options, providers)
    names = [output.name for output in session.get_outputs()]
    (source,) = session.get_inputs()

    def run(batch):
        found = session.run(names, {source.name: batch})
        return dict(zip(names, found, strict=True))

    return run


def threads():
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


RUNTIMES = {"litert": litert, "onnx": onnx}

if __name__ == "__main__":
    main(*sys.argv[1:])
