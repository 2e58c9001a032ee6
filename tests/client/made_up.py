"""A made-up server, images for it, and a reader of output files."""

import json
import random
import threading
import time

import numpy as np
from pyarrow import parquet

from deml_tf.client.failures import ServerError
from deml_tf.client.files import ImageFile
from deml_tf.client.transport import Description, Outputs


class Server:
    """Answers an image's first byte; `b"!"` spoils a request, as told.

    `b"?"` is no image, and the answer to `b"#"` is not sound.
    """

    def __init__(self, code="INVALID_ARGUMENT", spoilt=10**9):
        self.code, self.spoilt = code, spoilt
        self.asked, self.at_once, self.most_at_once = [], 0, 0
        self.lock, self.described = threading.Lock(), 0

    def describe(self, version, timeout):
        self.described += 1
        return Description(1, {"serving_default": {"image_bytes"}})

    def predict(self, version, images, timeout):
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.asked.append(images)
            bad = b"!" in images and self.spoilt > 0
            self.spoilt -= bad
        time.sleep(random.uniform(0, 0.005))
        with self.lock:
            self.at_once -= 1
        if bad:
            raise ServerError(self.code, "spoilt")
        values = np.array([float(i[0]) for i in images], np.float32)
        valid = np.array([i != b"?" for i in images])
        boxes, sound = (
            np.zeros((len(images), 2, 4)),
            np.array([i != b"#" for i in images]),
        )
        return Outputs(np.stack([values] * 3, 1), valid, boxes, sound)

    def close(self):
        pass


def held(contents):
    return {n: ImageFile(len(c), lambda c=c: c) for n, c in enumerate(contents)}


def rows_of(path):
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return {name: arrays[name].tolist() for name in arrays}
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pydict()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {name: [row[name] for row in rows] for name in rows[0]}
