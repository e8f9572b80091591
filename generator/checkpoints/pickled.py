"""What a pickle says, without doing it: a pickle is a program, and none of its calls is made here.

Every object of a class becomes a stand-in that holds its state and does nothing; tensors become notes of where their
numbers lie. No name in a pickle is ever looked up. Numbers of steps and bytes are bounded, so that a small file cannot
take much time or memory. The opcodes are those of Python's pickletools, protocols 0 to 5.
"""

from __future__ import annotations

import io
import math
import pickletools
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

from generator.checkpoints.errors import MAX_NAME, UNFIT, plain, shown

MAX_BYTES = 64 << 20  # of a pickle: the numbers of the tensors are not in it
MAX_OPCODES = 4_000_000  # the worst of them take 5 s and 400 MB
MAX_DIMENSIONS = 8
_MAX_INDEX = 1 << 48  # more numbers than any file holds


class BadPickle(ValueError):
    """A pickle that is damaged or asks for what weights never do; the message says what."""


class Global(NamedTuple):
    """The name of a class or function. It stays a name."""

    module: str
    name: str


class Inert:
    """Stands in for an object: what was to become its attributes is kept, nothing is run."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: dict[Any, Any] = {}


@dataclass(frozen=True)
class Storage:
    """Numbers elsewhere in the file. kind: the name of torch's storage class; key: under which they lie."""

    kind: str
    key: str
    numel: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a storage; offset and stride in numbers."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def interpret(file: BinaryIO, storages: dict[str, Storage] | None = None, opcodes: int = MAX_OPCODES) -> Any:
    """The value a pickle makes, of plain values, Global, Inert and StoredTensor; the file is read to just after it.

    storages: gets every storage it points at, by key. opcodes: how many it may have. Raises BadPickle.
    """
    start = file.tell()
    machine = _Machine({} if storages is None else storages)
    try:
        for number, (opcode, argument, position) in enumerate(pickletools.genops(file)):
            if number + machine.copied >= opcodes or (position or 0) - start > MAX_BYTES:
                raise BadPickle("it is far longer than that of weights")
            if opcode.name == "PROTO" and number:
                raise BadPickle("it is several pickles in one")
            if opcode.name == "STOP":
                return machine.pop()
            if (step := _STEPS.get(opcode.name)) is None:
                raise BadPickle(f"it uses {opcode.name}, which weights never do")
            step(machine, argument)
    except BadPickle:
        raise
    except UNFIT as error:
        raise BadPickle(f"it is damaged ({type(error).__name__})") from None
    raise BadPickle("it is cut short")


@dataclass
class _Machine:
    """The stack of a pickle, its marks (the lengths the stack had), and what it has put aside by number.

    copied: how many items were copied by steps that can copy the same ones again and again.
    """

    storages: dict[str, Storage]
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    copied: int = 0

    def pop(self) -> Any:
        if self.marks and len(self.stack) <= self.marks[-1]:
            raise BadPickle("it takes more than it has put down")
        return self.stack.pop()

    def since_mark(self) -> list[Any]:
        mark = self.marks.pop()
        items, self.stack[mark:] = self.stack[mark:], []
        return items

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def push_tuple(self, length: int) -> None:
        items = [self.pop() for _ in range(length)]
        self.push(tuple(reversed(items)))

    def put(self, number: int) -> None:
        """Pickles number what they put aside one by one; chosen numbers could make the table slow."""
        if not 0 <= number < MAX_OPCODES:
            raise BadPickle("it puts something aside under a number that none would")
        self.memo[number] = self.stack[-1]

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def drop(self) -> None:
        """POP takes a mark as well where nothing lies above it."""
        if self.marks and len(self.stack) == self.marks[-1]:
            self.marks.pop()
        else:
            self.stack.pop()

    def add(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], dict):
            self.stack[-1].update(_dictionary(items))

    def build(self) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Inert) and isinstance(state, dict):
            target.state = state

    def reduce(self) -> None:
        arguments, call = self.pop(), self.pop()
        if call == _FROM_TYPE and isinstance(arguments, tuple) and len(arguments) > 2:
            call, arguments = arguments[0], arguments[2]
        if call == _ORDERED_DICT and isinstance(arguments, tuple) and arguments and isinstance(arguments[0], list):
            self.copied += len(arguments[0])
        self.push(_result(call, arguments))

    def new(self, arguments: int) -> None:
        """NEWOBJ and NEWOBJ_EX: a class and its arguments become an object."""
        taken = [self.pop() for _ in range(arguments + 1)]
        self.push({} if taken[-1] == _ORDERED_DICT else Inert())

    def point(self) -> None:
        reference = self.pop()
        if isinstance(reference, tuple) and len(reference) == 4 and reference[0] == "module":
            self.push(Inert())  # a class with its source code, as old files note it for whole modules
            return
        storage = _storage(reference)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise BadPickle(f"the numbers {shown(storage.key)} are said to be of two kinds")
        self.push(storage)

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise BadPickle("it names a class by something that is no name")
        self.push(Global(module, name))


_ORDERED_DICT = Global("collections", "OrderedDict")
_TENSOR = Global("torch._utils", "_rebuild_tensor_v2")
_FROM_TYPE = Global("torch._tensor", "_rebuild_from_type_v2")
_PARAMETERS = tuple(Global("torch._utils", f"_rebuild_parameter{end}") for end in ("", "_with_state"))


def _result(call: Any, arguments: Any) -> Any:
    """What a call is taken to give: tensors, ordered dicts and sizes as data, an inert object for all else."""
    if not isinstance(arguments, tuple):
        raise BadPickle("it calls something with what are no arguments")
    if call == _ORDERED_DICT:
        pairs = arguments[0] if arguments and isinstance(arguments[0], list) else []
        if any(not isinstance(pair, (list, tuple)) or len(pair) != 2 for pair in pairs):
            raise BadPickle("its dictionary is none")
        return _dictionary([item for pair in pairs for item in pair])
    if call == Global("torch", "Size"):
        return arguments[0] if arguments and isinstance(arguments[0], tuple) else ()
    if call in _PARAMETERS and arguments and isinstance(arguments[0], StoredTensor):
        return arguments[0]
    if call in (_TENSOR, Global("torch._utils", "_rebuild_tensor")):
        if call == _TENSOR and any(arguments[6:7]):
            raise BadPickle("its tensor is one to be negated or conjugated as it is read, which is not done here")
        return _tensor(*arguments[:4])
    return Inert()


def _tensor(storage: Any, offset: Any, size: Any, stride: Any) -> StoredTensor:
    """Checked so that it lies within its storage. It may have more numbers than that, if it repeats them."""
    if not isinstance(storage, Storage) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise BadPickle("its tensor is none")
    if len(size) != len(stride) or len(size) > MAX_DIMENSIONS:
        raise BadPickle(f"its tensor has {len(size)} dimensions and {len(stride)} strides")
    if not all(type(number) is int and 0 <= number <= _MAX_INDEX for number in (offset, *size, *stride)):
        raise BadPickle("its tensor has a size or a place that is none")
    if math.prod(length for length in size if length) > _MAX_INDEX:
        raise BadPickle("its tensor has a size or a place that is none")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if math.prod(size) and last >= storage.numel:
        raise BadPickle(f"its tensor of {'x'.join(map(str, size)) or 1} is larger than the numbers it is made of")
    return StoredTensor(storage, offset, size, stride)


def _storage(reference: Any) -> Storage:
    """("storage", class, key, device, numel), with one thing more in old files, which says that it is no view."""
    if not isinstance(reference, tuple) or len(reference) not in (5, 6) or reference[0] != "storage":
        raise BadPickle("it points at something that is no storage")
    kind, key, numel = reference[1], reference[2], reference[4]
    if len(reference) == 6 and reference[5] is not None:
        raise BadPickle("its storage is a view of another one, as of before PyTorch 0.4")
    if not isinstance(kind, Global) or kind.module not in ("torch", "torch.storage") or len(kind.name) > MAX_NAME:
        raise BadPickle("its storage is none of torch's")
    if not isinstance(key, str) or len(key) > MAX_NAME:  # long ones are slow to compare
        raise BadPickle(f"its storage has the key {plain(key)}")
    if type(numel) is not int or not 0 <= numel <= _MAX_INDEX:
        raise BadPickle("its storage has a length that is none")
    return Storage(kind.name, key, numel)


def _dictionary(items: list[Any]) -> dict[Any, Any]:
    """Keys and values in turn; a key that is no name becomes one that nothing equals.

    Numbers can be chosen so that each is compared with all before it, and long texts take long to compare.
    """
    if len(items) % 2:
        raise BadPickle("its dictionary has a key without a value")
    keys = (key if isinstance(key, str) and len(key) <= MAX_NAME else object() for key in items[::2])
    return dict(zip(keys, items[1::2], strict=True))


_VALUES = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 "
    "BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 FLOAT BINFLOAT"
)
_STEPS: dict[str, Any] = {
    **dict.fromkeys(_VALUES.split(), lambda m, value: m.push(value)),
    "PROTO": lambda m, _: None,
    "FRAME": lambda m, _: None,
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_SET": lambda m, _: m.push([]),  # a set's members need not be hashed to be kept
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "MARK": lambda m, _: m.mark(),
    "LIST": lambda m, _: m.push(m.since_mark()),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "FROZENSET": lambda m, _: m.push(tuple(m.since_mark())),
    "DICT": lambda m, _: m.push(_dictionary(m.since_mark())),
    "TUPLE1": lambda m, _: m.push_tuple(1),
    "TUPLE2": lambda m, _: m.push_tuple(2),
    "TUPLE3": lambda m, _: m.push_tuple(3),
    "APPEND": lambda m, _: m.add([m.pop()]),
    "APPENDS": lambda m, _: m.add(m.since_mark()),
    "ADDITEMS": lambda m, _: m.add(m.since_mark()),
    "SETITEM": lambda m, _: m.set_items([m.pop(), m.pop()][::-1]),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
    "POP": lambda m, _: m.drop(),
    "POP_MARK": lambda m, _: m.since_mark(),
    "DUP": lambda m, _: m.push(m.stack[-1]),
    "PUT": lambda m, number: m.put(number),
    "BINPUT": lambda m, number: m.put(number),
    "LONG_BINPUT": lambda m, number: m.put(number),
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    "GET": lambda m, number: m.push(m.memo[number]),
    "BINGET": lambda m, number: m.push(m.memo[number]),
    "LONG_BINGET": lambda m, number: m.push(m.memo[number]),
    "GLOBAL": lambda m, name: m.push(Global(*name.split(" ", 1))),
    "STACK_GLOBAL": lambda m, _: m.stack_global(),
    "REDUCE": lambda m, _: m.reduce(),
    "NEWOBJ": lambda m, _: m.new(1),
    "NEWOBJ_EX": lambda m, _: m.new(2),
    "INST": lambda m, _: (m.since_mark(), m.push(Inert())),
    "OBJ": lambda m, _: (m.since_mark(), m.push(Inert())),
    "BUILD": lambda m, _: m.build(),
    "BINPERSID": lambda m, _: m.point(),
}


def interpret_bytes(data: bytes) -> Any:
    """The same of bytes that hold one pickle and nothing after it. Raises BadPickle."""
    if len(data) > MAX_BYTES:
        raise BadPickle(f"it has {len(data) / 1e6:.0f} MB, far more than that of weights")
    file = io.BytesIO(data)
    value = interpret(file)
    if file.read(1):
        raise BadPickle("there are bytes after it")
    return value
