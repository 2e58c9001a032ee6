"""What is tried where the package was installed, by the Python that is there.

Its arguments: images (.npy), an embedder (.keras), where embeddings go (.npy) and the
folder of the console scripts. Prints, as JSON, where the package lies and what --help
says of each command when it is started by its script and by `python -m`.
"""

import json
import os
import runpy
import sys
import tempfile
from importlib import import_module, metadata, resources
from pathlib import Path

import keras
import numpy as np

import deml_tf  # noqa: F401


def helps_by_command(scripts):
    """Each command's help, twice, in forks: the imports take seconds."""
    found = metadata.distribution("deml_tf").entry_points
    modules = {s.name: s.module for s in found.select(group="console_scripts")}
    for module in modules.values():
        import_module(module)
    return {
        name: [
            said(runpy.run_path, str(scripts / name)),
            said(runpy.run_module, module, alter_sys=True),
        ]
        for name, module in modules.items()
    }


def said(start, *what, **how):
    """What a command prints on --help."""
    with tempfile.TemporaryFile("w+") as output:
        if not os.fork():
            os.dup2(output.fileno(), 1)
            sys.argv[1:] = ["--help"]
            try:
                start(*what, run_name="__main__", **how)
            finally:
                sys.stdout.flush()
                os._exit(0)
        os.wait()
        output.seek(0)
        return output.read()


if __name__ == "__main__":
    images, embedder, embeddings, scripts = sys.argv[1:]
    # First, for no fork survives the threads that TensorFlow has once it is used.
    helps = helps_by_command(Path(scripts))
    loaded = keras.saving.load_model(embedder, safe_mode=True)
    np.save(embeddings, loaded(np.load(images)))
    home = str(resources.files("deml_tf"))
    print(json.dumps({"home": home, "helps": helps}))
