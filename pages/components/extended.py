"""A picture made larger on some of its sides, and the mask of what is to be drawn there (outpainting)."""

from __future__ import annotations

import io
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

SIDES = ("left", "right", "top", "bottom")
SEAM = 0.04  # of the shorter side of the picture: so much of it is mixed with what is drawn, so that no edge shows


@dataclass(frozen=True)
class Extended:
    """PNG files: the larger picture, whose edge goes on where nothing was, and the mask, white there; size in px."""

    picture: bytes
    mask: bytes
    size: tuple[int, int]


def extended(data: bytes, sides: Collection[str], share: float, *, square: bool = False) -> Extended:
    """The picture in these bytes with so much of its width or height, `share`, added on each of these sides.

    square: where only squares can be drawn, what is then shorter is extended on both its sides until it is one.
    """
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert("RGB"))
    height, width = pixels.shape[:2]
    across = [round(share * width) if side in sides else 0 for side in ("left", "right")]
    down = [round(share * height) if side in sides else 0 for side in ("top", "bottom")]
    if square:
        lacking = (height + sum(down)) - (width + sum(across))
        shorter, more = (across, lacking) if lacking > 0 else (down, -lacking)
        shorter[0] += more // 2
        shorter[1] += more - more // 2
    large = Image.fromarray(np.pad(pixels, (down, across, (0, 0)), mode="edge"))
    seam = max(1, round(SEAM * min(width, height)))
    # How far each px lies inside the picture, on the sides where there is more now.
    inside = np.minimum(_depth(height, down)[:, None], _depth(width, across)[None, :])
    white = (255 * (1 - np.clip(inside / seam, 0, 1))).round().astype(np.uint8)
    streaks = large.filter(ImageFilter.GaussianBlur(seam))
    large = Image.composite(streaks, large, Image.fromarray(white))
    return Extended(_png(large), _png(Image.fromarray(white)), large.size)


def _depth(length: int, added: list[int]) -> np.ndarray:
    """Along one axis of the larger picture: px from the nearest side that was extended, 0 outside."""
    place = np.arange(length, dtype=float)
    before = place if added[0] else np.full(length, np.inf)
    after = place[::-1] if added[1] else np.full(length, np.inf)
    return np.pad(np.minimum(before, after), added)


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
