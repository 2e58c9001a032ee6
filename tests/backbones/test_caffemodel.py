import itertools
import struct

import numpy as np
import pytest
from caffe_files import blob, layer, number, piece, varint, write_caffemodel
from google.protobuf import descriptor_pb2, descriptor_pool

from deml_tf.backbones.weights import caffemodel
from deml_tf.backbones.weights.caffemodel import read_caffemodel
from deml_tf.errors import DataError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.caffemodel"


def floats(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("f4")


def tower():
    return {
        "conv1/7x7_s2": [floats(4, 3, 7, 7), floats(4, seed=1)],
        "näme with spaces": [floats(2, 4, 1, 1, seed=2), floats(2, seed=3)],
        "fc": [floats(5, 8, seed=4)],
    }


def refuse(path, content=None, pattern="is cut short or is no caffemodel"):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=pattern) as caught:
        read_caffemodel(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 500


# --- what is read -----------------------------------------------------------------


@pytest.mark.parametrize("old", [False, True])
def test_layers_come_back(path, old):
    write_caffemodel(path, tower(), old)
    state = read_caffemodel(path)
    assert list(state) == list(tower())  # and not "data", which has no blobs
    for name, arrays in tower().items():
        assert len(state[name]) == len(arrays)
        for array, expected in zip(state[name], arrays, strict=True):
            ones = (1,) * (4 - expected.ndim) if old else ()
            assert array.shape == ones + expected.shape
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array.reshape(expected.shape), expected)


def test_both_kinds_of_layers_in_one_file(path):
    parts = [layer("b", [blob(floats(2))]), layer("a", [blob(floats(3))], old=True)]
    path.write_bytes(b"".join(parts))
    assert set(read_caffemodel(str(path))) == {"a", "b"}


def test_ways_to_say_the_same(path):
    values = floats(2, 3)
    whole = blob(values)
    halves = blob(values[:1], shape=(2, 3)) + piece(5, values[1:].tobytes())
    diff = piece(6, floats(2, 3, seed=1).tobytes())
    later = number(1234, 5) + piece(999, "a field of another branch of Caffe")
    ways = [
        whole,
        halves,
        blob(values, packed=False),
        blob(values, kind="f8"),
        blob(values, kind="f8", packed=False),
        whole + diff,
        later + whole + later,
        blob(values[:0], shape=(2, 3)) + piece(5, values.tobytes()),
    ]
    path.write_bytes(b"".join(layer(str(i), [b]) for i, b in enumerate(ways)))
    for name, (array,) in read_caffemodel(path).items():
        np.testing.assert_array_equal(array, values, name)


def test_old_sizes_win_over_a_shape(path):  # as in Caffe
    values = floats(1, 2, 3, 4)
    both = blob(values, old=True) + piece(7, piece(1, varint(24)))
    path.write_bytes(layer("a", [both]))
    assert read_caffemodel(path)["a"][0].shape == (1, 2, 3, 4)


def test_another_schema_of_caffe_stays_apart():
    default = descriptor_pool.Default()
    for name in ("deml_tf/caffe.proto", "caffe.proto"):
        with pytest.raises(KeyError):
            default.FindFileByName(name)
    theirs = descriptor_pb2.FileDescriptorProto(
        name="deml_tf/caffe.proto", package="deml_tf.caffe"
    )
    theirs.message_type.add(name="NetParameter")
    default.AddSerializedFile(theirs.SerializeToString())
    caffemodel._net_classes()


# --- what is refused --------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "pattern"),
    [
        (blob([1, 2, 3], shape=(2, 2)), r"3 numbers.*'bad'.*\(2, 2\)"),
        (blob([1, 2, 3, 4, 5], shape=(2, 2)), "5 numbers"),
        (blob([1, 2, 3, 4], old=True, shape=(2, 3)), r"4 numbers.*\(1, 1, 2, 3\)"),
        (blob([1, 2], shape=(-1, -2)), r"'bad' the shape \(-1, -2\)"),
        (blob([], shape=(0, 3)), r"the shape \(0, 3\)"),
        (blob([1], shape=(2**32, 2**32)), "1 numbers"),  # 2^64 is 0 in 64 bits
        (blob([1], shape=(2**62, 4)), "1 numbers"),
        (blob([], shape=(2**63 - 1,) * 3), "0 numbers"),
        (blob([1], shape=(1,) * 33), "the shape"),
        (blob([1], shape=(1,) * 5000), "a shape of 5003 bytes"),
        (piece(5, struct.pack("<f", 1)), "'bad' no shape"),
        (number(1, 1) + piece(5, struct.pack("<f", 1)), r"shape \(1, 0, 0, 0\)"),
        (b"", "'bad' no shape"),
        (blob([1], shape=(2,)) + piece(5, b"123"), "cut short"),
        (piece(7, b"\x08"), "cut short"),
    ],
    ids=itertools.count(),
)
def test_blobs_that_are_not_what_they_say(path, broken, pattern):
    good = layer("good", [blob(floats(2))])
    refuse(path, good + layer("bad", [blob(floats(3)), broken]), pattern)


def test_a_scalar_is_a_blob(path):
    path.write_bytes(layer("scale", [blob(np.float32(7))]))
    assert read_caffemodel(path)["scale"][0] == 7


def test_a_double_beyond_float32_is_infinite(path):
    path.write_bytes(layer("a", [blob([1e300, 1], kind="f8")]))
    assert read_caffemodel(path)["a"][0].tolist() == [np.inf, 1]


def test_a_name_that_is_no_utf8(path):
    path.write_bytes(layer("aaa", [blob(floats(2))]).replace(b"aaa", b"a\xff\n"))
    assert list(read_caffemodel(path)) == ["a\\xff\n"]


def test_layers_that_are_refused(path):
    good = layer("twice", [blob(floats(2))])
    refuse(path, good + good, "holds the layer 'twice' twice")
    long = layer("n" * 10_000, [blob(floats(2))])
    refuse(path, long + long, "'nnnn")
    first = piece(2, piece(1, piece(1, "conv1") + piece(50, blob(floats(2)))))
    refuse(path, first, r"first format \(V0\)")
    refuse(path, piece(1, "GoogleNet") + layer("data", []), "no layer with weights")


@pytest.mark.parametrize(
    "one",
    [
        layer("", []),
        layer("", [], old=True),
        piece(100, b""),
        piece(2, b""),
        number(6, 224),  # input_dim
        piece(100, piece(7, b"") * 1000),
        piece(2, piece(6, b"") * 1000),
    ],
    ids=itertools.count(),
)
def test_layers_and_blobs_without_number(path, one):
    good = layer("good", [blob(floats(2))])
    refuse(path, good + one * 100_000, "more than 100000 layers and settings of layers")


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        (b"", "is empty"),
        (b"\0", "no caffemodel"),
        (b"name: 'GoogleNet'\nlayer {\n", "no caffemodel"),
        (b"<!DOCTYPE html><html>404</html>", "no caffemodel"),
        (b"version https://git-lfs.github.com/spec/v1\n", "no caffemodel"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 99, "no caffemodel"),
        (b"PK\x03\x04" + b"\0" * 99, "no caffemodel"),
        (b"\xff" * 99, "no caffemodel"),
        (b"\x0b" * 100_000, "no caffemodel"),  # groups in groups
        (piece(1, "another message"), "no layer with weights"),
    ],
    ids=itertools.count(),
)
def test_no_caffemodel(path, content, pattern):
    refuse(path, content, pattern)


def test_missing_file_and_folder(path):
    refuse(path, pattern="cannot be read")
    refuse(path.parent, pattern="cannot be read")


def test_a_file_too_large(path):
    with open(path, "wb") as file:
        file.truncate(2**31)  # takes no room on the disk
    refuse(path, pattern="2147483648 bytes")


@pytest.mark.parametrize("old", [False, True])
def test_truncation_is_seen_or_leaves_whole_layers(path, old):
    write_caffemodel(path, tower(), old)
    content, whole = path.read_bytes(), read_caffemodel(path)
    between = 0
    for length in range(len(content) - 1, 0, -13):
        path.write_bytes(content[:length])
        try:
            state = read_caffemodel(path)
        except DataError:
            continue
        between += 1
        assert len(state) < len(whole)
        for name, arrays in state.items():
            for a, b in zip(arrays, whole[name], strict=True):
                np.testing.assert_array_equal(a, b)
    assert between <= 2


def test_flipped_bytes_give_arrays_or_a_data_error(path):
    write_caffemodel(path, {"a": [floats(2, 3)], "b": [floats(2)]})
    content = path.read_bytes()
    for at in range(len(content)):
        for flip in (0x01, 0xFF):
            broken = bytearray(content)
            broken[at] ^= flip
            path.write_bytes(broken)
            try:
                state = read_caffemodel(path)
            except DataError:
                continue
            assert all(a.dtype == "f4" for arrays in state.values() for a in arrays)
