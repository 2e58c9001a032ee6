"""SavedModels run by the session loader, as the server does in C++, in batches."""

import collections
import dataclasses
import threading
import time
from concurrent.futures import Future

import numpy as np
import tensorflow as tf


class Refusal(Exception):
    """A request that fails, with one of gRPC's codes by name."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


@dataclasses.dataclass(frozen=True)
class Batching:
    most: int
    seconds: float
    queued: int
    threads: int

    @classmethod
    def of(cls, parameters):
        return cls(
            parameters.max_batch_size.value,
            parameters.batch_timeout_micros.value / 1e6,
            parameters.max_enqueued_batches.value,
            parameters.num_batch_threads.value,
        )


class Version:
    """One version of a model, in a session of its own."""

    def __init__(self, folder, batching):
        graph = tf.Graph()
        self.session = tf.compat.v1.Session(graph=graph)
        with graph.as_default():
            loaded = tf.compat.v1.saved_model.loader.load(
                self.session, ["serve"], str(folder)
            )
        self.signatures = {
            name: signature
            for name, signature in loaded.signature_def.items()
            if signature.method_name == "tensorflow/serving/predict"
        }
        self.queues = {
            name: Queue(lambda arrays, s=s: self.run(s, arrays), batching)
            for name, s in self.signatures.items()
        }

    def predict(self, name, arrays, seconds, signature_missing):
        """Outputs of a request, which is run together with others."""
        if name not in self.signatures:
            raise signature_missing(name)
        signature = self.signatures[name]
        wanted, sent = set(signature.inputs), set(arrays)
        if len(sent) != len(wanted):
            raise Refusal(
                "INVALID_ARGUMENT",
                f"input size does not match signature: {len(sent)}!={len(wanted)}",
            )
        if sent != wanted:
            raise Refusal(
                "INVALID_ARGUMENT",
                f"input tensor alias not found in signature: {', '.join(sent - wanted)}"
                f". Inputs expected to be in the set {{{','.join(wanted)}}}.",
            )
        future = self.queues[name].put(arrays)
        try:
            return future.result(seconds)
        except TimeoutError:
            future.cancel()
            raise Refusal("DEADLINE_EXCEEDED", "Deadline Exceeded") from None

    def run(self, signature, arrays):
        feeds = {}
        for name, array in arrays.items():
            expected = tf.dtypes.as_dtype(signature.inputs[name].dtype)
            found = tf.dtypes.as_dtype(array.dtype)
            if found != expected:
                kinds = f"{expected.name} but {found.name}"
                raise Refusal(
                    "INVALID_ARGUMENT",
                    f"Expects arg[0] to be {kinds} is provided",
                )
            feeds[signature.inputs[name].name] = array
        fetches = {name: info.name for name, info in signature.outputs.items()}
        try:
            return self.session.run(fetches, feeds)
        except tf.errors.OpError as error:
            raise Refusal(tf_code(error), error.message) from error
        except ValueError as error:  # of Python's session, where C++ has a status
            raise Refusal("INVALID_ARGUMENT", str(error)) from error


class Queue:
    """Requests to one signature; whoever fails, fails with all of its batch."""

    def __init__(self, run, batching):
        self.run, self.batching = run, batching
        self.waiting = collections.deque()
        self.changed = threading.Condition()
        for _ in range(batching.threads):
            threading.Thread(target=self.work, daemon=True).start()

    def put(self, arrays):
        if not all(array.ndim for array in arrays.values()):
            raise Refusal("INVALID_ARGUMENT", "input tensors must have a dimension")
        size, most = len(next(iter(arrays.values()))), self.batching.most
        if size > most:
            raise Refusal(
                "INVALID_ARGUMENT",
                f"Task size {size} is larger than maximum input batch size {most}",
            )
        future = Future()
        with self.changed:
            queued = sum(size for size, _, _ in self.waiting) + size
            if queued > most * self.batching.queued:
                raise Refusal(
                    "UNAVAILABLE",
                    "The batch scheduling queue to which this task was submitted is "
                    "full",
                )
            self.waiting.append((size, arrays, future))
            self.changed.notify()
        return future

    def take(self):
        """Some requests: as many as fit, as soon as they are enough or waited long."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting)
            until = time.monotonic() + self.batching.seconds
            while sum(size for size, _, _ in self.waiting) < self.batching.most:
                left = until - time.monotonic()
                if left <= 0 or not self.changed.wait(left):
                    break
            batch, total = [], 0
            while self.waiting and total + self.waiting[0][0] <= self.batching.most:
                batch.append(self.waiting.popleft())
                total += batch[-1][0]
            return batch

    def work(self):
        while True:
            batch = [t for t in self.take() if t[2].set_running_or_notify_cancel()]
            if not batch:
                continue
            try:
                outputs = self.run(merged([arrays for _, arrays, _ in batch]))
            except Exception as error:
                for _, _, future in batch:
                    future.set_exception(error)
                continue
            start = 0
            for size, _, future in batch:
                rows = slice(start, start + size)
                future.set_result({n: array[rows] for n, array in outputs.items()})
                start += size


def merged(requests):
    joined = {}
    for name in requests[0]:
        arrays = [request[name] for request in requests]
        if len({(array.dtype, array.shape[1:]) for array in arrays}) > 1:
            raise Refusal(
                "INVALID_ARGUMENT", "Tensors of one batch must agree in type and shape"
            )
        joined[name] = np.concatenate(arrays)
    return joined


def tf_code(error):
    names = {
        getattr(tf.errors, name): name
        for name in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "ABORTED")
    }
    return names.get(error.error_code, "INTERNAL")


class Models:
    """All models of a `ModelServerConfig`."""

    def __init__(self, config, root, batching):
        self.config = {c.name: c for c in config.model_config_list.config}
        self.versions = {}
        for name, model in self.config.items():
            folder = root / model.base_path.strip("/").rpartition("/")[2]
            there = sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())
            policy = model.model_version_policy
            kept = (
                list(policy.specific.versions)
                or there[-(policy.latest.num_versions or 1) :]
            )
            self.versions[name] = {
                n: Version(folder / str(n), batching) for n in kept if n in there
            }

    def find(self, name, version=None, label=None):
        """A version and its number; the newest where nothing is said."""
        loaded = self.versions.get(name, {})
        if label:
            labels = self.config[name].version_labels if name in self.config else {}
            if label not in labels:
                raise Refusal(
                    "INVALID_ARGUMENT",
                    f"Unrecognized servable version label: {label}",
                )
            version = labels[label]
        if not loaded or (version is not None and version not in loaded):
            asked = f"Latest({name})" if version is None else None
            raise Refusal(
                "NOT_FOUND",
                "Servable not found for request: "
                f"{asked or f'Specific({name}, {version})'}",
            )
        version = max(loaded) if version is None else version
        return version, loaded[version]
