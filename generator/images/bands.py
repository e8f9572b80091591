"""A picture in bands of rows: what is done to one at a time takes memory for one."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

PX_AT_ONCE = 1 << 20


def bands(image: Image.Image, multiple: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """(top, rows from there on) of a loaded picture. multiple: rows of each band but the last are so many times n."""
    rows = max(PX_AT_ONCE // (image.width * multiple), 1) * multiple
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))
