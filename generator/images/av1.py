"""How large the pictures coded in an AVIF are, whatever its boxes say: AV1's own headers, read before any is decoded.

A box may say 64 x 64 px where the decoder will make room for 16384 x 16384. Libheif compares the two itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from generator.images.boxes import boxes, find, number

SEQUENCE_HEADER = 1  # a kind of OBU, AV1 bitstream specification 6.2.2
MAX_UNITS = 256  # OBUs of one picture that are looked at


def coded_pixels(data: bytes) -> int:
    """px of the largest picture that an AVIF's pictures and tracks announce; 0 where none can be found."""
    try:
        sizes = [size for coded in _coded(data) for size in _sizes(coded)]
    except (struct.error, IndexError, ValueError, KeyError, StopIteration):
        return 0  # the decoder tells what is wrong
    return max((width * height for width, height in sizes), default=0)


def _coded(data: bytes) -> Iterator[bytes]:
    """The bytes of each item, and what is at the beginning of each track."""
    for kind, body in boxes(data):
        if kind == b"meta":
            yield from _items(data, body[4:])
        if kind == b"moov":
            for found in find(body, b"trak", b"mdia", b"minf", b"stbl"):
                for name, table in boxes(found):
                    if name in (b"stco", b"co64") and number(table, 4, 4):
                        at = number(table, 8, 4 if name == b"stco" else 8)
                        yield data[at : at + (1 << 16)]


def _items(data: bytes, meta: bytes) -> Iterator[bytes]:
    parts = dict(boxes(meta))
    pictures = set(_pictures(parts[b"iinf"]))
    iloc, version = parts[b"iloc"], parts[b"iloc"][0]
    offset_size, length_size = iloc[4] >> 4, iloc[4] & 15
    base_size, index_size = iloc[5] >> 4, iloc[5] & 15 if version else 0
    wide = 4 if version == 2 else 2
    count, at = number(iloc, 6, wide), 6 + wide
    for _ in range(min(count, MAX_UNITS)):
        item, at = number(iloc, at, wide), at + wide
        inside = version and number(iloc, at, 2) & 15 == 1  # in idat, not in the file
        at += (2 if version else 0) + 2
        base, at = number(iloc, at, base_size), at + base_size
        extents, at = number(iloc, at, 2), at + 2
        coded, source = b"", parts.get(b"idat", b"") if inside else data
        for _ in range(min(extents, MAX_UNITS)):
            at += index_size
            start = base + number(iloc, at, offset_size)
            length = number(iloc, at + offset_size, length_size)
            at += offset_size + length_size
            coded += source[start : start + length] if length else source[start:]
        if item in pictures:  # and not Exif, or the plan of a grid
            yield coded


def _pictures(iinf: bytes) -> Iterator[int]:
    """The numbers of the items that are AV1."""
    for kind, body in boxes(iinf[8 if iinf[0] else 6 :]):
        wide = 4 if kind == b"infe" and body[0] > 2 else 2
        if kind == b"infe" and body[0] > 1 and body[6 + wide : 10 + wide] == b"av01":
            yield number(body, 4, wide)


def _sizes(coded: bytes) -> Iterator[tuple[int, int]]:
    """(width, height) in px of each sequence header among the OBUs."""
    at = 0
    for _ in range(MAX_UNITS):
        if at >= len(coded):
            return
        kind, extended, sized = coded[at] >> 3 & 15, coded[at] >> 2 & 1, coded[at] >> 1 & 1
        at += 1 + extended
        length, at = _leb128(coded, at) if sized else (len(coded) - at, at)
        if kind == SEQUENCE_HEADER:
            yield _size_in(Bits(coded[at : at + length]))
        at += length


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for n in range(8):
        value |= (data[at + n] & 127) << (7 * n)
        if not data[at + n] & 128:
            return value, at + n + 1
    raise ValueError("a length without an end")


class Bits:
    """Numbers of so many bits, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def __call__(self, count: int = 1) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("cut short")
        return self._value >> self._left & ((1 << count) - 1)


def _size_in(bits: Bits) -> tuple[int, int]:
    """The greatest width and height of a sequence_header_obu, 5.5.1."""
    bits(4)
    if bits():  # reduced_still_picture_header
        bits(5)
    else:
        _operating_points(bits)
    across, down = bits(4) + 1, bits(4) + 1
    return bits(across) + 1, bits(down) + 1


def _operating_points(bits: Bits) -> None:
    delay = 0
    if bits():  # timing_info
        bits(64)
        if bits():
            zeros = 0
            while not bits():
                zeros += 1
            bits(min(zeros, 32))
        if bits():  # decoder_model_info
            delay = bits(5) + 1
            bits(42)
    display = bits()
    for _ in range(bits(5) + 1):
        bits(12)
        if bits(5) > 7:
            bits()
        if delay and bits():
            bits(2 * delay + 1)
        if display and bits():
            bits(4)
