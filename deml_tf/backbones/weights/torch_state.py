"""Read a torch checkpoint's tensors without torch and without running its pickle."""

import io
import os
import zipfile
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from deml_tf.backbones.weights.torch_pickle import (
    DTYPES,
    Refused,
    Storage,
    Tensor,
    unpickle,
)
from deml_tf.errors import DataError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


def _numbers(raw: memoryview, storage: Storage, order: Literal["<", ">"]) -> np.ndarray:
    dtype = np.dtype(DTYPES[storage.kind]).newbyteorder(order)
    if len(raw) != storage.count * dtype.itemsize:
        raise Refused(
            f"holds {len(raw)} bytes for storage {storage.key!r:.60} where "
            f"{storage.count * dtype.itemsize} belong"
        )
    values = np.frombuffer(raw, dtype)
    values = values.astype(dtype.newbyteorder("="), copy=False)
    if storage.kind == "BFloat16Storage":  # the upper half of a float32
        values = (values.astype("u4") << 16).view("f4")
    return values


def _read_legacy(content: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    stream = io.BytesIO(content)
    if unpickle(stream)[0] != _LEGACY_MAGIC:
        raise Refused("is no torch file")
    if unpickle(stream)[0] != _LEGACY_PROTOCOL:
        raise Refused("has another protocol version than 1001")
    system = unpickle(stream)[0]
    order: Literal["<", ">"] = (
        "<" if isinstance(system, dict) and system.get("little_endian") else ">"
    )
    tree, storages = unpickle(stream)
    keys = unpickle(stream)[0]
    texts = isinstance(keys, list) and all(type(key) is str for key in keys)
    if not texts or sorted(keys) != sorted(storages):
        raise Refused("lists other storages than its tensors use")
    view, at, arrays = memoryview(content), stream.tell(), {}
    for key in keys:
        storage = storages[key]
        end = at + 8 + storage.count * np.dtype(DTYPES[storage.kind]).itemsize
        count = int.from_bytes(view[at : at + 8], "little" if order == "<" else "big")
        if count != storage.count or end > len(content):
            raise Refused("is cut short")
        arrays[key] = _numbers(view[at + 8 : end], storage, order)
        at = end
    return tree, arrays


def _read_zip(content: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = {info.filename: info for info in archive.infolist()}
        roots = [n[: -len("data.pkl")] for n in infos if n.endswith("/data.pkl")]
        if len(roots) != 1:
            raise Refused("is no torch file")
        # Entries can share bytes, so that a few bytes would unpack to many.
        stored = [i for i in infos.values() if i.compress_type == zipfile.ZIP_STORED]
        if sum(info.file_size for info in stored) > len(content):
            raise Refused("has parts that overlap")

        def member(name: str) -> bytes:
            info = infos.get(roots[0] + name)
            if info is None:
                raise Refused(f"lacks its part {name!r:.60}")
            if info.compress_type != zipfile.ZIP_STORED:  # torch never compresses
                raise Refused(f"has a compressed part {name!r:.60}")
            return archive.read(info)

        marked = roots[0] + "byteorder" in infos
        order = ">" if marked and member("byteorder").strip() == b"big" else "<"
        tree, storages = unpickle(io.BytesIO(member("data.pkl")))
        arrays = {
            key: _numbers(memoryview(member(f"data/{key}")), storage, order)
            for key, storage in storages.items()
        }
    return tree, arrays


def _items(
    tree: Any, arrays: dict[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    if not isinstance(tree, dict):
        raise Refused("holds no dict of tensors")
    for name, tensor in tree.items():
        if not isinstance(tensor, Tensor):
            raise Refused(f"holds more than tensors, under {name!r:.60}")
        numbers = arrays[tensor.storage.key]
        strides = [s * numbers.itemsize for s in tensor.stride]
        yield (
            name,
            np.lib.stride_tricks.as_strided(
                numbers[tensor.offset :], tensor.size, strides, writeable=False
            ),
        )


def read_torch_state(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read a state dict of torch, in its zip or its older format, without torch.

    Only a flat dict of tensors is read (`torch.save(model.state_dict(), path)`);
    parameters count as tensors. Anything else in the pickle is refused before it runs.

    Args:
        path: The checkpoint file, whole in memory while it is read.

    Returns:
        Name -> read-only array, a view where tensors share a storage; bfloat16 comes as
        float32, every other dtype as itself.

    Raises:
        DataError: The file is missing, empty, cut short, not a torch file, or asks for
            anything but tensors; the message names the file and what it asked for.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise DataError(
            f"The weights {os.fspath(path)} cannot be read ({error.strerror}): "
            "give the path of a torch state dict."
        ) from error
    try:
        if not content:
            raise Refused("is empty")
        read = _read_zip if content.startswith(b"PK\x03\x04") else _read_legacy
        return dict(_items(*read(content)))
    except Refused as error:
        reason = str(error)
    except Exception as error:  # a broken pickle can fail in any way
        reason = f"is cut short or is no torch file ({type(error).__name__})"
    raise DataError(
        f"The weights {os.fspath(path)} are refused, for the file {reason}: give a "
        "whole file that torch.save(model.state_dict(), path) wrote."
    )
