"""A sheet as one PNG or one GIF: labelled pictures or their films in rows, for a report or a chat."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from studio.grid import Grid

SIDE = 256  # px of a picture
GAP = 16
LINE = 22
INK, QUIET, PAPER, MAT, ACCENT = "#1a1a1a", "#5c5c5c", "#ffffff", "#ececec", "#0d6b5f"
MAX_COLUMNS = 8  # where the pictures stand in no grid
MAX_WIDTH, MIN_SIDE = 2400, 112  # px of a grid of many columns, and of its pictures
MAX_ROW_LABEL = 200  # px
LABEL_LINES = 4  # of a column's label
MAX_FRAMES = 60  # of a merged film
FRAME_MS, HOLD_MS = 100, 1500

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Place = tuple[int, int]


@dataclass(frozen=True)
class Cell:
    """One picture with what stands under it: what it is, then its score and time. picture: the bytes of an image
    or of a film; best: whether it is marked."""

    label: str
    line: str
    picture: bytes | None
    best: bool = False


def contact_sheet(title: str, cells: Sequence[Cell | None], columns: int, grid: Grid | None = None) -> bytes:
    """PNG of the cells, row by row, `columns` in a row; no time of day goes in.

    grid: its labels stand once at the top and at the left; there are as many cells as it has places then, None where
    there is nothing to be seen.
    """
    side = _side_of(grid) if grid else SIDE
    page, places = _grid(title, cells, grid, side) if grid else lay_out(title, _there(cells), columns)
    for cell, place in zip(cells, places, strict=True):
        if cell is not None and cell.picture is not None:
            with Image.open(io.BytesIO(cell.picture)) as image:
                page.paste(*_fitting(image.convert("RGB"), place, side))
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


def _grid(title: str, cells: Sequence[Cell | None], grid: Grid, side: int) -> tuple[Image.Image, list[Place]]:
    """As `lay_out`, for cells that stand in a grid."""
    across, small, large = len(grid.columns), _font(14), _font(18)
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    longest = max(draw.textlength(" ".join(text.split()), small) for text in (grid.row_setting, *grid.rows))
    labels = min(int(longest) + 1, MAX_ROW_LABEL)
    heads = [_lines(draw, value, side, small, LABEL_LINES) for value in grid.columns]
    # The columns' setting, then their values; the rows' setting stands beside the last line of these.
    head = (LINE if grid.column_setting else 0) + max(LINE, LINE * max(len(lines) for lines in heads))
    left, top, tall = GAP + labels + GAP, 2 * GAP + LINE + head, side + LINE + GAP // 2
    page = Image.new("RGB", (left + across * (side + GAP), top + len(grid.rows) * tall + GAP), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((GAP, GAP), _fitted(draw, title, page.width - 2 * GAP, large), INK, large)
    if grid.column_setting:
        draw.text((left, 2 * GAP + LINE), _fitted(draw, grid.column_setting, page.width - left, small), QUIET, small)
    draw.text((GAP, top - LINE), _fitted(draw, grid.row_setting, labels, small), QUIET, small)
    for column, lines in enumerate(heads):
        _write(draw, (left + column * (side + GAP), top - LINE * len(lines)), lines, small)
    for row, value in enumerate(grid.rows):
        _write(draw, (GAP, top + row * tall), _lines(draw, value, labels, small, max(side // LINE, 1)), small)
    places = [(left + n % across * (side + GAP), top + n // across * tall) for n in range(grid.cells)]
    for cell, (x, y) in zip(cells, places, strict=True):
        if cell is None or cell.picture is None:
            draw.rectangle((x, y, x + side - 1, y + side - 1), MAT)
        if cell is not None:
            if cell.best:
                draw.rectangle((x - 4, y - 4, x + side + 3, y + side + 3), outline=ACCENT, width=3)
            draw.text((x, y + side + 4), _fitted(draw, cell.line, side, small), ACCENT if cell.best else QUIET, small)
    return page, places


def _side_of(grid: Grid) -> int:
    """px of a picture, so that the whole grid is not too wide."""
    return max(MIN_SIDE, min(SIDE, (MAX_WIDTH - MAX_ROW_LABEL) // len(grid.columns) - GAP))


def _there(cells: Sequence[Cell | None]) -> list[Cell]:
    return [cell for cell in cells if cell is not None]


def merged_film(title: str, cells: Sequence[Cell | None], columns: int, grid: Grid | None = None) -> bytes:
    """An endless GIF in which the films of all cells run side by side, each from its first frame to its last.

    Longer films leave frames out and shorter ones hold theirs, so that all end together. cell.picture: a GIF. grid: as
    for `contact_sheet`.
    """
    count = len(_there(cells))
    side = SIDE if count <= 4 else SIDE * 3 // 4 if count <= 9 else SIDE // 2
    if grid:
        side = min(side, _side_of(grid))
    page, places = _grid(title, cells, grid, side) if grid else lay_out(title, _there(cells), columns, side)
    films = [
        _frames(cell.picture, place, side)
        for cell, place in zip(cells, places, strict=True)
        if cell is not None and cell.picture
    ]
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


def _lines(draw: ImageDraw.ImageDraw, text: str, width: int, font: Font, most: int) -> list[str]:
    """The text in at most so many lines, none wider than `width` px; what is too long for them ends with …"""
    lines: list[str] = []
    words = text.split()
    while words:
        count = next((n for n in range(len(words), 1, -1) if draw.textlength(" ".join(words[:n]), font) <= width), 1)
        if len(lines) == most - 1:
            count = len(words)
        lines.append(_fitted(draw, " ".join(words[:count]), width, font))
        words = words[count:]
    return lines


def _write(draw: ImageDraw.ImageDraw, place: Place, lines: Sequence[str], font: Font) -> None:
    for number, line in enumerate(lines):
        draw.text((place[0], place[1] + number * LINE), line, INK, font)
