"""The size a client asks for, from a model that draws well at a size of its own.

Most clients ask for 512 or 1024 px whatever the model. A model is let draw at about the area it was trained at, in the
shape that was asked for; what is missing to the size is upscaled, and what is left of the difference is resized when
the picture is handed over.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from generator import registry
from generator.images.encode import encode, png_with, texts_in
from generator.params import BadParams
from studio.settings_form import defaults

MIN_SIDE, MAX_SIDE = 16, 2048
NEAR = 1.5  # so many times the area it was trained at, a model is let draw as asked
FORMATS = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


def check_size(width: int, height: int) -> None:
    """Raises BadParams for what no picture is handed over at."""
    if not (MIN_SIDE <= width <= MAX_SIDE and MIN_SIDE <= height <= MAX_SIDE):
        raise BadParams(f"size {width} x {height} px: {MIN_SIDE} to {MAX_SIDE} px a side is allowed.")


def drawn_at(engine: str, checkpoint: str, width: int, height: int) -> dict[str, Any]:
    """The settings width, height and upscale for a picture of this size. Raises BadParams, UnknownName."""
    check_size(width, height)
    row, own = registry.checkpoint(checkpoint), defaults(engine, checkpoint)
    if row.only_side:
        drawn = (row.only_side, row.only_side)
    else:
        area = own["width"] * own["height"]
        scale = 1.0 if width * height <= NEAR * area else math.sqrt(area / (width * height))
        drawn = (_floored(width * scale, row), _floored(height * scale, row))
    larger = max(width / drawn[0], height / drawn[1])
    return {"width": drawn[0], "height": drawn[1], "upscale": 4 if larger > NEAR else 1}


def _floored(side: float, row: registry.Checkpoint) -> int:
    least = -(-MIN_SIDE // row.factor) * row.factor
    return max(min(round(side), row.max_side) // row.factor * row.factor, least)


def handed_over(
    png: bytes,
    form: str = "png",
    size: tuple[int, int] | None = None,
    *,
    quality: int = 90,
    texts: Mapping[str, str] | None = None,
) -> bytes:
    """A picture as it is handed over: of exactly this size where one is given, its settings kept where it is a PNG.

    form: a key of FORMATS. quality: 1 to 100, of what is not PNG. texts: written into a PNG beside those it has. Where
    the shape differs, the picture is whole and its border is continued.
    """
    with Image.open(io.BytesIO(png)) as found:
        if form == "png" and size in (None, found.size) and not texts:
            return png
        kept = texts_in(found)
        image = found.convert("RGB")
    if size is not None and size != image.size:
        image = _resized(image, *size)
    return png_with(image, {**kept, **(texts or {})}) if form == "png" else encode(image, form.upper(), quality=quality)


def _resized(image: Image.Image, width: int, height: int) -> Image.Image:
    scale = min(width / image.width, height / image.height)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(inner, Image.Resampling.LANCZOS)
    if inner == (width, height):
        return image
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = (int(value) for value in np.median(border, axis=0))
    page = Image.new("RGB", (width, height), (red, green, blue))
    page.paste(image, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return page
