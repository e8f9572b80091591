"""Reads weights out of a file without running anything that is in it.

Four formats: safetensors, a zip archive of torch.save (plain state dict or Lightning .ckpt), the plain pickles it wrote
before PyTorch 1.6, and TorchScript archives, of which the tensors are taken and the program is left alone. torch's own
readers are not used for the last three: one parser reads the pickle (pickled.py) and one the archive (zip_archive.py),
so that what was checked is what is read.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from generator.checkpoints.errors import UNFIT, sentence, shown
from generator.checkpoints.kinds import of_head
from generator.checkpoints.pickled import Storage, StoredTensor
from generator.checkpoints.safetensors_header import BadHeader, read_shapes
from generator.checkpoints.torch_save import (
    BadStateDict,
    archive,
    head_of,
    in_old,
    in_zip,
    is_old,
    is_safetensors,
    is_zip,
    mapped,
    unwrapped,
)
from generator.checkpoints.zip_archive import STORED, check_crc

__all__ = ["DTYPES", "BadStateDict", "check_safetensors", "check_whole", "read_state_dict"]

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


def read_state_dict(path: Path, *, torchscript: bool = False) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, in the dtype they were saved in, mapped from the file where it allows that.

    torchscript: whether a TorchScript archive may be given, whose parameters and buffers are then taken.
    Raises BadStateDict, FileNotFoundError.
    """
    head = head_of(path)
    if is_zip(head):
        return unwrapped(_read(path, lambda data: _zip_tensors(data, torchscript)))
    if is_old(head):
        return unwrapped(_read(path, _old_tensors))
    if is_safetensors(head):
        return unwrapped(_read_safetensors(path))
    raise BadStateDict(of_head(head) or "it is neither safetensors nor what torch.save writes")


def check_whole(path: Path) -> None:
    """Reads a file once: checks the CRC-32 of all a zip archive holds, or that old weights can be read to their end.

    Raises BadStateDict, FileNotFoundError.
    """
    _read(path, _old_tensors if is_old(head_of(path)) else _check_archive)


def check_safetensors(path: Path) -> None:
    """Checks that a safetensors header is whole and that the file is as long as it says. Raises BadStateDict."""
    from safetensors import SafetensorError, safe_open

    try:
        read_shapes(path)
        with safe_open(path, framework="pt") as file:
            file.keys()
    except (BadHeader, SafetensorError, *UNFIT) as error:
        raise BadStateDict(f"its safetensors header cannot be read ({sentence(error)})") from None


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
    with mapped(path) as data:
        return read(data)


def _check_archive(data: mmap.mmap) -> dict[str, Tensor]:
    for name, entry in archive(data).items():
        check_crc(data, name, entry)
    return {}


def _zip_tensors(data: mmap.mmap, torchscript: bool) -> dict[str, Tensor]:
    wanted, found = in_zip(data, torchscript)

    def place(storage: Storage) -> int:
        entry = found.get(f"data/{storage.key}")
        if entry is None or entry.method != STORED:
            raise BadStateDict(f"the numbers {shown(storage.key)} of a tensor are not in it")
        if entry.size != storage.numel * _dtype(storage).itemsize:
            raise BadStateDict(f"the numbers {shown(storage.key)} of a tensor are more or fewer than it says")
        return entry.start

    return _tensors(data, wanted, place)


def _old_tensors(data: mmap.mmap) -> dict[str, Tensor]:
    wanted, places = in_old(data)
    return _tensors(data, wanted, lambda storage: places[storage.key])


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
