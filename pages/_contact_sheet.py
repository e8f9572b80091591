"""A sheet as one PNG: labelled pictures in rows, for a report or a chat."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

SIDE = 256  # px of a picture
GAP = 16
LINE = 22
INK, QUIET, PAPER, MAT = "#1a1a1a", "#5c5c5c", "#ffffff", "#ececec"
MOST_COLUMNS = 8

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Cell:
    """One picture with what stands under it: what it is, then its score and time. picture: the bytes of an image."""

    label: str
    line: str
    picture: bytes | None


def contact_sheet(title: str, cells: Sequence[Cell], columns: int) -> bytes:
    """PNG of the cells, row by row, `columns` in a row; no time of day goes in."""
    columns = max(1, min(columns, MOST_COLUMNS, len(cells)))
    rows = -(-len(cells) // columns)
    width = GAP + columns * (SIDE + GAP)
    tall = SIDE + 2 * LINE + GAP
    page = Image.new("RGB", (width, GAP + LINE + GAP + rows * tall), PAPER)
    draw, large, small = ImageDraw.Draw(page), _font(18), _font(14)
    draw.text((GAP, GAP), _fitted(draw, title, width - 2 * GAP, large), INK, large)
    for number, cell in enumerate(cells):
        left = GAP + number % columns * (SIDE + GAP)
        top = 2 * GAP + LINE + number // columns * tall
        if cell.picture is None:
            draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), MAT)
        else:
            _put(page, cell.picture, left, top)
        for at, (text, ink) in enumerate(((cell.label, INK), (cell.line, QUIET))):
            draw.text((left, top + SIDE + 4 + at * LINE), _fitted(draw, text, SIDE, small), ink, small)
    out = io.BytesIO()
    page.save(out, "PNG")
    return out.getvalue()


def _put(page: Image.Image, data: bytes, left: int, top: int) -> None:
    with Image.open(io.BytesIO(data)) as image:
        scale = SIDE / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    page.paste(small, (left + (SIDE - size[0]) // 2, top + (SIDE - size[1]) // 2))


def _font(size: int) -> Font:
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)  # more alphabets than Pillow's own
    except OSError:
        return ImageFont.load_default(size)


def _fitted(draw: ImageDraw.ImageDraw, text: str, width: int, font: Font) -> str:
    """The text, its end replaced by … where it is wider than `width` px."""
    text = " ".join(text.split())
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"
