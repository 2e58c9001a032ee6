"""The pickle inside a torch checkpoint, read with nothing of it run.

A pickle is a program. This one is first checked, opcode by opcode, against what a state
dict needs, then run on a machine whose every global is an inert stand-in of ours:
nothing of the file's choice is imported or called.
"""

import io
import math
import pickle
import pickletools
from dataclasses import dataclass
from typing import Any, NoReturn, SupportsIndex

DTYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",  # widened to float32 once read
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_OPCODES = frozenset(
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT "
    "BINUNICODE SHORT_BINUNICODE EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST "
    "APPEND APPENDS EMPTY_DICT SETITEM SETITEMS BINPUT LONG_BINPUT MEMOIZE BINGET "
    "LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID".split()
)


class Refused(Exception):
    """What is wrong with the file, as the middle of a sentence."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of numbers elsewhere in the file."""

    key: str
    kind: str
    count: int  # numbers in the whole storage
    start: int = 0  # where a view of it begins

    def __setstate__(self, state: object) -> NoReturn:
        """Refuse: a storage is whole once made."""
        raise Refused("sets the state of a storage")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage, checked to lie inside it; offset and stride in numbers."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def __setstate__(self, state: object) -> NoReturn:
        """Refuse: a tensor is whole once made."""
        raise Refused("sets the state of a tensor")


class _Entries(dict[Any, Any]):
    """Stands for collections.OrderedDict."""

    def __setstate__(self, state: object) -> None:
        """Drop the attributes that torch hangs on a state dict (its versions)."""


def _naturals(values: object) -> bool:
    return isinstance(values, tuple) and all(
        type(v) is int and 0 <= v < 2**62 for v in values
    )


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    if not isinstance(storage, Storage) or not _naturals((offset,)):
        raise Refused("rebuilds a tensor from something that is not a storage")
    if not (_naturals(size) and _naturals(stride) and len(size) == len(stride) <= 32):
        raise Refused("gives a tensor a size or a stride that is none")
    last = sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    numbers, first = math.prod(size), storage.start + offset
    inside = first + last < storage.count if numbers else first <= storage.count
    if not inside or numbers > storage.count:
        raise Refused(
            f"claims a tensor of size {size!r:.60} in a storage of {storage.count}"
        )
    return Tensor(storage, first, size, stride)


def _parameter(tensor: Any, *_: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise Refused("wraps something that is not a tensor as a parameter")
    return tensor


def _entries(*args: Any) -> _Entries:
    if args:
        raise Refused("fills an OrderedDict through its constructor")
    return _Entries()


_CALLS = {
    "collections.OrderedDict": (_entries, range(0, 1)),
    "torch._utils._rebuild_tensor_v2": (_tensor, range(6, 8)),
    "torch._utils._rebuild_parameter": (_parameter, range(3, 4)),
}


class _Global:
    """Stands for an admitted global; a fresh one per file, so no state is shared."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: Any) -> Any:
        if self.name not in _CALLS:
            raise Refused(f"calls {self.name}")
        call, counts = _CALLS[self.name]
        if len(args) not in counts:
            raise Refused(f"calls {self.name} with {len(args)} arguments")
        return call(*args)

    def __setstate__(self, state: object) -> NoReturn:
        raise Refused(f"sets the state of {self.name}")

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise Refused(f"copies {self.name}")


class _Unpickler(pickle.Unpickler):
    """Admits the globals of a state dict and nothing else."""

    storages: dict[str, Storage]

    def find_class(self, module_name: str, global_name: str, /) -> _Global:
        name = f"{module_name}.{global_name}"
        if name in _CALLS or (module_name == "torch" and global_name in DTYPES):
            return _Global(name)
        raise Refused(f"asks for {name}, which no tensor needs")

    def persistent_load(self, pid: Any, /) -> Storage:
        match pid:
            case ("storage", _Global() as kind, str(key), str(), int(count), *view):
                kind = kind.name.removeprefix("torch.")
            case _:
                raise Refused("refers to something that is not a storage")
        if kind not in DTYPES or not _naturals((count,)):
            raise Refused(f"describes a storage of {count} {kind}")
        storage = self.storages.setdefault(key, Storage(key, kind, count))
        if (storage.kind, storage.count) != (kind, count):
            raise Refused(f"describes storage {key!r:.60} twice, differently")
        match view:
            case [] | [None]:
                return storage
            case [(str(), int(start), int(length))] if 0 <= start <= count - length:
                return Storage(key, kind, count, start)
        raise Refused(f"views storage {key!r:.60} in an unknown way")


def _check_opcodes(stream: io.BytesIO) -> None:
    start, memo, length = stream.tell(), 0, len(stream.getbuffer())
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name not in _OPCODES:
            raise Refused(f"uses the pickle opcode {opcode.name}")
        if opcode.name == "FRAME" and (argument or 0) > length:
            raise Refused("is cut short")
        # Memo slots are an array: a far slot would claim memory out of all proportion.
        if opcode.name in ("BINPUT", "LONG_BINPUT") and (argument or 0) > memo:
            raise Refused(f"skips to memo slot {argument}")
        memo += opcode.name in ("BINPUT", "LONG_BINPUT", "MEMOIZE")
    stream.seek(start)


def unpickle(stream: io.BytesIO) -> tuple[Any, dict[str, Storage]]:
    """Read the next pickle of a stream, of builtin values and tensors alone.

    Args:
        stream: The file's bytes; left at the end of the pickle.

    Returns:
        What the pickle holds, its tensors as `Tensor`, and the storages these name.

    Raises:
        Refused: The pickle asks for anything that is no tensor. A broken one can raise
            whatever else: to the caller any exception means an unreadable file.
    """
    _check_opcodes(stream)
    unpickler = _Unpickler(stream)
    unpickler.storages = {}
    return unpickler.load(), unpickler.storages
