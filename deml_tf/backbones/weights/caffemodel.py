"""Read a .caffemodel's weights without Caffe, on protobuf's own runtime."""

import itertools
import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from deml_tf.errors import DataError

_LARGEST = 2**31 - 1  # bytes that protobuf accepts as one message
_AXES = 32  # that Caffe allows a blob
_LONGEST_SHAPE = 400  # bytes; 32 axes take 352 at most
_MOST_FIELDS = 100_000  # of a net and its layers; GoogLeNet has 3,000
_OLD_SIZES = ("num", "channels", "height", "width")
# The part of Caffe's schema (caffe.proto) that holds weights; protobuf skips all other
# fields. Each field: name, number, type, and whether there can be many. Texts are read
# as bytes, as nothing guarantees that they are UTF-8.
_SCHEMA = {
    "BlobShape": (("dim", 1, "int64", True),),
    "BlobProto": (
        ("num", 1, "int64", False),
        ("channels", 2, "int64", False),
        ("height", 3, "int64", False),
        ("width", 4, "int64", False),
        ("data", 5, "float", True),
        ("shape", 7, "bytes", False),  # a BlobShape, read once it is known to be short
        ("double_data", 8, "double", True),
    ),
    "LayerParameter": (("name", 1, "bytes", False), ("blobs", 7, "BlobProto", True)),
    "V1LayerParameter": (
        ("layer", 1, "bytes", False),  # a V0 net's; only its presence counts
        ("name", 4, "bytes", False),
        ("blobs", 6, "BlobProto", True),
    ),
    "NetParameter": (
        ("layers", 2, "V1LayerParameter", True),
        ("layer", 100, "LayerParameter", True),
    ),
}


class _Refused(Exception):
    """What is wrong with the file, as the middle of a sentence."""


def _net_classes() -> tuple[type, type]:
    """Make the classes of NetParameter and BlobShape from the schema.

    They get a pool of their own, apart from a Caffe schema elsewhere in the process.
    """
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="deml_tf/caffe.proto", package="deml_tf.caffe", syntax="proto2"
    )
    for message, fields in _SCHEMA.items():
        described = file.message_type.add(name=message)
        for name, number, kind, many in fields:
            field = described.field.add(name=name, number=number)
            field.label = (
                field_type.LABEL_REPEATED if many else field_type.LABEL_OPTIONAL
            )
            if kind in _SCHEMA:
                field.type = field_type.TYPE_MESSAGE
                field.type_name = f".{file.package}.{kind}"
            else:
                field.type = field_type.Type.Value(f"TYPE_{kind.upper()}")
                field.options.packed = many
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    net, shape = (
        message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{file.package}.{name}")
        )
        for name in ("NetParameter", "BlobShape")
    )
    return net, shape


_NetParameter, _BlobShape = _net_classes()


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Read a number of seven bits per byte, and return it and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        number, at = number | (byte & 127) << shift, at + 1
        if byte < 128:
            return number, at
    raise DecodeError


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield each field's number and content, which is empty where it is a varint."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        match tag & 7:
            case 0:
                (_, at), size = _varint(message, at), 0
            case 1:
                size = 8
            case 2:
                size, at = _varint(message, at)
            case 5:
                size = 4
            case _:  # a group; Caffe has none
                raise DecodeError
        yield tag >> 3, message[at : at + size]
        at += size


def _check_count(content: bytes) -> None:
    """Refuse a file of countless fields: empty layers take three bytes each."""
    layers = [number for name, number, *_ in _SCHEMA["NetParameter"]]
    every = itertools.chain.from_iterable(
        itertools.chain([number], _fields(inside) if number in layers else ())
        for number, inside in _fields(memoryview(content))
    )
    if next(itertools.islice(every, _MOST_FIELDS, None), None) is not None:
        raise _Refused(f"has more than {_MOST_FIELDS} layers and settings of layers")


def _array(blob: Any, name: str) -> np.ndarray:
    """Read one blob; its sizes are checked against the count of its numbers."""
    if any(map(blob.HasField, _OLD_SIZES)):  # these win over a shape, as in Caffe
        shape = tuple(getattr(blob, size) for size in _OLD_SIZES)
    elif blob.HasField("shape"):
        if len(blob.shape) > _LONGEST_SHAPE:
            raise _Refused(
                f"gives a blob of the layer {name!r:.60} a shape of {len(blob.shape)} "
                "bytes"
            )
        shape = tuple(_BlobShape.FromString(blob.shape).dim)
    else:
        raise _Refused(f"gives a blob of the layer {name!r:.60} no shape")
    if len(shape) > _AXES or any(size < 1 for size in shape):
        raise _Refused(
            f"gives a blob of the layer {name!r:.60} the shape {shape!s:.60}"
        )
    numbers = blob.double_data or blob.data
    if math.prod(shape) != len(numbers):
        raise _Refused(
            f"holds {len(numbers)} numbers for a blob of the layer {name!r:.60} whose "
            f"shape is {shape!s:.60}"
        )
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite
        return np.asarray(numbers, "f4").reshape(shape)


def _layers(content: bytes) -> dict[str, list[np.ndarray]]:
    _check_count(content)
    net: Any = _NetParameter.FromString(content)
    if any(layer.HasField("layer") for layer in net.layers):
        raise _Refused(
            "is of Caffe's first format (V0), which upgrade_net_proto_binary "
            "of Caffe turns into today's"
        )
    layers = {}
    for layer in (*net.layers, *net.layer):
        if not layer.blobs:
            continue
        name = layer.name.decode(errors="backslashreplace")
        if name in layers:
            raise _Refused(f"holds the layer {name!r:.60} twice")
        layers[name] = [_array(blob, name) for blob in layer.blobs]
    if not layers:
        raise _Refused("holds no layer with weights")
    return layers


def read_caffemodel(path: str | os.PathLike[str]) -> dict[str, list[np.ndarray]]:
    """Read the weights of a net that Caffe saved, without Caffe.

    The fields are those of Caffe's caffe.proto, `layer` (today's) and `layers` (V1, as
    the nets of the model zoo have it). A file cut off between two layers is a whole
    message to protobuf: the caller must check that no layer is missing.

    Args:
        path: The file, whole in memory while it is read.

    Returns:
        Name of each layer with weights -> its blobs as float32, most often [weights,
        bias]. A blob in Caffe's older, four-dimensional form keeps its leading ones: a
        bias comes as (1, 1, 1, c).

    Raises:
        DataError: The file is missing, empty, cut short, no caffemodel, of Caffe's
            first format (V0), or holds a blob that is not what it says.
    """
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            content = file.read() if size <= _LARGEST else b""
    except OSError as error:
        raise DataError(
            f"The weights {os.fspath(path)} cannot be read ({error.strerror}): "
            "give the path of a .caffemodel."
        ) from error
    try:
        if size > _LARGEST:
            raise _Refused(
                f"has {size} bytes, more than the {_LARGEST} of a caffemodel"
            )
        if not content:
            raise _Refused("is empty")
        return _layers(content)
    except _Refused as error:
        reason = str(error)
    except (DecodeError, IndexError):
        reason = "is cut short or is no caffemodel"
    raise DataError(
        f"The weights {os.fspath(path)} are refused, for the file {reason}: give a "
        "whole file that Caffe saved, such as bvlc_googlenet.caffemodel of its model "
        "zoo."
    )
