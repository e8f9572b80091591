"""How large the pictures coded in an AVIF are, whatever its boxes say: AV1's own headers, read before any is decoded.

A box may say 64 x 64 px where the decoder will make room for 16384 x 16384. Libheif compares the two itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from generator.images.boxes import TooManyParts, whole
from generator.images.items import items, put_together, tracks

SEQUENCE_HEADER = 1  # a kind of OBU, AV1 bitstream specification 6.2.2
MAX_UNITS = 1024  # OBUs of one picture


def coded_pixels(data: bytes) -> int:
    """px of the largest picture that an AVIF's items and tracks announce; 0 where none can be found.

    Raises TooManyParts.
    """
    return max((width * height for width, height in _announced(data)), default=0)


def _announced(data: bytes) -> Iterator[tuple[int, int]]:
    for kind, coded in items(data):
        yield from whole(put_together(kind, coded))
        if kind == b"av01":  # and not Exif
            yield from whole(_sizes(coded))
    for coded in whole(tracks(data)):
        yield from whole(_sizes(coded))


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
    raise TooManyParts(f"The picture is coded in more than {MAX_UNITS} parts.")


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
