"""Uploads and files into pictures: what is permitted is known before anything is decoded. Imports no torch."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

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
    except UnidentifiedImageError:
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


def read_picture(path: str) -> Image.Image:
    """A picture from a file of this machine. Raises BadImage."""
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise BadImage(f"it has more than {MAX_BYTES >> 20} MB")
        return decode_image(Path(path).read_bytes())
    except OSError as error:
        raise BadImage(f"Cannot read the picture {path}: {error.strerror}.") from None
    except BadImage as error:
        raise BadImage(f"Cannot use the picture {path}: {str(error).rstrip('.')}.") from None
