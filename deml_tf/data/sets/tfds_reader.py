"""Read sets of tensorflow-datasets: prepared images are used where they are."""

import difflib
import os
import re
import socket
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import tensorflow_datasets as tfds

from deml_tf.cli.printing import say
from deml_tf.data.example import Box, Example
from deml_tf.data.image_bytes import ShardPlace
from deml_tf.data.image_files import is_folder
from deml_tf.data.sets.tfds import BENCHMARKS
from deml_tf.data.sets.tfds_records import Images, find_images
from deml_tf.data.splits import SIDES
from deml_tf.errors import DataError, UsageError
from deml_tf.runs.file_lock import locked_if_possible

# With names of other forms tensorflow-datasets would ask the network.
_NAME = re.compile(r"(\w+)(/[\w.\-]+)?(:\d+\.\d+\.\d+)?", re.ASCII)


def read_tfds(
    name: str, data_dir: str | os.PathLike[str] | None = None
) -> list[Example]:
    """Find the images of a set, and prepare the set first if need be.

    All splits are read. If no class is in two of them (Stanford Online Products), they
    are the roles. Otherwise they are joined, the first half of the classes by number is
    trained on, and the other half is tested on.

    Args:
        name: `NAME`, `NAME/CONFIG` or `NAME:VERSION`, or all three.
        data_dir: The folder that holds sets of tensorflow-datasets, by default that
            library's own.

    Returns:
        The examples in the order of splits and records. Each path is a place in a
        shard.

    Raises:
        UsageError: There is no such set, or it has no images or no classes.
        DataError: It cannot be prepared, or what is prepared cannot be used.
    """
    data_dir = os.fspath(data_dir) if data_dir else None
    builder = _builder(name, data_dir)
    image, label, box = _features(name, builder.info.features)
    if not builder.is_prepared():
        builder = _prepared(name, data_dir, builder)
    kind = builder.info.file_format
    if kind != tfds.core.FileFormat.TFRECORD:
        raise DataError(
            f"{name} is prepared as {getattr(kind, 'value', kind)} in "
            f"{builder.data_path}, whose images cannot be read in place; prepare it "
            f"again with tfds build {name} --file_format=tfrecord --overwrite"
        )
    shards = [
        (split, os.fspath(path))
        for split, info in builder.info.splits.items()
        for path in info.filepaths
    ]
    images = find_images([path for _, path in shards], image, label, box)
    return _examples(name, shards, images, builder.info.features[label])


def _examples(
    name: str, shards: list[tuple[str, str]], images: Images, classes: Any
) -> list[Example]:
    labelled = images.label >= 0
    if not labelled.all():  # -1 usually stands for "unknown"
        say(
            f"WARNING: tfds:{name}: {int((~labelled).sum()):,} of {len(labelled):,} "
            "images have no class and are left out"
        )
    if not labelled.any():
        raise DataError(f"tfds:{name} holds no image with a class; use another set")
    images = Images(*(column[labelled] for column in images))
    splits = np.array([split for split, _ in shards])[images.shard]
    pairs = set(zip(images.label.tolist(), splits.tolist(), strict=True))
    apart = len(pairs) == len(np.unique(images.label))
    found = set(splits.tolist())
    listed = apart and {"train", "test"} <= found <= set(SIDES)
    names = {n: classes.int2str(n) for n in np.unique(images.label).tolist()}
    half = classes.num_classes // 2
    examples = []
    for row, split in zip(zip(*images, strict=True), splits.tolist(), strict=True):
        shard, record, start, length, number, box = row
        place = ShardPlace(shards[shard][1], int(record), int(start), int(length))
        role = split if listed else "train" if number < half else "test"
        examples.append(Example(place.path, names[int(number)], role, _box(box)))
    return examples


def _box(corners: np.ndarray) -> Box | None:
    ymin, xmin, ymax, xmax = np.clip(corners, 0.0, 1.0).tolist()  # NaN stays NaN
    return (ymin, xmin, ymax, xmax) if ymin < ymax and xmin < xmax else None


def _builder(name: str, data_dir: str | None) -> Any:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"dataset=tfds:{name} is no set's name; write tfds:NAME, "
            "tfds:NAME/CONFIG or tfds:NAME:VERSION"
        )
    # Without a version, the prepared one counts, even if the library knows a newer one.
    version = "" if ":" in name else ":*.*.*"
    try:
        return tfds.builder(name + version, data_dir=data_dir)
    except Exception as error:  # the library raises half a dozen kinds of error
        known = [*tfds.list_builders(with_community_datasets=False), *_held(data_dir)]
        base = re.split("[/:]", name)[0]
        if base in known:
            raise UsageError(
                f"dataset=tfds:{name} is no version or configuration of {base} "
                f"({_reason(error)}); leave it out, or name another"
            ) from error
        near = difflib.get_close_matches(base, known, 3)
        mend = f"did you mean {' or '.join('tfds:' + n for n in near)}" if near else ""
        raise UsageError(
            f"dataset=tfds:{name} is no set of tensorflow-datasets, nor prepared in "
            f"{data_dir or 'its own data folder'}; {mend or 'correct the name'}"
        ) from error


def _held(data_dir: str | None) -> list[str]:
    if not data_dir or not os.path.isdir(data_dir):
        return []
    return sorted(entry.name for entry in os.scandir(data_dir) if is_folder(entry))


def _features(name: str, features: Any) -> tuple[str, str, str | None]:
    """Return the names of the features that are the image, its class and its box."""
    hold = features if isinstance(features, tfds.features.FeaturesDict) else {}

    def of(kind: type, *usual: str) -> str | None:
        found = [key for key in hold if isinstance(hold[key], kind)]
        found = [key for key in usual if key in found] or found
        return found[0] if len(found) == 1 or {*usual} & {*found} else None

    image = of(tfds.features.Image, "image")
    label = of(tfds.features.ClassLabel, "label", "class_id")
    for found, what in ((image, "image"), (label, "class")):
        if found is None:
            raise UsageError(
                f"dataset=tfds:{name} has not one {what} a record (its features are "
                f"{', '.join(hold) or 'no dictionary'}); use a set of labelled images"
            )
    assert image is not None and label is not None
    return image, label, of(tfds.features.BBoxFeature, "bbox")


def _prepared(name: str, data_dir: str | None, builder: Any) -> Any:
    """Download and prepare a set; if that fails, explain how to do without.

    One of several processes does this, and the others wait for it.
    """
    base = builder.name
    layout = BENCHMARKS.get(base, "folder")
    try:
        _check_network(builder)
        # Without a network it would wait for its second source, a bucket of its own.
        config = tfds.download.DownloadConfig(try_download_gcs=False)
        with locked_if_possible(Path(builder.data_dir)):
            builder = _builder(name, data_dir)  # it looks only once, when it is made
            if not builder.is_prepared():
                builder.download_and_prepare(download_config=config)
            return builder
    except Exception as error:  # of any kind: network, disk, formats, missing packages
        what = "its official layout" if layout != "folder" else "one folder a class"
        raise DataError(
            f"tensorflow-datasets cannot prepare {name} ({_reason(error)}); get the "
            f"images yourself, in {what}, and use dataset={layout} "
            "data_dir=FOLDER"
        ) from error


def _check_network(builder: Any) -> None:
    """Fail at once where tensorflow-datasets would try for minutes."""
    urls = [urlsplit(url) for url in getattr(type(builder), "url_infos", None) or {}]
    proxies = urllib.request.getproxies()
    if any({url.scheme, "all"} & proxies.keys() for url in urls):
        return  # the proxy looks names up
    hosts = {url.hostname for url in urls}
    error: OSError | None = None
    for host in hosts - {None}:
        try:
            socket.getaddrinfo(host, None)
            return
        except OSError as failure:
            error = OSError(f"cannot find {host}: is there a network?")
            error.__cause__ = failure
    if error:
        raise error


def _reason(error: Exception) -> str:
    """Return the first line of an error without the preamble of the library."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"^Failed to construct .*?}\": ", "", lines[0]).strip().rstrip(".:")
