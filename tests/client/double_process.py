"""The double in a process to be killed, or in this one; a tiny model for it."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOYMENT = ROOT / "export"
MODEL = "plumage"
SIGNATURES = ("serving_default", "images_float")


def export_tiny(root):
    """Saves version 1 of a tiny model below a folder of models."""
    import tensorflow as tf
    from small_backbone import build_tiny

    from deml_tf.serving.servable import Servable

    embedder = build_tiny(scales=1, learners=2)
    servable = Servable(embedder, (0,), (0, 1))
    signatures = {name: servable.signatures[name] for name in SIGNATURES}
    module = tf.Module()
    module.weights = servable.kept_variables()
    folder = Path(root) / MODEL / "1"
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


def exported_once(tmp_path_factory):
    """The folder of models with the tiny one, made once for all workers."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    models, half = place / "models", place / "models.half"
    with open(place / "models.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not models.exists():
            shutil.rmtree(half, ignore_errors=True)
            export_tiny(half)
            half.rename(models)
    return models


class Reachable:
    """What the tests ask of a double, wherever it runs."""

    def address(self, protocol):
        return f"127.0.0.1:{self.ports[protocol]}"

    def url(self, path):
        return f"http://{self.address('rest')}{path}"

    @contextlib.contextmanager
    def failing(self, **fault):
        """Lets the next predictions fail, see the double's `Faults`."""
        requests.post(self.url("/faults"), json=fault, timeout=10).raise_for_status()
        try:
            yield
        finally:
            requests.post(self.url("/faults"), json={}, timeout=10)


class Local(Reachable):
    """A double in this process, which starts in a fraction of the time."""

    def __init__(self, models, deployment=DEPLOYMENT):
        from tests.client.double import serve

        self.models = Path(models)
        self._server, self._rest, self.ports = serve(
            self.models, deployment / "models.config", deployment / "batching.config"
        )
        threading.Thread(target=self._rest.serve_forever, daemon=True).start()

    def close(self):
        self._server.stop(0)
        self._rest.shutdown()


class Double(Reachable):
    """A double in a process of its own."""

    def __init__(self, models, log, deployment=DEPLOYMENT):
        self.models, self.log, self.deployment = Path(models), Path(log), deployment
        self.ports = {"grpc": 0, "rest": 0}
        self.process = None

    def start(self, seconds=180):
        """Starts it, on the ports it had before, and waits until it listens."""
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [
            sys.executable,
            "-m",
            "tests.client.double",
            f"--models={self.models}",
            f"--model_config_file={self.deployment / 'models.config'}",
            f"--batching_parameters_file={self.deployment / 'batching.config'}",
            f"--port={self.ports['grpc']}",
            f"--rest_api_port={self.ports['rest']}",
            "--with_parent",
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # closes with this process, however it ends
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                cwd=ROOT,
            )
        watch = threading.Timer(seconds, self.process.kill)
        watch.start()
        line = self.process.stdout.readline()
        watch.cancel()
        assert line, f"the double did not start:\n{self.log.read_text()[-3000:]}"
        self.ports = json.loads(line)
        return self

    def kill(self):
        """Without a word to its clients, as a crash or the kernel would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process.stdin.close()
            self.process = None
