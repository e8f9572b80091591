"""What decoding a JPEG takes beside its pixels, from its markers alone (ITU-T T.81).

Where its pixels come in several scans the decoder holds the coefficients of the whole picture, whatever size they are
drawn at, and goes through all of them for each scan.
"""

from __future__ import annotations

import re

from generator.images.boxes import TooManyParts

MAX_SCANS = 100  # what encoders write has 20 at most
MAX_SCANNED = 1_600_000_000  # px of all scans together: each of them is gone through
MAX_MARKERS = 8192
_SOF = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)))
_SOS, _EOI, _ALONE = 0xDA, 0xD9, frozenset((0x01, *range(0xD0, 0xD9)))
_NEXT = re.compile(rb"\xff+([^\x00\xff])")
_AFTER_SCAN = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")


def held_coefficients(data: bytes) -> int:
    """Bytes of coefficients that a decoder has to hold; 0 where the pixels come in one scan. Raises TooManyParts."""
    frame, components, scans = b"", 0, 0
    at = 2
    for _ in range(MAX_MARKERS):
        found = _NEXT.search(data, at) if scans == 0 else _AFTER_SCAN.search(data, at)
        if found is None or (marker := found[1][0]) == _EOI:
            break
        at = found.end()
        if marker in _ALONE:
            continue
        body = data[at + 2 : at + int.from_bytes(data[at : at + 2], "big")]
        at += 2 + len(body)
        if marker in _SOF and not frame:
            frame = body
        elif marker == _SOS:
            scans += 1
            components = max(components, body[0] if body else 0)
    else:
        raise TooManyParts(f"The picture's file has more than {MAX_MARKERS} parts.")
    return _held(frame, scans, components)


def _held(frame: bytes, scans: int, components: int) -> int:
    if len(frame) < 6:
        return 0  # the decoder tells what is wrong
    height, width, count = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big"), frame[5]
    if scans > MAX_SCANS or scans * width * height > MAX_SCANNED:
        raise TooManyParts(f"The picture of {width} x {height} px comes in {scans} scans; save it again.")
    if scans < 2 and components >= count:
        return 0
    sampled = [(part >> 4, part & 15) for part in frame[7 : 6 + 3 * count : 3]]
    across, down = max((s[0] for s in sampled), default=1) or 1, max((s[1] for s in sampled), default=1) or 1
    return sum(2 * (width * s[0] // across + 8) * (height * s[1] // down + 8) for s in sampled)
