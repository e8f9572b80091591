"""HEIC files as phones write them, made by the tests: one HEVC frame (ffmpeg's), boxed as ISO/IEC 23008-12 says."""

from __future__ import annotations

import re
import struct
import subprocess
from functools import cache

import imageio_ffmpeg

VPS, SPS, PPS = 32, 33, 34  # kinds of NAL units of parameter sets, ITU-T H.265 table 7-1
NCLX = b"nclx" + struct.pack(">HHHB", 1, 13, 6, 0x80)  # sRGB, BT.601, full range


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


@cache
def _frame(rgb: bytes, width: int, height: int) -> list[bytes]:
    """NAL units of one picture."""
    options = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-i", "-", "-pix_fmt", "yuvj444p"]
    options += ["-c:v", "libx265", "-x265-params", "log-level=none:pools=1:qp=4", "-frames:v", "1", "-f", "hevc", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *options]
    stream = subprocess.run(command, input=rgb, capture_output=True, check=True).stdout
    return [unit for unit in re.split(b"\0\0\0?\1", stream) if unit]


def heic(
    rgb: bytes, width: int, height: int, *more: bytes, colour: bytes = NCLX, claimed: tuple[int, int] = (0, 0)
) -> bytes:
    """A HEIC of these pixels, 24 bits each. more: properties of it, as irot; claimed: the size it says it has."""
    units = _frame(rgb, width, height)
    sets = {kind: [u for u in units if u[0] >> 1 & 63 == kind] for kind in (VPS, SPS, PPS)}
    coded = b"".join(struct.pack(">I", len(u)) + u for u in units if u[0] >> 1 & 63 < VPS)
    profile = sets[SPS][0].replace(b"\0\0\3", b"\0\0")[3:15]  # general profile, tier and level
    arrays = b"".join(struct.pack(">BHH", 0x80 | kind, 1, len(some[0])) + some[0] for kind, some in sets.items())
    hvcc = b"\1" + profile + struct.pack(">HBBBBHBB", 0xF000, 0xFC, 0xFC | 3, 0xF8, 0xF8, 0, 0x0F, 3) + arrays
    size = struct.pack(">II", *(given or real for given, real in zip(claimed, (width, height), strict=True)))
    properties = [box(b"hvcC", hvcc), full(b"ispe", size), box(b"colr", colour), *more]
    associated = b"".join(bytes([0x80 | n if n == 1 or n > 3 else n]) for n in range(1, len(properties) + 1))
    ipma = full(b"ipma", struct.pack(">IHB", 1, 1, len(properties)), associated)
    info = full(b"iinf", struct.pack(">H", 1), full(b"infe", struct.pack(">HH4s", 1, 0, b"hvc1"), b"\0", version=2))
    head = box(b"ftyp", b"heic\0\0\0\0mif1heic")

    def meta(at: int) -> bytes:
        where = struct.pack(">BBHHHHII", 0x44, 0, 1, 1, 0, 1, at, len(coded))
        handler = full(b"hdlr", b"\0\0\0\0pict", bytes(13))
        primary = full(b"pitm", struct.pack(">H", 1))
        return full(
            b"meta", handler, primary, full(b"iloc", where), info, box(b"iprp", box(b"ipco", *properties), ipma)
        )

    return head + meta(len(head) + len(meta(0)) + 8) + box(b"mdat", coded)
