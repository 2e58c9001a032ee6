"""The pickle inside a torch checkpoint, read without running any of it.

A pickle is a program for a machine with a stack. This machine knows the operations that
a state dict needs and no other. It imports and calls nothing that the file names, takes
texts alone as keys, and never looks into nested values, so that neither their depth nor
their sharing costs anything.
"""

import io
import math
import pickletools
from dataclasses import dataclass
from typing import Any

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
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS_AND_TEXTS = frozenset(
    "BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE SHORT_BINUNICODE".split()
)
_NEW = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
_TUPLES = {"TUPLE": None, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}  # items; None to mark
_MOST_OPERATIONS = 1_000_000  # a tensor takes about 40


class Refused(Exception):
    """What is wrong with the file, as the middle of a sentence."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of numbers elsewhere in the file."""

    key: str
    kind: str
    count: int  # numbers in the whole storage
    start: int = 0  # where a view of it begins


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage, checked to lie inside it; offset and stride in numbers."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Global:
    """Stands for what a file names, such as torch.FloatStorage."""

    name: str


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


_CALLS = {
    "collections.OrderedDict": (dict, range(0, 1)),
    "torch._utils._rebuild_tensor_v2": (_tensor, range(6, 8)),
    "torch._utils._rebuild_parameter": (_parameter, range(3, 4)),
}


class _Machine:
    """Runs one pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[Any, Any] = {}
        self.storages: dict[str, Storage] = {}

    def run(self, stream: io.BytesIO) -> Any:
        """Do all operations up to STOP, and return what is then on the stack."""
        for number, (operation, argument, _) in enumerate(pickletools.genops(stream)):
            if number == _MOST_OPERATIONS:
                raise Refused(f"takes more than {number} operations to read")
            if operation.name == "STOP":
                return self.pop(1)[0]
            self.do(operation.name, argument)
        raise Refused("is cut short")

    def do(self, name: str, argument: Any) -> None:
        """Do one operation."""
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _NUMBERS_AND_TEXTS:
            self.stack.append(argument)
        elif name in _NEW:
            self.stack.append(_NEW[name]())
        elif name in _TUPLES:
            self.stack.append(tuple(self.pop(_TUPLES[name])))
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name in ("APPEND", "APPENDS"):
            items = self.pop(1 if name == "APPEND" else None)
            self.top(list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self.pop(2 if name == "SETITEM" else None)
            if not all(type(key) is str for key in items[::2]):
                raise Refused("has a key that is no text")
            self.top(dict).update(zip(items[::2], items[1::2], strict=True))
        elif name == "BUILD":  # the attributes that torch hangs on a state dict
            self.pop(1)
            self.top(dict)
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            parts = argument.split(" ") if name == "GLOBAL" else self.pop(2)
            self.stack.append(_find(*parts))
        elif name == "REDUCE":
            self.stack.append(_call(*self.pop(2)))
        elif name == "BINPERSID":
            self.stack.append(self.storage(*self.pop(1)))
        elif name not in ("PROTO", "FRAME"):
            raise Refused(f"uses the pickle opcode {name}")

    def pop(self, count: int | None) -> list[Any]:
        """Take some values from the stack, or all above the last mark."""
        start = self.marks.pop() if count is None else len(self.stack) - count
        if start < (self.marks[-1] if self.marks else 0):
            raise Refused("takes more from the stack than is there")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def top(self, kind: type) -> Any:
        """Return the value on top, which must be of a kind."""
        if type(self.stack[-1]) is not kind:
            raise Refused(f"fills something that is no {kind.__name__}")
        return self.stack[-1]

    def storage(self, pid: Any) -> Storage:
        """Find the storage that a tensor refers to."""
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


def _find(module: Any, name: Any) -> _Global:
    if type(module) is str and type(name) is str:
        found = f"{module}.{name}"
        if found in _CALLS or (module == "torch" and name in DTYPES):
            return _Global(found)
        raise Refused(f"asks for {found:.60}, which no tensor needs")
    raise Refused("asks for something without a name")


def _call(function: Any, arguments: Any) -> Any:
    if not isinstance(function, _Global):
        raise Refused("calls something that is no function")
    if function.name not in _CALLS:
        raise Refused(f"calls {function.name}")
    call, counts = _CALLS[function.name]
    if type(arguments) is not tuple or len(arguments) not in counts:
        raise Refused(f"calls {function.name} with other arguments than torch")
    return call(*arguments)


def unpickle(stream: io.BytesIO) -> tuple[Any, dict[str, Storage]]:
    """Read the next pickle of a stream, which may hold only builtins and tensors.

    Args:
        stream: The file's bytes; left at the end of the pickle.

    Returns:
        What the pickle holds, its tensors as `Tensor`, and the storages that they name.
        The keys of its dicts are texts.

    Raises:
        Refused: The pickle asks for anything but tensors. A broken one can raise any
            other error: to the caller any exception means an unreadable file.
    """
    machine = _Machine()
    return machine.run(stream), machine.storages
