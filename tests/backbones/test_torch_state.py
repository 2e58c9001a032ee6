"""Checkpoints are written here by hand, as torch writes them; torch is never used."""

import collections
import inspect
import io
import os
import pickle
import struct
import sys
import types
import zipfile
import zlib
from typing import Any

import numpy as np
import pytest

from deml_tf.backbones.weights import torch_pickle
from deml_tf.backbones.weights.torch_state import read_torch_state
from deml_tf.errors import DataError

KINDS = {
    "f8": "DoubleStorage",
    "f4": "FloatStorage",
    "f2": "HalfStorage",
    "i8": "LongStorage",
    "i4": "IntStorage",
    "i2": "ShortStorage",
    "i1": "CharStorage",
    "u1": "ByteStorage",
    "?": "BoolStorage",
    "bf": "BFloat16Storage",
}


def stand_in(module, name):
    return type(name, (), {"__module__": module})


TORCH = types.ModuleType("torch")
UTILS = types.ModuleType("torch._utils")
for kind in KINDS.values():
    setattr(TORCH, kind, stand_in("torch", kind))


def _rebuild_tensor_v2(*arguments): ...
def _rebuild_parameter(*arguments): ...


for function in (_rebuild_tensor_v2, _rebuild_parameter):
    function.__module__ = "torch._utils"
    setattr(UTILS, function.__name__, function)


class Storage:
    def __init__(self, key, kind, values, count=None):
        self.key, self.kind, self.values = key, kind, values
        self.count = len(values) if count is None else count


class Call:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def tensor(storage, size, stride, offset=0, function=_rebuild_tensor_v2):
    hooks = collections.OrderedDict()
    return Call(function, storage, offset, size, stride, False, hooks)


def dump(tree, legacy, protocol=2):
    storages = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if not isinstance(obj, Storage):
                return None
            storages[obj.key] = obj
            kind = getattr(TORCH, KINDS[obj.kind])
            pid = ("storage", kind, obj.key, "cpu", obj.count)
            return (*pid, None) if legacy else pid

    stream = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", TORCH)
        patch.setitem(sys.modules, "torch._utils", UTILS)
        Pickler(stream, protocol).dump(tree)
    return stream.getvalue(), storages


def write_legacy(path, tree, protocol=2, pickled=None):
    body, storages = dump(tree, legacy=True, protocol=protocol)
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    content = b"".join(
        (
            pickle.dumps(0x1950A86A20F9469CFC6C, 2),
            pickle.dumps(1001, 2),
            pickle.dumps(system, 2),
            body if pickled is None else pickled,
            pickle.dumps(sorted(storages), 2),
        )
    )
    for key in sorted(storages):
        values = storages[key].values
        content += struct.pack("<q", len(values)) + values.tobytes()
    path.write_bytes(content)
    return path


def write_zip(path, tree, protocol=2, pickled=None, order=b"little", compress=0):
    body, storages = dump(tree, legacy=False, protocol=protocol)
    with zipfile.ZipFile(path, "w", compress) as archive:
        archive.writestr("net/data.pkl", body if pickled is None else pickled)
        archive.writestr("net/byteorder", order)
        for key, storage in storages.items():
            values = storage.values
            if order == b"big":
                values = values.byteswap()
            archive.writestr(f"net/data/{key}", values.tobytes())
        archive.writestr("net/version", b"3\n")
    return path


WRITERS = (write_legacy, write_zip)
both = pytest.mark.parametrize("write", WRITERS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.pth"


def tree_of(value):
    tree: Any = collections.OrderedDict([("layer.weight", value)])
    tree._metadata = collections.OrderedDict([("", {"version": 1})])
    return tree


def floats(numbers, key="0", **more):
    return Storage(key, "f4", np.arange(numbers, dtype="f4"), **more)


@both
@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("kind", [k for k in KINDS if k != "bf"])
def test_dtypes(path, write, protocol, kind):
    values = np.array([0, 1, 3, 100, 7, 1], kind)
    tree = tree_of(tensor(Storage("a", kind, values), (2, 3), (3, 1)))
    state = read_torch_state(write(path, tree, protocol=protocol))
    assert list(state) == ["layer.weight"]
    array = state["layer.weight"]
    assert array.dtype == np.dtype(kind)
    np.testing.assert_array_equal(array, values.reshape(2, 3))


@both
def test_bfloat16_becomes_float32(path, write):
    exact = np.array([1.0, -2.5, 0.15625, np.inf], "f4")
    halves = (exact.view("u4") >> 16).astype("u2")
    state = read_torch_state(
        write(path, tree_of(tensor(Storage("a", "bf", halves), (4,), (1,))))
    )
    assert state["layer.weight"].dtype == np.float32
    np.testing.assert_array_equal(state["layer.weight"], exact)


@both
def test_strides_offsets_and_shared_storages(path, write):
    base = floats(24)
    whole = np.arange(24, dtype="f4")
    state = read_torch_state(
        write(
            path,
            {
                "transposed": tensor(base, (4, 3), (1, 4), 5),
                "column": tensor(base, (6,), (4,), 3),
                "scalar": tensor(base, (), (), 23),
                "empty": tensor(base, (0, 3), (3, 1), 24),
                "spread": tensor(base, (3, 2), (0, 1), 1),
                "other": tensor(floats(3, "1"), (3,), (1,)),
                "last": tensor(base, (2, 2), (2, 1), 20),
            },
        )
    )
    expected = {
        "transposed": whole[5:17].reshape(3, 4).T,
        "column": whole[3::4],
        "scalar": whole[23],
        "empty": np.zeros((0, 3), "f4"),
        "spread": np.array([[1, 2]] * 3, "f4"),
        "other": whole[:3],
        "last": whole[20:].reshape(2, 2),
    }
    assert list(state) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(state[name], values)
        assert state[name].shape == values.shape
    assert np.shares_memory(state["column"], state["transposed"])
    with pytest.raises(ValueError, match="read-only"):
        state["column"][0] = 1


@both
def test_parameters_count_as_tensors(path, write):
    inner = tensor(floats(4), (4,), (1,))
    tree = tree_of(Call(_rebuild_parameter, inner, True, collections.OrderedDict()))
    state = read_torch_state(write(path, tree))
    np.testing.assert_array_equal(state["layer.weight"], np.arange(4))


def test_big_endian_zip(path):
    tree = tree_of(tensor(floats(4), (4,), (1,)))
    state = read_torch_state(write_zip(path, tree, order=b"big"))
    np.testing.assert_array_equal(state["layer.weight"], np.arange(4))
    assert state["layer.weight"].dtype.isnative


def test_view_of_a_legacy_storage(path):
    # (root, view key, offset, length), as torch wrote views before tensors had offsets
    body, _ = dump(tree_of(tensor(floats(6), (2,), (1,), 1)), legacy=True)
    view = pickle.dumps(("v", 3, 2), 2)[2:-1]  # without its PROTO and STOP
    assert body.count(b"NtQ") + body.count(b"Ntq\x08Q") == 1
    marker = b"NtQ" if b"NtQ" in body else b"Ntq\x08Q"
    # without the tuple's own memo slots, which are taken
    view = view.replace(b"q\x00", b"").replace(b"q\x01", b"")
    body = body.replace(marker, view + marker[1:])
    path = write_legacy(path, tree_of(tensor(floats(6), (2,), (1,), 1)), pickled=body)
    np.testing.assert_array_equal(read_torch_state(path)["layer.weight"], [4, 5])


def refuse(path, pattern=None):
    with pytest.raises(DataError, match=pattern) as caught:
        read_torch_state(path)
    assert str(path) in str(caught.value)
    assert "give " in str(caught.value)


# --- pickles that want more than tensors ------------------------------------------

MARK = "fell-for-it"


def evil(module, name, *arguments):
    """Pickle a call of any global."""
    body = pickle.dumps(arguments, 2)[2:-1]
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + body + b"R."


CALLS = [
    ("os", "system", f"touch {MARK}"),
    ("posix", "system", f"touch {MARK}"),
    ("subprocess", "check_output", ["touch", MARK]),
    ("builtins", "eval", f"open({MARK!r}, 'w')"),
    ("builtins", "exec", f"open({MARK!r}, 'w')"),
    ("builtins", "getattr", "x", "y"),
    ("builtins", "__import__", "os"),
    ("builtins", "open", MARK, "w"),
    ("__builtin__", "eval", f"open({MARK!r}, 'w')"),
    ("io", "open", MARK, "w"),
    ("_codecs", "encode", "x", "latin1"),
    ("numpy", "load", MARK),
    ("torch", "load", MARK),
    ("torch", "FloatTensor", 3),
    ("torch", "FloatStorage.__init__", 3),
    ("torch", "FloatStorage", 3),
    ("torch.serialization", "load", MARK),
    ("torch.storage", "_load_from_bytes", b"x"),
    ("torch._utils", "_rebuild_tensor_v2.__globals__", "x"),
    ("torch._utils", "os.system", "x"),
    ("collections", "OrderedDict.__init__", "x"),
    ("collections", "_sys.exit", 3),
    ("collections", "namedtuple", "A", "b"),
    ("deml_tf.errors", "DataError", "x"),
]


@both
@pytest.mark.parametrize("call", CALLS, ids=lambda c: f"{c[0]}.{c[1]}")
def test_no_other_global_is_ever_called(path, write, call, monkeypatch):
    monkeypatch.chdir(path.parent)
    name = f"{call[0]}.{call[1]}"
    refuse(write(path, {}, pickled=evil(*call)), name.replace(".", r"\."))
    assert not os.path.exists(MARK)


def test_the_first_pickles_of_a_legacy_file_are_guarded_too(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    path.write_bytes(evil("os", "system", f"touch {MARK}"))
    refuse(path, r"os\.system")
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    path.write_bytes(magic + evil("os", "system", f"touch {MARK}"))
    refuse(path, r"os\.system")
    assert not os.path.exists(MARK)


DICT = b"ccollections\nOrderedDict\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
PARAMETER = b"ctorch._utils\n_rebuild_parameter\n"
FLOATS = b"ctorch\nFloatStorage\n"


def unicode(text):
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def pid(key="0", count=b"K\x04", kind=FLOATS, end=b""):
    head = unicode("storage") + kind + unicode(key) + unicode("cpu")
    return b"(" + head + count + end + b"tQ"


TRICKS = {
    "other opcode: new object": DICT + b")\x81",
    "other opcode: instance": b"(icollections\nOrderedDict\n",
    "other opcode: object": b"(" + DICT + b"o",
    "other opcode: registry": b"\x82\x01",
    "other opcode: persistent text": b"P0\n",
    "other opcode: old text": b"S'x'\n",
    "other opcode: old number": b"I1\n",
    "other opcode: long text": b"\x8d" + struct.pack("<Q", 2**62),
    "other opcode: bytearray": b"\x96" + struct.pack("<Q", 2**40),
    "other opcode: next buffer": b"\x97",
    "dict from a list": DICT + b"(]tR",
    "dict from a call": DICT + DICT + b"\x85R",
    "storage called": FLOATS + b"K\x04\x85R",
    "tensor of nothing": REBUILD + b")R",
    "tensor of too much": REBUILD + b"(" + pid() + b"K\x00)))))))tR",
    "tensor of a number": REBUILD + b"(K\x01K\x00))\x89NtR",
    "tensor of a global": REBUILD + b"(" + FLOATS + b"K\x00))\x89NtR",
    "tensor of texts": REBUILD + b"(" + pid() + b"K\x00X\x01\0\0\0a)\x89NtR",
    "tensor of a list": REBUILD + b"(" + pid() + b"K\x00]]\x89NtR",
    "tensor of truths": REBUILD + b"(" + pid() + b"K\x00\x88\x85\x88\x85\x89NtR",
    "negative offset": REBUILD + b"(" + pid() + b"J\xff\xff\xff\xff))\x89NtR",
    "negative stride": (
        REBUILD + b"(" + pid() + b"K\x03K\x02\x85J\xff\xff\xff\xff\x85\x89NtR"
    ),
    "sizes without strides": REBUILD + b"(" + pid() + b"K\x00K\x02\x85)\x89NtR",
    "past the end": REBUILD + b"(" + pid() + b"K\x03K\x02\x85K\x01\x85\x89NtR",
    "past the end by stride": REBUILD + b"(" + pid() + b"K\0K\x02\x85K\x04\x85\x89NtR",
    "huge by no stride": (
        REBUILD + b"(" + pid() + b"K\0J\xff\xff\xff\x7f\x85K\0\x85\x89NtR"
    ),
    "far too huge": (
        REBUILD
        + b"("
        + pid()
        + b"K\0\x8a\x09"
        + b"\xff" * 8
        + b"\x7f\x85K\0\x85\x89NtR"
    ),
    "parameter of nothing": PARAMETER + b")R",
    "parameter of a text": PARAMETER + b"(X\x01\0\0\0a\x88)tR",
    "call of a text": b"X\x01\0\0\0a)R",
    "call of a storage": pid() + b")R",
    "state of a function": REBUILD + b"}X\x0c\0\0\0__defaults__)sb",
    "slots of a function": REBUILD + b"N}X\x08\0\0\0__code__)s\x86b",
    "state of a type": DICT + b"}X\x0b\0\0\0__setitem__" + REBUILD + b"sb",
    "state of a storage": pid() + b"}X\x03\0\0\0key)sb",
    "item of a storage": pid() + b"K\0K\0s",
    "append to a dict": b"}K\0a",
    "storage of unknown kind": pid(kind=unicode("FloatStorage")),
    "storage of a function": pid(kind=REBUILD),
    "storage of no number": pid(count=unicode("4")),
    "storage of a negative number": pid(count=b"J\xff\xff\xff\xff"),
    "storage of a huge number": pid(count=b"\x8a\x08" + b"\xff" * 7 + b"\x3f"),
    "storage twice": pid() + b"0" + pid(count=b"K\x05"),
    "storage twice, differently": b"(" + pid() + pid(count=b"K\x05") + b"t",
    "storage viewed oddly": pid(end=b"K\x01"),
    "storage viewed outside": pid(end=b"(X\x01\0\0\0vK\x02K\x03t"),
    "other persistent thing": b"(" + unicode("module") + b"NNNtQ",
    "bare persistent text": unicode("0") + b"Q",
    "memo never set": b"h\x05",
    "memo far away": b"Nr\xff\xff\xff\x7f",
    "memo skipped": b"Nq\x01",
    "stack empty": b"\x85",
    "mark missing": b"t",
    "list as key": b"}]Ns",
    "a number": b"K\x01",
    "a list": b"]",
    "a tensor alone": REBUILD + b"(" + pid() + b"K\x00K\x02\x85K\x01\x85\x89NtR",
    "numbers beside tensors": b"}" + unicode("epoch") + b"K\x03s",
    "nested dict": b"}" + unicode("state_dict") + b"}s",
    "key no text": b"}K\x01Ns",
    "global itself": b"}" + unicode("a") + REBUILD + b"s",
}


@both
@pytest.mark.parametrize("trick", TRICKS, ids=lambda name: name.replace(" ", "_"))
def test_tricks_are_refused(path, write, trick):
    ours = [f for f in vars(torch_pickle).values() if inspect.isfunction(f)]
    before = [(dict(vars(f)), f.__defaults__, f.__code__) for f in ours]
    refuse(write(path, {}, pickled=b"\x80\x02" + TRICKS[trick] + b"."))
    assert before == [(dict(vars(f)), f.__defaults__, f.__code__) for f in ours]


def test_protocol_4_globals_are_guarded(path):
    stack = b"\x8c\x02os\x8c\x06system\x93"
    refuse(write_zip(path, {}, pickled=b"\x80\x04" + stack + b"."), r"os\.system")


def doubled(start, pair, times=100):
    """Two references to two references and so on, 2**times of them, at the top."""
    body = start
    for slot in range(times):
        get = b"h" + bytes([slot])
        body += b"q" + bytes([slot]) + pair.replace(b"_", get)
    return body


TUPLES = doubled(b")", b"__\x86") + b"q\xf0"
LISTS = doubled(b"]", b"](__e") + b"q\xf1"
NESTED = {
    "tuples as a key": TUPLES + b"}h\xf0Ns",
    "tuples": TUPLES,
    "tuples as a tensor": TUPLES + b"}" + unicode("a") + b"h\xf0s",
    "tuples as a size": (TUPLES + REBUILD + b"(" + pid() + b"K\0h\xf0K\x01\x85\x89NtR"),
    "tuples as a reference": TUPLES + b"Q",
    "tuples as a global": TUPLES + b"h\xf0\x93",
    "lists as a state": LISTS + b"}h\xf1b" + unicode("a") + b"Ns",
    "deep lists": b"]" * 100_000 + b"a" * 99_999,
    "deep tuples": b")" + b"\x85" * 100_000,
    "deep tuples as a key": b"})" + b"\x85" * 100_000 + b"Ns",
}


@both
@pytest.mark.parametrize("nested", NESTED, ids=lambda name: name.replace(" ", "_"))
def test_nested_values_cost_nothing(path, write, nested):
    refuse(write(path, {}, pickled=b"\x80\x02" + NESTED[nested] + b"."))


def test_nested_lists_as_the_keys_of_a_legacy_file(path):
    tree = tree_of(tensor(floats(4), (4,), (1,)))
    content = write_legacy(path, tree).read_bytes()
    keys = pickle.dumps(["0"], 2)
    pair = b"\x80\x02" + LISTS + doubled(b"]", b"](__e") + b"q\xf2](h\xf1h\xf2e."
    assert content.count(keys) == 1
    path.write_bytes(content.replace(keys, pair))
    refuse(path, "lists other storages")


def test_operations_without_number_are_refused(path):
    refuse(write_zip(path, {}, pickled=b"N" * 1_000_001 + b"."), "1000000 operations")


# --- files that are none, or not whole --------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"\x80", b"PK\x03\x04", b"hello", b"\x89HDF\r\n\x1a\n", b"\xff" * 99]
    + [pickle.dumps(x) for x in (None, {"a": 1}, 0x1950A86A20F9469CFC6C)],
)
def test_no_torch_file(path, content):
    path.write_bytes(content)
    refuse(path)


def test_missing_file_and_folder(path):
    refuse(path, "cannot be read")
    refuse(path.parent, "cannot be read")


@both
def test_every_truncation_is_refused(path, write):
    tree = tree_of(tensor(floats(6), (2, 3), (3, 1)))
    content = write(path, tree).read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        refuse(path)
    path.write_bytes(content[:-1])
    refuse(path)


@both
def test_every_flipped_byte_gives_arrays_or_a_data_error(path, write):
    tree = tree_of(tensor(floats(6), (2, 3), (3, 1)))
    content = write(path, tree).read_bytes()
    refused = 0
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        try:
            state = read_torch_state(path)
        except DataError:
            refused += 1
        else:
            assert all(isinstance(a, np.ndarray) for a in state.values())
    assert refused > len(content) // 3


@both
def test_a_storage_shorter_than_claimed(path, write):
    tree = tree_of(tensor(floats(4, count=5), (5,), (1,)))
    refuse(write(path, tree))


def test_zip_without_its_parts(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "no pickle")
    refuse(path, "no torch file")
    body, _ = dump(tree_of(tensor(floats(4), (4,), (1,))), legacy=False)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", body)
    refuse(path, "lacks its part 'data/0'")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("two/data.pkl", body)
    refuse(path, "no torch file")


def test_parts_that_share_their_bytes_are_refused(path):
    inner = zipfile.ZipInfo("net/data/b")
    inner.file_size = inner.compress_size = 4000
    inner.CRC = zlib.crc32(bytes(4000))
    body, _ = dump(tree_of(tensor(floats(4), (4,), (1,))), legacy=False)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", body)
        archive.writestr("net/data/a", inner.FileHeader() + bytes(4000))
        inner.header_offset = archive.infolist()[-1].header_offset + 30 + 10
        archive.filelist.append(inner)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("net/data/b") == bytes(4000)
    refuse(path, "parts that overlap")


def test_compressed_zip_is_refused(path):
    tree = tree_of(tensor(floats(4), (4,), (1,)))
    refuse(write_zip(path, tree, compress=zipfile.ZIP_DEFLATED), "compressed")
