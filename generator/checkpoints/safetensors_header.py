"""The header of a safetensors file: which tensors there are, and of what shape, before anything is taken on its word.

Eight bytes of length, then JSON (github.com/huggingface/safetensors, "Format"). Importing this module does not import
torch.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from generator.checkpoints.errors import UNFIT, is_name, plain, sentence, shown

MAX_BYTES = 4 << 20  # of a header; the format allows 100 MB, of which the largest models use 2
MAX_TENSORS = 100_000
MAX_DIMENSIONS = 8
MAX_NUMBERS = 1 << 48  # more than any file holds
# Bytes of a number, by the name of its type.
SIZES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}


class BadHeader(ValueError):
    """A file that is no whole safetensors file; the message says what is wrong with its header."""


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors by their names. Raises BadHeader."""
    header = _header(path)
    header.pop("__metadata__", None)
    try:
        return {name: _shape(name, entry) for name, entry in header.items()}
    except BadHeader:
        raise
    except UNFIT as error:
        raise BadHeader(sentence(error)) from None


def check_whole(path: Path) -> None:
    """Whether the numbers of all tensors are there, one behind the other, and nothing else. Raises BadHeader."""
    header = _header(path)
    header.pop("__metadata__", None)
    try:
        places = sorted(_place(name, entry) for name, entry in header.items())
        with path.open("rb") as file:
            there = path.stat().st_size - 8 - int.from_bytes(file.read(8), "little")
    except BadHeader:
        raise
    except UNFIT as error:
        raise BadHeader(sentence(error)) from None
    end = 0
    for start, stop, name in places:
        if start != end:
            raise BadHeader(f"the numbers of {shown(name)} do not begin where those before them end")
        end = stop
    if there < end:
        raise BadHeader(f"it is cut short: {there:,} of its {end:,} bytes of numbers are there")
    if there > end:
        raise BadHeader(f"{there - end:,} bytes behind its numbers belong to no tensor")


def read_metadata(path: Path) -> dict[str, str]:
    """The texts that whoever wrote the file put beside the tensors. Raises BadHeader."""
    told = _header(path).get("__metadata__", {})
    if not isinstance(told, dict) or not all(isinstance(value, str) for value in told.values()):
        raise BadHeader("its metadata are no table of texts")
    return told


def _header(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_BYTES:
                raise BadHeader(f"it would have {length / 1e6:.0f} MB, far more than any does")
            header = json.loads(file.read(length), object_pairs_hook=_no_name_twice)
        if not isinstance(header, dict) or len(header) > MAX_TENSORS:
            raise BadHeader("it is no table of tensors")
        return header
    except BadHeader:
        raise
    except UNFIT as error:
        raise BadHeader(sentence(error)) from None


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BadHeader("a name is there twice")
    return found


def _shape(name: str, entry: Any) -> tuple[int, ...]:
    if not is_name(name):
        raise BadHeader(f"{shown(name)} is no name of a tensor")
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if (
        not isinstance(shape, list)
        or len(shape) > MAX_DIMENSIONS
        or not all(type(side) is int and 0 <= side < MAX_NUMBERS for side in shape)
        or math.prod(side for side in shape if side) >= MAX_NUMBERS
    ):
        raise BadHeader(f"the shape of {shown(name)} is {plain(shape)}")
    return tuple(shape)


def _place(name: str, entry: Any) -> tuple[int, int, str]:
    """(first byte, the one behind the last, name) of the numbers of one tensor."""
    count = math.prod(_shape(name, entry))
    size, offsets = SIZES.get(str(entry.get("dtype"))), entry.get("data_offsets")
    if size is None:
        raise BadHeader(f"its numbers are {shown(entry.get('dtype'))}; {', '.join(SIZES)} are read")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(n) is int and n >= 0 for n in offsets):
        raise BadHeader(f"the numbers of {shown(name)} are at {plain(offsets)}")
    if offsets[1] - offsets[0] != count * size:
        raise BadHeader(f"the numbers of {shown(name)} are more or fewer than its shape says")
    return offsets[0], offsets[1], name
