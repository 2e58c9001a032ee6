"""Writes caffemodels byte by byte, after the numbers in Caffe's caffe.proto."""

import struct
from pathlib import Path

import numpy as np


def varint(value):
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def number(field, value):
    return varint(field << 3) + varint(value)


def piece(field, content):
    """A message, a text or packed numbers."""
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content


def blob(array, old=False, kind="f4", shape=None, packed=True):
    """BlobProto: old 4-D sizes or a shape; data as floats ("f4") or doubles ("f8")."""
    shape = np.shape(array) if shape is None else shape
    if old:
        sizes = (1,) * (4 - len(shape)) + tuple(shape)
        out = b"".join(number(i, size) for i, size in enumerate(sizes, 1))
    else:
        out = piece(7, piece(1, b"".join(map(varint, shape))))
    raw = np.asarray(array, f"<{kind}").tobytes()
    field = {"f4": 5, "f8": 8}[kind]
    if packed:
        return out + piece(field, raw)
    size, wire = {"f4": (4, 5), "f8": (8, 1)}[kind]
    tag = varint(field << 3 | wire)
    return out + b"".join(tag + raw[i : i + size] for i in range(0, len(raw), size))


def layer(name, blobs, old=False):
    """V1LayerParameter of `layers` (old) or LayerParameter of `layer`."""
    if old:
        content = piece(2, "below") + piece(3, "above") + piece(4, name) + number(5, 4)
        return piece(2, content + b"".join(piece(6, b) for b in blobs))
    content = piece(1, name) + piece(2, "Convolution") + piece(3, "below")
    rate = piece(6, varint(3 << 3 | 5) + struct.pack("<f", 1.0))  # param { lr_mult }
    return piece(100, content + rate + b"".join(piece(7, b) for b in blobs))


def write_caffemodel(path, blobs, old=False):
    """Writes blobs, arrays by layer's name, in today's or the model zoo's format."""
    net = piece(1, "GoogleNet") + layer("data", [], old)
    net += b"".join(
        layer(name, [blob(array, old) for array in arrays], old)
        for name, arrays in blobs.items()
    )
    Path(path).write_bytes(net)
    return str(path)
