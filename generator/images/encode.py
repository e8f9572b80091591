"""Pictures into bytes: a frame as an image, an image encoded, a file written whole.

Imports no torch: a picture here is anything numpy can read as (3, H, W) in [0, 1].
"""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, PngImagePlugin


def data_uri(data: bytes, media_type: str) -> str:
    """The bytes as an address that holds them itself (RFC 2397)."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def to_image(picture: ArrayLike) -> Image.Image:
    """(3, H, W) in [0, 1] -> RGB, rounded to 8 bits."""
    values = np.asarray(picture, dtype=np.float32)
    return Image.fromarray(np.ascontiguousarray(np.rint(values.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)))


def encode_preview(picture: ArrayLike, side: int = 512) -> bytes:
    """A small WebP, at most `side` px wide or high, of a picture in progress."""
    return encode(fitted(to_image(picture), 0, side), "WEBP", quality=85, method=2)


def encode_thumbnail(image: Image.Image, side: int = 256, **options: Any) -> bytes:
    """A WebP whose longer side is `side` px, written with further options of Pillow's."""
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return encode(image.resize(size, Image.Resampling.LANCZOS), "WEBP", quality=85, method=4, **options)


def fitted(image: Image.Image, min_side: int, max_side: int) -> Image.Image:
    """Scaled up by a whole factor until the shorter side has `min_side` px, or down until the longer has `max_side`."""
    factor: float = max(1, math.ceil(min_side / min(image.size)))
    if max(image.size) * factor > max_side:
        factor = min(1.0, max_side / max(image.size)) if factor == 1 else max(1, max_side // max(image.size))
    if factor == 1:
        return image
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.LANCZOS)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file of Pillow's format `kind`, written with its options."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def texts_in(image: Image.Image) -> dict[str, str]:
    """The texts that are written in a picture, by their names."""
    return {str(key): text for key, text in image.info.items() if isinstance(text, str)}


def png_with(image: Image.Image, texts: Mapping[str, str]) -> bytes:
    """A PNG in which these texts are written, and no others; those read from one keep their kind of chunk."""
    chunks = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        chunks.add_text(key, text)
    return encode(image, "PNG", pnginfo=chunks, compress_level=6)


def write_whole(path: Path, data: bytes) -> None:
    """Whole, then renamed into place."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
