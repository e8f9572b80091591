"""What a picture's numbers mean where its file says so by code points (ITU-T H.273, CICP) and not by a profile.

PNG has them in its cICP chunk and, older, as gAMA; AVIF and HEIC in a colr box (ISO/IEC 14496-12) of the picture shown.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from PIL import Image

from generator.images.boxes import MAX_PARTS, boxes
from generator.images.formats import AVIF, HEIC, PNG, Format


@dataclass(frozen=True)
class CodedColours:
    """H.273's colour primaries and transfer characteristics; gamma: PNG's, of the encoding, in place of the latter.

    above_profile: whether it goes before a profile (PNG's cICP does, all others come after it).
    """

    primaries: int = 1
    transfer: int = 13
    gamma: float | None = None
    above_profile: bool = False


def coded_colours(image: Image.Image, data: bytes, found: Format) -> CodedColours | None:
    """What the file says; None where it says nothing or cannot be understood. image: opened, `info` read."""
    try:
        if found is PNG:
            return _of_png(image, data)
        if found in (AVIF, HEIC):
            return _of_boxes(data)
    except (struct.error, IndexError, KeyError, StopIteration, ValueError):
        pass  # the pixels may be sound all the same
    return None


def _of_png(image: Image.Image, data: bytes) -> CodedColours | None:
    at = 8
    for _ in range(MAX_PARTS):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"cICP" and length == 4:
            return CodedColours(data[at + 8], data[at + 9], above_profile=True)
        if kind in (b"IDAT", b"IEND"):
            break
        at += 12 + length
    gamma = image.info.get("gamma")
    if "srgb" in image.info or not isinstance(gamma, float) or not 0.05 < gamma < 5:
        return None
    return CodedColours(gamma=gamma)


def _of_boxes(data: bytes) -> CodedColours | None:
    """The nclx of the primary item: pitm names it, ipma says which of ipco's boxes are its own."""
    meta = next(body for kind, body in boxes(data) if kind == b"meta")
    parts = {kind: body for kind, body in boxes(meta[4:])}
    properties = {kind: body for kind, body in boxes(parts[b"iprp"])}
    wide = parts[b"pitm"][0] > 0
    primary = int.from_bytes(parts[b"pitm"][4 : 8 if wide else 6], "big")
    listed = list(boxes(properties[b"ipco"]))
    for index in _associated(properties[b"ipma"], primary):
        kind, body = listed[index - 1]
        if kind == b"colr" and body[:4] == b"nclx":
            return CodedColours(*struct.unpack_from(">HH", body, 4))
    return None


def _associated(ipma: bytes, item: int) -> list[int]:
    """The numbers, from 1, of the properties of an item."""
    version, flags = ipma[0], ipma[3]
    (entries,) = struct.unpack_from(">I", ipma, 4)
    at = 8
    for _ in range(min(entries, MAX_PARTS)):
        (found,) = struct.unpack_from(">I" if version else ">H", ipma, at)
        at += 4 if version else 2
        count, at = ipma[at], at + 1
        if flags & 1:
            numbers, at = [n & 0x7FFF for n in struct.unpack_from(f">{count}H", ipma, at)], at + 2 * count
        else:
            numbers, at = [n & 0x7F for n in ipma[at : at + count]], at + count
        if found == item:
            return [n for n in numbers if n]
    return []
