"""An index of real files, an embedder without a network, a server on loopback."""

import contextlib
import io
import threading
import time

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from deml_tf.bulk.index_builder import build_index
from deml_tf.bulk.shard_format import KEYS, shard_name, shard_schema
from deml_tf.bulk.shard_reader import ShardReader
from deml_tf.runs.json_text import json_text
from deml_tf.search.query import Query, UnusableImageError

WEIGHTS = "5" * 64
SIDE = 4
DIM = 3 * SIDE * SIDE
BOXES = np.array([[0, 0, 1, 1], [0.25, 0.125, 0.75, 0.875]], np.float32)
THRESHOLD = 0.75
HOSTILE = "<script>alert('label')</script>"
LABELS = ["red", "green", HOSTILE, None]
IMAGES = 41


class StubEmbedder:
    """The colours of 4 x 4 places less their mean; boxes that are always the same."""

    def __init__(self):
        self.inside = self.most_inside = self.calls = 0
        self.wait = None  # an event to wait for

    def embed(self, encoded):
        self.inside += 1
        self.calls += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            if self.wait:
                assert self.wait.wait(30)
            return Query(embedding_of(encoded), BOXES)
        finally:
            self.inside -= 1


def embedding_of(encoded):
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    except Exception as error:
        raise UnusableImageError("it is no image") from error
    row = np.asarray(small, np.float64).ravel()
    row = row - row.mean() + 1e-3
    return (row / np.linalg.norm(row)).astype(np.float32)


def drawn(seed, size=(30, 20), kind="PNG"):
    """The file of an image of 4 x 4 random colours."""
    random = np.random.default_rng(seed)
    image = Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), np.uint8))
    file = io.BytesIO()
    image.resize(size, Image.Resampling.NEAREST).save(file, kind)
    return file.getvalue()


def write_index(folder, files, labels, **changes):
    """An index of files, as embed and index write it; other values of index.json win.

    Args:
        folder: is made.
        files: paths of images.
        labels: of each.
        **changes: of embeddings.json.
    """
    rows = np.stack([embedding_of(path.read_bytes()) for path in files])
    boxes = np.tile(BOXES.ravel(), (len(files), 1))
    shards = folder / "embeddings"
    shards.mkdir(parents=True)
    schema = shard_schema(DIM, len(BOXES), WEIGHTS)
    columns = [
        [str(path) for path in files],
        labels,
        [True] * len(files),
        [None] * len(files),
        rows.tolist(),
        boxes.tolist(),
    ]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=schema)
    parquet.write_table(table, shards / shard_name(0))
    about = {
        "format": 1,
        "model": "birds",
        "version": 3,
        "weights_sha256": WEIGHTS,
        "precision": "float32",
        "embedding_dim": DIM,
        "scales": len(BOXES),
        "threshold": THRESHOLD,
        "preprocessing": {},
        "list_sha256": "0" * 64,
        "images": len(files),
        "shard_size": len(files),
        "batch_size": 8,
        "shards": 1,
    } | changes
    assert tuple(about) == KEYS
    (shards / "embeddings.json").write_text(json_text(about))
    build_index(ShardReader(shards), folder / "index", "flat", None)
    return folder / "index"


@contextlib.contextmanager
def running(reader, embedder, most_bytes=200_000, names=(), **limits):
    """A server on loopback; gives its address."""
    from deml_tf.search import web_server
    from deml_tf.search.address import listen, read_address
    from deml_tf.search.site import Site

    listening, address = listen(read_address("127.0.0.1:0"))
    server = web_server.make_server(
        Site(reader, embedder), address.allowed_hosts(names), most_bytes, **limits
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield address.url.rstrip("/")
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
