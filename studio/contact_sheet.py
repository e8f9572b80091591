"""A sheet as one PNG or one GIF: labelled pictures or their films in rows, for a report or a chat."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

SIDE = 256  # px of a picture
GAP = 16
LINE = 22
INK, QUIET, PAPER, MAT = "#1a1a1a", "#5c5c5c", "#ffffff", "#ececec"
MAX_COLUMNS = 8
MAX_FRAMES = 60  # of a merged film
FRAME_MS, HOLD_MS = 100, 1500

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Place = tuple[int, int]


@dataclass(frozen=True)
class Cell:
    """One picture with what stands under it: what it is, then its score and time. picture: the bytes of an image
    or of a film."""

    label: str
    line: str
    picture: bytes | None


def contact_sheet(title: str, cells: Sequence[Cell], columns: int) -> bytes:
    """PNG of the cells, row by row, `columns` in a row; no time of day goes in."""
    page, places = lay_out(title, cells, columns)
    for cell, place in zip(cells, places, strict=True):
        if cell.picture is not None:
            with Image.open(io.BytesIO(cell.picture)) as image:
                page.paste(*_fitting(image.convert("RGB"), place, SIDE))
    out = io.BytesIO()
    page.save(out, "PNG")
    return out.getvalue()


def lay_out(title: str, cells: Sequence[Cell], columns: int, side: int = SIDE) -> tuple[Image.Image, list[Place]]:
    """The page with all its words and a mat where there is no picture, and each picture's left upper corner in px."""
    columns = max(1, min(columns, MAX_COLUMNS, len(cells)))
    rows = -(-len(cells) // columns)
    width = GAP + columns * (side + GAP)
    tall = side + 2 * LINE + GAP
    page = Image.new("RGB", (width, GAP + LINE + GAP + rows * tall), PAPER)
    draw, large, small = ImageDraw.Draw(page), _font(18), _font(14)
    draw.text((GAP, GAP), _fitted(draw, title, width - 2 * GAP, large), INK, large)
    places = []
    for number, cell in enumerate(cells):
        left = GAP + number % columns * (side + GAP)
        top = 2 * GAP + LINE + number // columns * tall
        places.append((left, top))
        if cell.picture is None:
            draw.rectangle((left, top, left + side - 1, top + side - 1), MAT)
        for at, (text, ink) in enumerate(((cell.label, INK), (cell.line, QUIET))):
            draw.text((left, top + side + 4 + at * LINE), _fitted(draw, text, side, small), ink, small)
    return page, places


def merged_film(title: str, cells: Sequence[Cell], columns: int) -> bytes:
    """An endless GIF in which the films of all cells run side by side, each from its first frame to its last.

    Longer films leave frames out and shorter ones hold theirs, so that all end together. cell.picture: a GIF.
    """
    side = SIDE if len(cells) <= 4 else SIDE * 3 // 4 if len(cells) <= 9 else SIDE // 2
    page, places = lay_out(title, cells, columns, side)
    films = [_frames(cell.picture, place, side) for cell, place in zip(cells, places, strict=True) if cell.picture]
    count = max((len(film) for film in films), default=1)
    pages = []
    for number in range(count):
        for film in films:
            page.paste(*film[round(number * (len(film) - 1) / max(count - 1, 1))])
        pages.append(page.quantize(256, Image.Quantize.FASTOCTREE))
    out = io.BytesIO()
    durations = [FRAME_MS] * (count - 1) + [HOLD_MS]
    pages[0].save(out, "GIF", save_all=True, append_images=pages[1:], duration=durations, loop=0, disposal=1)
    return out.getvalue()


def _frames(data: bytes, place: Place, side: int) -> list[tuple[Image.Image, Place]]:
    """At most MAX_FRAMES of a GIF's frames, first and last among them, and where each goes."""
    with Image.open(io.BytesIO(data)) as film:
        there = getattr(film, "n_frames", 1)
        count = min(there, MAX_FRAMES)
        made = []
        for number in range(count):
            film.seek(round(number * (there - 1) / max(count - 1, 1)))
            made.append(_fitting(film.convert("RGB"), place, side))
    return made


def _fitting(image: Image.Image, place: Place, side: int) -> tuple[Image.Image, Place]:
    """The picture as large as its square allows, and where to put it so that it lies in the middle."""
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.LANCZOS)
    return small, (place[0] + (side - size[0]) // 2, place[1] + (side - size[1]) // 2)


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
