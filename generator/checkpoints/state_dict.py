"""Reads weights out of a file without running anything that is in it.

Four formats: safetensors, a zip archive of torch.save (plain state dict or Lightning .ckpt), the plain pickles it wrote
before PyTorch 1.6, and TorchScript archives, of which the tensors are taken and the program is left alone. torch's own
readers are not used for the last three: one parser reads the pickle (pickled.py) and one the archive (zip_archive.py),
so that what was checked is what is read.
"""

from __future__ import annotations

import io
import json
import math
import mmap
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from generator.checkpoints.pickled import MAX_BYTES, BadPickle, Inert, Storage, StoredTensor, interpret, interpret_bytes
from generator.checkpoints.zip_archive import STORED, BadArchive, Entry, check_crc, entries

OLD_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # how torch.save began before PyTorch 1.6
OLD_PROTOCOL = 1001
WRAPPERS = ("state_dict", "params_ema", "params")  # under which Lightning and the makers of upscalers keep the weights
MAX_HEADER = 16 << 20  # bytes of a safetensors header
MAX_TENSORS = 100_000
MAX_DEPTH = 64  # of modules within modules
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


class BadStateDict(ValueError):
    """A file from which no weights can be read; the message says what is wrong with it."""


def read_state_dict(path: Path, *, torchscript: bool = False) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, in the dtype they were saved in, mapped from the file where it allows that.

    torchscript: whether a TorchScript archive may be given, whose parameters and buffers are then taken.
    Raises BadStateDict, FileNotFoundError.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if head[:4] == b"PK\x03\x04":
        return _read(path, lambda data: _zip_tensors(data, torchscript))
    if head.startswith(OLD_TORCH):
        return _read(path, _old_tensors)
    if len(head) > 8 and head[8:9] == b"{":
        return _read_safetensors(path)
    if head.lstrip()[:1] == b"<":
        raise BadStateDict("it is a web page, not weights")
    raise BadStateDict("it is neither safetensors nor what torch.save writes")


def check_whole(path: Path) -> None:
    """Reads a file once: checks the CRC-32 of all a zip archive holds, or that old weights can be read to their end.

    Raises BadStateDict.
    """
    with path.open("rb") as file:
        old = file.read(len(OLD_TORCH)) == OLD_TORCH
    _read(path, _old_tensors if old else _check_archive)


def check_safetensors(path: Path) -> None:
    """Checks that a safetensors header is whole and that the file is as long as it says. Raises BadStateDict."""
    from safetensors import SafetensorError, safe_open

    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER:
                raise BadStateDict(f"its safetensors header would have {length / 1e6:.0f} MB, far more than any does")
            _check_header(json.loads(file.read(length), object_pairs_hook=_no_name_twice))
        with safe_open(path, framework="pt") as file:
            file.keys()
    except BadStateDict:
        raise
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise BadStateDict(f"its safetensors header cannot be read ({_first_line(error)})") from None


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _check_header(header: Any) -> None:
    if not isinstance(header, dict) or len(header) > MAX_TENSORS:
        raise ValueError("it is no table of tensors")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_safetensors(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BadStateDict(f"its safetensors header cannot be read ({_first_line(error)})") from None
    if not tensors:
        raise BadStateDict("it holds no state dict")
    return tensors


def _read(path: Path, read: Callable[[mmap.mmap], dict[str, Tensor]]) -> dict[str, Tensor]:
    """A Lightning checkpoint also holds the optimiser's moments, twice the model's size: mapped, they stay on disk."""
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except (ValueError, OSError) as error:
            raise BadStateDict(f"it cannot be read ({_first_line(error)})") from None
    try:
        return read(data)
    except BadArchive as error:
        raise BadStateDict(f"its zip archive cannot be read ({error})") from None
    except BadPickle as error:
        raise BadStateDict(f"its pickle cannot be read ({error})") from None


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
            raise BadStateDict(f"the numbers {storage.key[:60]!r} of a tensor are not in it")
        if entry.size != storage.numel * _dtype(storage).itemsize:
            raise BadStateDict(f"the numbers {storage.key[:60]!r} of a tensor are more or fewer than it says")
        return entry.start

    return _tensors(data, wanted, place)


def _bytes(data: mmap.mmap, name: str, entry: Entry) -> bytes:
    if entry.method != STORED or entry.size > MAX_BYTES:
        raise BadStateDict(f"its part {name} is packed, or far larger than that of weights")
    check_crc(data, name, entry)
    return data[entry.start : entry.start + entry.size]


def _old_tensors(data: mmap.mmap) -> dict[str, Tensor]:
    """Five pickles (magic number, protocol, byte order and sizes, the weights, keys of storages), then the storages."""
    file = io.BytesIO(data[: 3 * MAX_BYTES])
    pointed_at: dict[str, Storage] = {}
    _, protocol, system, saved = (interpret(file, pointed_at) for _ in range(4))
    if protocol != OLD_PROTOCOL or not isinstance(system, dict):
        raise BadStateDict("it is of another version of torch.save")
    if system.get("little_endian") is not (sys.byteorder == "little"):
        raise BadStateDict("its numbers are in the byte order of another kind of processor")
    wanted, keys = _named(saved), interpret(file)
    listed = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not listed or sorted(keys) != sorted(pointed_at):
        raise BadStateDict("its list of storages is not that of its tensors")
    at, places = file.tell(), {}
    for key in keys:
        numel = int.from_bytes(data[at : at + 8], "little")
        if numel != pointed_at[key].numel:
            raise BadStateDict(f"the numbers {key[:60]!r} of a tensor are more or fewer than it says")
        places[key] = at + 8
        at += 8 + numel * _dtype(pointed_at[key]).itemsize
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
            raise BadStateDict("one of its entries has no name")
        if not isinstance(value, StoredTensor):
            raise BadStateDict(f"its entry {key[:60]!r} is no tensor")
    return dict(inner)


def _module_tensors(root: Any) -> dict[str, StoredTensor]:
    """Parameters and buffers of a TorchScript module: the tensors among its attributes and its submodules'."""
    found: dict[str, StoredTensor] = {}
    waiting = [("", root, 0)]
    while waiting:
        prefix, module, depth = waiting.pop()
        if depth > MAX_DEPTH or len(found) + len(waiting) > MAX_TENSORS:
            raise BadStateDict("its modules are nested far deeper than those of any model")
        for name, value in getattr(module, "state", {}).items():
            if isinstance(value, StoredTensor):
                found[f"{prefix}{name}"] = value
            elif isinstance(value, Inert):
                waiting.append((f"{prefix}{name}.", value, depth + 1))
    if not found:
        raise BadStateDict("it holds no state dict")
    return found


def _dtype(storage: Storage) -> torch.dtype:
    if storage.kind not in DTYPES:
        raise BadStateDict(f"it holds numbers as {storage.kind[:60]!r}; {', '.join(DTYPES)} are read")
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


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
