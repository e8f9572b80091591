"""The boxes of ISO/IEC 14496-12, in which AVIF and HEIC are kept."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TypeVar

MAX_PARTS = 4096  # boxes of one level that are looked at

T = TypeVar("T")


class TooManyParts(Exception):
    """A file in more parts than any program writes, so that looking through it would take too long; one sentence."""


def whole(found: Iterator[T]) -> Iterator[T]:
    """What comes before something that is cut short or makes no sense: the decoder tells what is wrong."""
    try:
        yield from found
    except (struct.error, IndexError, ValueError, KeyError):
        return


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, body) of each box, as far as they are whole. Raises struct.error."""
    at = 0
    for _ in range(MAX_PARTS):
        if at + 8 > len(data):
            return
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, at + 8), 16
        size = len(data) - at if size == 0 else size
        if size < head:
            return
        yield kind, data[at + head : at + size]
        at += size


def find(data: bytes, *path: bytes) -> Iterator[bytes]:
    """The bodies of all boxes that such a path of kinds leads to."""
    if not path:
        yield data
        return
    for kind, body in boxes(data):
        if kind == path[0]:
            yield from find(body, *path[1:])


def number(data: bytes, at: int, size: int) -> int:
    """A number of `size` bytes, 0 for none. Raises ValueError where it is cut short."""
    if at + size > len(data):
        raise ValueError("cut short")
    return int.from_bytes(data[at : at + size], "big")
