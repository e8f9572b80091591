"""How large the pictures coded in a HEIC are, whatever its boxes say: HEVC's own headers, read before any is decoded.

Libheif compares the two, but only when the decoder has made room for what is coded.
"""

from __future__ import annotations

from collections.abc import Iterator

from generator.images.av1 import Bits
from generator.images.boxes import TooManyParts, boxes, find, whole
from generator.images.items import items, put_together, tracks

SPS = 33  # the kind of NAL unit of a sequence parameter set, ITU-T H.265 table 7-1
MAX_UNITS = 1024  # NAL units of one picture
MAX_HEADER = 256  # bytes of a parameter set that are looked at: its size is in the first 60
_SUB_LAYER = 88, 8  # bits of a sub-layer's profile, and of its level


def coded_pixels(data: bytes) -> int:
    """px of the largest picture that a HEIC's items and tracks announce; 0 where none can be found.

    Raises TooManyParts.
    """
    return max((width * height for width, height in _announced(data)), default=0)


def _announced(data: bytes) -> Iterator[tuple[int, int]]:
    for body in whole(find(data, b"meta")):
        for configuration in whole(find(body[4:], b"iprp", b"ipco", b"hvcC")):
            yield from _sizes(_configured(configuration))
    for kind, coded in items(data):
        yield from whole(put_together(kind, coded))
        if kind in (b"hvc1", b"hev1"):
            yield from _sizes(_units(coded))
    for described in whole(find(data, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")):
        for _, entry in whole(boxes(described[8:])):
            for configuration in whole(find(entry[78:], b"hvcC")):
                yield from _sizes(_configured(configuration))
    for coded in whole(tracks(data)):
        yield from _sizes(_units(coded))


def _configured(hvcc: bytes) -> Iterator[bytes]:
    """The NAL units of an HEVCDecoderConfigurationRecord, ISO/IEC 14496-15 8.3.3."""
    at = 23
    for _ in range(hvcc[22]):
        count, at = int.from_bytes(hvcc[at + 1 : at + 3], "big"), at + 3
        for _ in range(count):
            if at + 2 > len(hvcc):
                return
            length = int.from_bytes(hvcc[at : at + 2], "big")
            yield hvcc[at + 2 : at + 2 + length]
            at += 2 + length


def _units(coded: bytes) -> Iterator[bytes]:
    """The NAL units of a picture, each after its length in 4 bytes."""
    at = 0
    for _ in range(MAX_UNITS):
        if at + 6 > len(coded):
            return
        length = int.from_bytes(coded[at : at + 4], "big")
        yield coded[at + 4 : at + 4 + length]
        at += 4 + length
    raise TooManyParts(f"The picture is coded in more than {MAX_UNITS} parts.")


def _sizes(units: Iterator[bytes]) -> Iterator[tuple[int, int]]:
    """(width, height) in px that each sequence parameter set among them announces."""
    for unit in whole(units):
        if len(unit) > 2 and unit[0] >> 1 & 63 == SPS:
            yield from whole(_size_in(Bits(unit[2:MAX_HEADER].replace(b"\0\0\3", b"\0\0"))))


def _size_in(bits: Bits) -> Iterator[tuple[int, int]]:
    """The width and height of a seq_parameter_set_rbsp, 7.3.2.2."""
    bits(4)
    layers = bits(3)
    bits(1)
    bits(88)
    bits(8)
    present = [(bits(), bits()) for _ in range(layers)]
    if layers:
        bits(2 * (8 - layers))
    for has in present:
        for there, length in zip(has, _SUB_LAYER, strict=True):
            bits(length if there else 0)
    _exp_golomb(bits)
    if _exp_golomb(bits) == 3:  # chroma_format_idc
        bits(1)
    yield _exp_golomb(bits), _exp_golomb(bits)


def _exp_golomb(bits: Bits) -> int:
    """ue(v), 9.2."""
    zeros = 0
    while not bits():
        zeros += 1
    return (1 << zeros) - 1 + bits(zeros)
