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
