"""What is tried where the package was installed, by the Python that is there.

Its arguments: images (.npy), an embedder (.keras), where embeddings go (.npy) and the
folder of the console scripts. Prints, as JSON, where the package lies, what --help says
of each command when it is started by its script and by `python -m`, and how a script
ends on wrong usage.
"""

import json
import os
import runpy
import sys
import tempfile
import traceback
from importlib import import_module, metadata, resources
from pathlib import Path

import keras
import numpy as np

import deml_tf  # noqa: F401


def helps_by_command(scripts):
    """Status and output of each command's help, twice, in forks: imports take long."""
    found = metadata.distribution("deml_tf").entry_points
    modules = {s.name: s.module for s in found.select(group="console_scripts")}
    for module in modules.values():
        import_module(module)
    return {
        name: [
            run(["--help"], runpy.run_path, str(scripts / name))[:2],
            run(
                ["--help"],
                runpy.run_module,
                module.removesuffix(".__main__"),
                alter_sys=True,
            )[:2],
        ]
        for name, module in modules.items()
    }


def run(arguments, start, *what, **how):
    """Exit status, output and errors of a command, started in a fork."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        if not os.fork():
            os.dup2(output.fileno(), 1)
            os.dup2(errors.fileno(), 2)
            sys.argv[1:] = arguments
            status = 0
            try:
                start(*what, run_name="__main__", **how)
            except SystemExit as end:
                status = end.code or 0
            except BaseException:
                traceback.print_exc()
                status = 1
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.wait()[1])
        output.seek(0)
        errors.seek(0)
        return status, output.read(), errors.read()


if __name__ == "__main__":
    images, embedder, embeddings, scripts = sys.argv[1:]
    # First, for no fork survives the threads that TensorFlow has once it is used.
    helps = helps_by_command(Path(scripts))
    compare = str(Path(scripts) / "deml-tf-compare")
    mistake = run(["--outptu=x"], runpy.run_path, compare)
    loaded = keras.saving.load_model(embedder, safe_mode=True)
    np.save(embeddings, loaded(np.load(images)))
    home = str(resources.files("deml_tf"))
    print(json.dumps({"home": home, "helps": helps, "mistake": mistake}))
