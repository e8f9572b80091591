"""How much memory a picture takes while it is decoded, from its header alone: 300 kB of PNG may be 160 MB of pixels.

Measured with Pillow 13, libwebp 1.6, libavif 1.4 and libheif 1.23 (scripts/check_uploads.py measures again); the
pixels that come out, RGB or RGBA, are counted by whoever makes them smaller.
"""

from __future__ import annotations

from typing import Any

from PIL import Image

from generator.images import av1, hevc
from generator.images.formats import AVIF, GIF, HEIC, JPEG, TIFF, WEBP, Format
from generator.images.jpeg import held_coefficients

# Bytes a px. Decoders of these formats make room for the whole picture several times over: planes, their RGB, a copy.
_PER_PX = {WEBP.name: 16, AVIF.name: 14, HEIC.name: 13, GIF.name: 3}
_ALPHA = {AVIF.name: 4, HEIC.name: 4}  # more for a plane of alpha
_BY_MODE = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}  # Pillow's own pixels; all other modes: 4
_WIDTH, _LENGTH, _BITS, _SAMPLES, _COMPRESSION, _TILE_WIDTH, _TILE_LENGTH = 256, 257, 258, 277, 259, 322, 323
_JPEG_IN_TIFF = (6, 7)


def coded_pixels(data: bytes, found: Format) -> int:
    """px of the largest picture that is coded in an AVIF or a HEIC, whatever their boxes say; 0 for other formats."""
    return av1.coded_pixels(data) if found is AVIF else hevc.coded_pixels(data) if found is HEIC else 0


def decoding_bytes(image: Image.Image, data: bytes, found: Format) -> int:
    """Bytes that decoding takes. image: opened, not loaded, its `draft` chosen. Raises TooManyParts."""
    px = max(image.width * image.height, coded_pixels(data, found))
    if found is TIFF:
        return _of_tiff(image, px)
    if found.name in _PER_PX:
        return px * (_PER_PX[found.name] + (_ALPHA.get(found.name, 0) if image.mode == "RGBA" else 0))
    own = px * _BY_MODE.get(image.mode, 4)
    return own + (held_coefficients(data) if found is JPEG else 0)


def _of_tiff(image: Image.Image, px: int) -> int:
    """Pillow's own pixels, and a strip or a tile as it is stored: it may be the whole picture, or much more."""
    tags: Any = getattr(image, "tag_v2", {})
    bits, samples = tags.get(_BITS, (1,)), int(tags.get(_SAMPLES, 1))
    # Of px that come out of a draft or of a wrong header the larger of both.
    stored_px = max(px, int(tags.get(_TILE_WIDTH, 1)) * int(tags.get(_TILE_LENGTH, 1)))
    per_px = samples * max(int(bit) for bit in bits) / 8
    if tags.get(_COMPRESSION) in _JPEG_IN_TIFF:
        per_px += 2 * samples
    return int(stored_px * per_px) + px * _BY_MODE.get(image.mode, 4)
