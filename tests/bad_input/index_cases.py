"""Wrong inputs of an index: embeddings, kinds, what is added and removed."""

import contextlib
import io
import sys
from pathlib import Path

from bad_case import Case
from world import also, write

sys.path.append(str(Path(__file__).parent.parent / "bulk"))

from made_shards import OTHER_WEIGHTS, clusters, write_shards  # noqa: E402

BUILD = "index --embeddings=made --output=birds"


def shards(name="made", count=20, spoil=None, **given):
    """Makes a folder of embeddings of 8 numbers, one of them spoilt if asked."""

    def make(folder):
        rows = clusters(count, 8)
        if spoil is not None:
            rows[3] = spoil
        write_shards(folder / name, rows, **given)

    return make


def index(kind="flat"):
    """Makes an index `birds` of 20 images `/images/image0.jpg` and so on."""

    def make(folder):
        from deml_tf.bulk.index_builder import build_index
        from deml_tf.bulk.shard_reader import ShardReader

        shards("of_birds")(folder)
        with contextlib.redirect_stdout(io.StringIO()):
            build_index(ShardReader(folder / "of_birds"), folder / "birds", kind)

    return make


def without(name):
    return lambda folder: (folder / name).unlink()


CASES = (
    Case(
        "no index",
        "index --embeddings=made",
        2,
        "--output is missing: name the folder of the index.",
        shards(),
    ),
    Case(
        "no embeddings",
        "index --output=birds",
        2,
        "--embeddings is missing: name the folder that python -m deml_tf.embed has "
        "written, or give --add or --remove.",
    ),
    Case(
        "a folder without embeddings",
        "index --embeddings=images --output=birds",
        2,
        "--embeddings=images: images/embeddings.json cannot be read (No such file or "
        "directory): name a folder that python -m deml_tf.embed has written.",
    ),
    Case(
        "an embedding that is not finished",
        BUILD,
        1,
        "--embeddings=made lacks shard_00001.parquet, one of 2 shards: give the same "
        "embed command again, which writes the missing ones.",
        also(shards(sizes=[10, 10]), without("made/shard_00001.parquet")),
    ),
    Case(
        "an embedding that holds NaN",
        BUILD,
        1,
        "made/shard_00000.parquet: 1 of 20 rows hold NaN or inf, the first at index 3; "
        "look at the image and the weights behind it.",
        shards(spoil=float("nan")),
    ),
    Case(
        "no valid image",
        BUILD,
        1,
        "--embeddings=made holds no valid image: see the column reason of "
        "shard_00000.parquet.",
        shards(invalid=range(20)),
    ),
    Case(
        "an unknown kind of index",
        f"{BUILD} --kind=annoy",
        2,
        "--kind=annoy: give flat or hnsw or ivfpq.",
        shards(),
    ),
    Case(
        "a parameter of another kind of index",
        f"{BUILD} --hnsw_m=8",
        2,
        "--hnsw_m=8 is for --kind=hnsw, not flat: leave it out, or give --kind=hnsw.",
        shards(),
    ),
    Case(
        "a graph of one link",
        f"{BUILD} --kind=hnsw --hnsw_m=1",
        2,
        "--hnsw_m=1: it must be 2 to 32767.",
        shards(),
    ),
    Case(
        "too few images for their kind of index",
        f"{BUILD} --kind=ivfpq",
        2,
        "--kind=ivfpq needs at least 9,984 embeddings to train on, and here are 20: "
        "give --kind=flat, which is exact.",
        shards(),
    ),
    Case(
        "an index where something else is",
        "index --embeddings=made --output=made",
        2,
        "--output=made holds embeddings.json, which is no part of an index: name an "
        "empty or a new folder.",
        shards(),
    ),
    Case(
        "an index below a file",
        "index --embeddings=made --output=tiny.cfg/birds",
        2,
        "--output=tiny.cfg/birds leads through the file DIR/tiny.cfg: name another "
        "folder.",
        shards(),
    ),
    Case(
        "adding and building at once",
        f"{BUILD} --add=more",
        2,
        "--embeddings=made is for a new index, and --add and --remove change one: "
        "leave one of them out.",
        shards(),
    ),
    Case(
        "adding to what is no index",
        "index --output=images --add=made",
        2,
        "--output=images is no index, for its index.json cannot be read (No such file "
        "or directory): name a folder that python -m deml_tf.index has written.",
        shards(),
    ),
    Case(
        "adding embeddings of another model",
        "index --output=birds --add=made",
        1,
        "--add=made come from cars 3 (weights ffffffffffff), and --output=birds holds "
        "embeddings of birds 3 (weights 0123456789ab), which cannot be compared: embed "
        "with birds 3, or build an index of cars 3.",
        also(index(), shards(weights=OTHER_WEIGHTS, model="cars")),
    ),
    Case(
        "adding images that are there",
        "index --output=birds --add=made",
        2,
        "--add=made: 20 of its images are in --output=birds already, such as "
        "'/images/image0.jpg': list them in a file for --remove, which may be given "
        "with --add.",
        also(index(), shards()),
    ),
    Case(
        "removing what is not there",
        "index --output=birds --remove=gone.txt",
        2,
        "'/images/bird.jpg' is no path in --output=birds: write paths as its "
        "rows.parquet has them, one a line.",
        also(index(), write("gone.txt", "/images/image0.jpg\n/images/bird.jpg\n")),
    ),
    Case(
        "removing from a graph",
        "index --output=birds --remove=gone.txt",
        2,
        "--output=birds is of kind hnsw, which forgets no image: build it again of the "
        "embeddings that stay, or as flat or ivfpq.",
        also(index("hnsw"), write("gone.txt", "/images/image0.jpg\n")),
    ),
    Case(
        "no list of what to remove",
        "index --output=birds --remove=gone.txt",
        2,
        "--remove=gone.txt cannot be read (No such file or directory): give a text "
        "file with one path a line.",
        index(),
    ),
    Case(
        "an empty list of what to remove",
        "index --output=birds --remove=gone.txt",
        1,
        "--remove=gone.txt is empty: write one path a line.",
        also(index(), write("gone.txt", "\n")),
    ),
    Case(
        "an index with the description of something else",
        "index --output=birds --add=made",
        1,
        "--output=birds: its index.json is not what this command writes (KeyError: "
        "'format'): name a folder that python -m deml_tf.index has written.",
        also(index(), shards(), write("birds/index.json", "{}")),
    ),
)
