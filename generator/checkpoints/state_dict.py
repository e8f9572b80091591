"""Reads weights out of a file without running anything that is in it.

Four formats: safetensors, a zip archive of torch.save (plain state dict or Lightning .ckpt), the plain pickles it wrote
before PyTorch 1.6, and TorchScript archives, of which the tensors are taken and the program is left alone. torch's own
readers are not used for the last three: one parser reads the pickle (pickled.py) and one the archive (zip_archive.py),
so that what was checked is what is read.
"""

from __future__ import annotations

import io
import math
import mmap
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from generator.checkpoints.errors import UNFIT, is_name, sentence, shown
from generator.checkpoints.pickled import MAX_BYTES, BadPickle, Inert, Storage, StoredTensor, interpret, interpret_bytes
from generator.checkpoints.safetensors_header import MAX_TENSORS, BadHeader, read_shapes
from generator.checkpoints.zip_archive import STORED, BadArchive, Entry, check_crc, entries

# How torch.save began before PyTorch 1.6, whatever the protocol of its pickles: with this number.
OLD_MAGIC, OLD_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_MAGIC = (OLD_MAGIC.to_bytes(10, "little"), f"L{OLD_MAGIC}".encode())
_HEAD = 32  # bytes within which it lies
_FEW = 1000  # opcodes of the small pickles of such a file
_KEYS = 1_000_000  # of the list of its storages
# Under which Lightning and the makers of upscalers keep the weights, in spandrel's order.
WRAPPERS = ("model_state_dict", "state_dict", "params_ema", "params-ema", "params", "model", "net")
MAX_DEPTH = 64  # of modules within modules
MAX_WORK = 5_000_000  # attributes, and characters of the names of what is in them
DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# Bytes of a number of the others, which may lie beside the weights in an old file.
_OTHER_SIZES = {
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
    "QInt8Storage": 1,
    "QUInt8Storage": 1,
    "QInt32Storage": 4,
    "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1,
}
_BESIDE = (str, bytes, int, float, bool, type(None))  # values that may stand beside the weights


class BadStateDict(ValueError):
    """A file from which no weights can be read; the message says what is wrong with it."""


def read_state_dict(path: Path, *, torchscript: bool = False) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, in the dtype they were saved in, mapped from the file where it allows that.

    torchscript: whether a TorchScript archive may be given, whose parameters and buffers are then taken.
    Raises BadStateDict, FileNotFoundError.
    """
    head = _head(path)
    if head[:4] == b"PK\x03\x04":
        return _read(path, lambda data: _zip_tensors(data, torchscript))
    if _is_old(head):
        return _read(path, _old_tensors)
    if len(head) > 8 and head[8:9] == b"{":
        return _read_safetensors(path)
    if head.lstrip()[:1] == b"<":
        raise BadStateDict("it is a web page, not weights")
    raise BadStateDict("it is neither safetensors nor what torch.save writes")


def check_whole(path: Path) -> None:
    """Reads a file once: checks the CRC-32 of all a zip archive holds, or that old weights can be read to their end.

    Raises BadStateDict, FileNotFoundError.
    """
    _read(path, _old_tensors if _is_old(_head(path)) else _check_archive)


def check_safetensors(path: Path) -> None:
    """Checks that a safetensors header is whole and that the file is as long as it says. Raises BadStateDict."""
    from safetensors import SafetensorError, safe_open

    try:
        read_shapes(path)
        with safe_open(path, framework="pt") as file:
            file.keys()
    except (BadHeader, SafetensorError, *UNFIT) as error:
        raise BadStateDict(f"its safetensors header cannot be read ({sentence(error)})") from None


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise BadStateDict(f"it cannot be read ({sentence(error)})") from None


def _is_old(head: bytes) -> bool:
    return (head[:1] == b"\x80" and _MAGIC[0] in head) or head.startswith(_MAGIC[1])


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        read_shapes(path)
        tensors = load_file(path)
    except (BadHeader, SafetensorError, *UNFIT) as error:
        raise BadStateDict(f"its safetensors header cannot be read ({sentence(error)})") from None
    if not tensors:
        raise BadStateDict("it holds no state dict")
    return tensors


def _read(path: Path, read: Callable[[mmap.mmap], dict[str, Tensor]]) -> dict[str, Tensor]:
    """A Lightning checkpoint also holds the optimiser's moments, twice the model's size: mapped, they stay on disk."""
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        return read(data)
    except (BadStateDict, FileNotFoundError):
        raise
    except BadArchive as error:
        raise BadStateDict(f"its zip archive cannot be read ({error})") from None
    except BadPickle as error:
        raise BadStateDict(f"its pickle cannot be read ({error})") from None
    except UNFIT as error:
        raise BadStateDict(f"it cannot be read ({sentence(error)})") from None


def _archive(data: mmap.mmap) -> dict[str, Entry]:
    found = entries(data)
    unpacked = sum(entry.size for entry in found.values())
    if unpacked > 4 * len(data) + (64 << 20):
        raise BadStateDict(f"it would unpack to {unpacked / 1e6:.0f} MB, far more than weights do")
    return found


def _check_archive(data: mmap.mmap) -> dict[str, Tensor]:
    for name, entry in _archive(data).items():
        check_crc(data, name, entry)
    return {}


def _zip_tensors(data: mmap.mmap, torchscript: bool) -> dict[str, Tensor]:
    found = _archive(data)
    if "constants.pkl" in found and not torchscript:
        raise BadStateDict("it is a TorchScript program where weights are expected")
    if "data.pkl" not in found:
        raise BadStateDict("it is a zip archive, but not one of torch.save")
    order = _bytes(data, "byteorder", found["byteorder"]) if "byteorder" in found else b"little"
    if order.decode("latin-1") != sys.byteorder:
        raise BadStateDict("its numbers are in the byte order of another kind of processor")
    saved = interpret_bytes(_bytes(data, "data.pkl", found["data.pkl"]))
    wanted = _module_tensors(saved) if "constants.pkl" in found else _named(saved)

    def place(storage: Storage) -> int:
        entry = found.get(f"data/{storage.key}")
        if entry is None or entry.method != STORED:
            raise BadStateDict(f"the numbers {shown(storage.key)} of a tensor are not in it")
        if entry.size != storage.numel * _dtype(storage).itemsize:
            raise BadStateDict(f"the numbers {shown(storage.key)} of a tensor are more or fewer than it says")
        return entry.start

    return _tensors(data, wanted, place)


def _bytes(data: mmap.mmap, name: str, entry: Entry) -> bytes:
    if entry.method != STORED or entry.size > MAX_BYTES:
        raise BadStateDict(f"its part {shown(name)} is packed, or far larger than that of weights")
    check_crc(data, name, entry)
    return data[entry.start : entry.start + entry.size]


def _old_tensors(data: mmap.mmap) -> dict[str, Tensor]:
    """Five pickles (magic number, protocol, byte order and sizes, the weights, keys of storages), then the storages."""
    file = io.BytesIO(data[: MAX_BYTES + (16 << 20)])
    pointed_at: dict[str, Storage] = {}
    magic, protocol, system = (interpret(file, opcodes=_FEW) for _ in range(3))
    if (magic, protocol) != (OLD_MAGIC, OLD_PROTOCOL) or not isinstance(system, dict):
        raise BadStateDict("it is of another version of torch.save")
    if system.get("little_endian") is not (sys.byteorder == "little"):
        raise BadStateDict("its numbers are in the byte order of another kind of processor")
    wanted, keys = _named(interpret(file, pointed_at)), interpret(file, opcodes=_KEYS)
    listed = isinstance(keys, list) and len(keys) == len(pointed_at) and all(isinstance(key, str) for key in keys)
    if not listed or set(keys) != pointed_at.keys():
        raise BadStateDict("its list of storages is not that of its tensors")
    at, places = file.tell(), {}
    for key in keys:
        numel = int.from_bytes(data[at : at + 8], "little")
        if numel != pointed_at[key].numel:
            raise BadStateDict(f"the numbers {shown(key)} of a tensor are more or fewer than it says")
        places[key] = at + 8
        kind = pointed_at[key].kind
        at += 8 + numel * (_OTHER_SIZES[kind] if kind in _OTHER_SIZES else _dtype(pointed_at[key]).itemsize)
    if at != len(data):
        raise BadStateDict("it is longer or shorter than its tensors are; it may be cut short")
    return _tensors(data, wanted, lambda storage: places[storage.key])


def _named(saved: Any) -> dict[str, StoredTensor]:
    """The state dict itself, or the one under the name that Lightning and others keep it under."""
    inner = saved if isinstance(saved, dict) else None
    if inner is not None:
        inner = next((inner[name] for name in WRAPPERS if isinstance(inner.get(name), dict)), inner)
    if not isinstance(inner, dict) or not inner or len(inner) > MAX_TENSORS:
        raise BadStateDict("it holds no state dict")
    for key, value in inner.items():
        if not isinstance(key, str):
            raise BadStateDict("one of its entries has no name, or one that is far too long")
        if not isinstance(value, (StoredTensor, *_BESIDE)):
            raise BadStateDict(f"its entry {shown(key)} is no tensor")
    return _of_names({key: value for key, value in inner.items() if isinstance(value, StoredTensor)})


def _of_names(found: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The same, checked."""
    if not found:
        raise BadStateDict("it holds no state dict")
    for name in found:
        if not is_name(name):
            raise BadStateDict(f"{shown(name)} is no name of a tensor")
    return found


def _module_tensors(root: Any) -> dict[str, StoredTensor]:
    """Parameters and buffers of a TorchScript module: the tensors among its attributes and its submodules'."""
    found: dict[str, StoredTensor] = {}
    waiting, work = [("", root, 0)], 0
    while waiting:
        prefix, module, depth = waiting.pop()
        state = getattr(module, "state", {})
        work += 1 + len(state)
        for name, value in state.items():
            path = f"{prefix}{name}"
            if isinstance(value, StoredTensor):
                found[path] = value
            elif isinstance(value, Inert):
                waiting.append((f"{path}.", value, depth + 1))
            else:
                continue
            work += 100 + len(path)
            # One module can stand in many places, so that few of them make endlessly many.
            if depth >= MAX_DEPTH or work > MAX_WORK or len(found) > MAX_TENSORS or not is_name(path):
                raise BadStateDict("its modules are nested far deeper than those of any model")
    return _of_names(found)


def _dtype(storage: Storage) -> torch.dtype:
    if storage.kind not in DTYPES:
        raise BadStateDict(f"it holds numbers as {shown(storage.kind)}; {', '.join(DTYPES)} are read")
    return DTYPES[storage.kind]


def _tensors(data: mmap.mmap, wanted: dict[str, StoredTensor], place: Callable[[Storage], int]) -> dict[str, Tensor]:
    """place: of a storage the byte at which its numbers begin. Tensors that share a storage go on sharing it."""
    taken = sum(math.prod(tensor.size) * _dtype(tensor.storage).itemsize for tensor in wanted.values())
    if taken > 4 * len(data) + (64 << 20):
        raise BadStateDict(f"it would unpack to {taken / 1e6:.0f} MB, far more than weights do")
    storages = {tensor.storage.key: tensor.storage for tensor in wanted.values()}
    numbers = {key: _numbers(data, storage, place(storage)) for key, storage in storages.items()}
    return {name: numbers[t.storage.key].as_strided(t.size, t.stride, t.offset) for name, t in wanted.items()}


def _numbers(data: mmap.mmap, storage: Storage, start: int) -> Tensor:
    dtype = _dtype(storage)
    if start + storage.numel * dtype.itemsize > len(data):
        raise BadStateDict("it is cut short")
    if not storage.numel:
        return torch.empty(0, dtype=dtype)
    if dtype is torch.bool:  # a byte that is neither 0 nor 1 is no bool
        return torch.frombuffer(data, dtype=torch.uint8, count=storage.numel, offset=start) != 0
    if start % dtype.itemsize:
        return torch.frombuffer(bytearray(data[start : start + storage.numel * dtype.itemsize]), dtype=dtype)
    return torch.frombuffer(data, dtype=dtype, count=storage.numel, offset=start)
