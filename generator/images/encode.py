"""Pictures in and out: an upload decoded, a picture encoded, a file written whole.

Imports no torch: a picture here is anything numpy can read as (3, H, W) in [0, 1].
"""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageOps

MAX_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 40_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")


class BadImage(ValueError):
    """An upload that is not a picture this project takes; one sentence."""


def decode_image(data: bytes, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """An uploaded PNG, JPEG, WebP or GIF (its first frame) as RGB, upright, transparency on white.

    Nothing is decoded before format and size are known to be permitted. Safe from any thread. Raises BadImage.
    """
    if len(data) > max_bytes:
        raise BadImage(f"The picture has {len(data) / 2**20:.1f} MB; at most {max_bytes / 2**20:.0f} MB are allowed.")
    # Pillow, fed hostile bytes, raises whatever its parsers stumble over; all of it means the same to the visitor.
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise BadImage("This is not a picture in PNG, JPEG, WebP or GIF format.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadImage(f"The picture is too large; at most {max_pixels / 1e6:.0f} million px are allowed.") from None
    except Exception:
        raise BadImage("The picture is damaged and cannot be opened.") from None
    width, height = image.size
    if width * height > max_pixels:
        raise BadImage(f"The picture has {width} x {height} px; at most {max_pixels / 1e6:.0f} million px are allowed.")
    try:
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16") or image.mode in ("I", "F"):
            depth = np.asarray(image, dtype=np.float64)
            image = Image.fromarray((depth / (257 if depth.max() > 255 else 1)).clip(0, 255).astype(np.uint8))
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        return image.convert("RGB")
    except Exception:
        raise BadImage("The picture is damaged or cut short.") from None


def to_image(picture: ArrayLike) -> Image.Image:
    """(3, H, W) in [0, 1] -> RGB, rounded to 8 bits."""
    values = np.asarray(picture, dtype=np.float32)
    return Image.fromarray(np.ascontiguousarray(np.rint(values.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)))


def encode_preview(picture: ArrayLike, side: int = 512) -> bytes:
    """A small WebP, at most `side` px wide or high, of a picture in progress."""
    return encode(fitted(to_image(picture), 0, side), "WEBP", quality=85, method=2)


def encode_thumbnail(image: Image.Image, side: int = 256) -> bytes:
    """A WebP whose longer side is `side` px."""
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return encode(image.resize(size, Image.Resampling.LANCZOS), "WEBP", quality=85, method=4)


def fitted(image: Image.Image, least: int, most: int) -> Image.Image:
    """Scaled up by a whole factor until the shorter side has `least` px, or down until the longer has `most`."""
    factor: float = max(1, math.ceil(least / min(image.size)))
    if max(image.size) * factor > most:
        factor = min(1.0, most / max(image.size)) if factor == 1 else max(1, most // max(image.size))
    if factor == 1:
        return image
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.LANCZOS)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file of Pillow's format `kind`, written with its options."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_whole(path: Path, data: bytes) -> None:
    """Whole, then renamed into place."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
