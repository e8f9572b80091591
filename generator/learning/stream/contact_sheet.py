"""Some pictures of a data set on one sheet. Imports no torch."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from PIL import Image

from generator.images.decode import BadImage, decode_image
from generator.learning.stream.samples import DataProblem
from generator.learning.stream.sources import Source

COUNT = 48  # pictures
SIDE = 96  # px of each cell
PIXELS_SHOWN = 3  # from so many times on a picture is enlarged by its pixels


def contact_sheet(source: Source, *, count: int = COUNT, side: int = SIDE) -> bytes:
    """A PNG of at most `count` pictures, evenly chosen, in cells of `side` px, row by row on white.

    A picture that cannot be read leaves its cell grey. Raises ValueError where count or side is below 1.
    """
    if count < 1 or side < 1:
        raise ValueError(f"A sheet of {count} pictures of {side} px cannot be drawn; both must be at least 1.")
    indices = chosen(len(source.ids), count)
    columns = math.ceil(math.sqrt(len(indices) * 1.5))  # wider than high, as screens are
    gap = max(side // 24, 1)
    step = side + gap
    sheet = Image.new("RGB", (columns * step + gap, math.ceil(len(indices) / columns) * step + gap), "white")
    for place, index in enumerate(indices):
        row, column = divmod(place, columns)
        corner = column * step + gap, row * step + gap
        try:
            cell = _filling(decode_image(source.image(index), max_side=side), side)
        except (BadImage, DataProblem):
            cell = Image.new("RGB", (side, side), (200, 200, 200))
        sheet.paste(cell, (corner[0] + (side - cell.width) // 2, corner[1] + (side - cell.height) // 2))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _filling(picture: Image.Image, side: int) -> Image.Image:
    """A picture as large as its cell. Of one far smaller the pixels are shown, as large as fits a whole number of
    times: smoothed, 16 px would look like a bad picture of something larger."""
    scale = side / max(picture.size)
    if scale >= PIXELS_SHOWN:
        whole = int(scale)
        return picture.resize((picture.width * whole, picture.height * whole), Image.Resampling.NEAREST)
    if scale > 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        return picture.resize(size, Image.Resampling.LANCZOS)
    return picture


def chosen(total: int, count: int) -> Sequence[int]:
    """At most `count` of range(total), evenly spaced, the first among them."""
    return range(total) if total <= count else [i * total // count for i in range(count)]
