"""Pictures as other programs write them and Pillow does not: PNG and TIFF by the byte, and colour profiles."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image

# TIFF 6.0: how a value of each type is packed.
_TYPES = {3: "H", 4: "I", 11: "f", 12: "d"}
P3 = ((0.515102, 0.241196, -0.001053), (0.291977, 0.692245, 0.041885), (0.157104, 0.066574, 0.784073))  # XYZ in D50


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, depth: int, colour_type: int, row: bytes, *chunks: bytes) -> bytes:
    """One row of `width` px. chunks: what stands before the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, colour_type, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + row))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def tiff(
    width: int,
    bits: tuple[int, ...],
    row: bytes,
    *,
    order: str = "<",
    photometric: int = 1,
    sample: int = 1,
    tags: dict[int, tuple[int, tuple[Any, ...]]] | None = None,
) -> bytes:
    """One row, not compressed. order: < or >; sample: 1 whole numbers, 2 with a sign, 3 floats; tags: more of them."""
    entries: dict[int, tuple[int, tuple[Any, ...]]] = {
        256: (3, (width,)),
        257: (3, (1,)),
        258: (3, bits),
        259: (3, (1,)),
        262: (3, (photometric,)),
        273: (4, (0,)),
        277: (3, (len(bits),)),
        278: (3, (1,)),
        279: (4, (len(row),)),
        339: (3, (sample,) * len(bits)),
        **(tags or {}),
    }
    values = {tag: struct.pack(f"{order}{len(v)}{_TYPES[kind]}", *v) for tag, (kind, v) in entries.items()}
    after = 8 + 2 + 12 * len(entries) + 4
    pixels_at = after + sum(len(v) for v in values.values() if len(v) > 4)
    directory, long = b"", b""
    for tag in sorted(entries):
        kind, given = entries[tag]
        value = struct.pack(f"{order}I", pixels_at) if tag == 273 else values[tag]
        if len(value) > 4:
            value, long = struct.pack(f"{order}I", after + len(long)), long + value
        directory += struct.pack(f"{order}HHI", tag, kind, len(given)) + value.ljust(4, b"\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    head = magic + struct.pack(f"{order}IH", 8, len(entries))
    return head + directory + struct.pack(f"{order}I", 0) + long + row


def profile(space: bytes = b"RGB ", primaries: Any = P3, gamma: float | None = None, name: str = "Display P3") -> bytes:
    """An ICC profile of version 2: Display P3 as phones send it unless told; `space` GRAY has a curve alone.

    gamma: of the curve; None: sRGB's.
    """

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))

    text = name.encode()
    numbers = [_srgb_light(n / 1023) for n in range(1024)] if gamma is None else []
    points = [round(65535 * n) for n in numbers] if gamma is None else [round(gamma * 256)]
    curve = b"curv\0\0\0\0" + struct.pack(f">I{len(points)}H", len(points), *points) + b"\0\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + bytes(79),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": xyz((0.9642, 1.0, 0.8249)),
    }
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        tags |= {bytes([c]) + b"TRC": curve for c in b"rgb"}
        tags |= {bytes([c]) + b"XYZ": xyz(values) for c, values in zip(b"rgb", primaries, strict=True)}
    at, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for tag, value in tags.items():
        table += tag + struct.pack(">II", at + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    size = at + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(24) + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _srgb_light(number: float) -> float:
    return number / 12.92 if number <= 0.04045 else ((number + 0.055) / 1.055) ** 2.4
