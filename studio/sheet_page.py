"""A sheet as one HTML file with its pictures in it: for a phone, a printer, a mail; it fetches and runs nothing."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from generator.images.encode import data_uri
from studio.contact_sheet import Cell
from studio.grid import Grid

SIDE = 512  # px of a picture's longer side at most
_STYLE = Path(__file__).with_name("sheet_page.css")


@dataclass(frozen=True)
class Words:
    """What the file says in the language of whoever asked for it: the line under the title, and that at the end."""

    about: str = ""
    note: str = ""
    language: str = "en"


def as_page(title: str, cells: Sequence[Cell | None], grid: Grid | None, words: Words) -> bytes:
    """The file. cells: with a grid as many as it has places, row by row, None where there is no picture to be seen."""
    body = _table(cells, grid) if grid else _figures([cell for cell in cells if cell])
    page = (
        f'<!doctype html>\n<html lang="{escape(words.language)}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE.read_text()}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{_said(words.about)}{body}\n{_said(words.note)}</body>\n</html>\n"
    )
    return page.encode()


def _said(text: str) -> str:
    return f"<p>{escape(text)}</p>\n" if text else ""


def _table(cells: Sequence[Cell | None], grid: Grid) -> str:
    across = len(grid.columns)
    corner = f"{escape(grid.column_setting)} →<br>" if grid.column_setting else ""
    head = "".join(f'<th scope="col">{escape(value)}</th>' for value in grid.columns)
    lines = [f"<thead><tr><th>{corner}{escape(grid.row_setting)} ↓</th>{head}</tr></thead>", "<tbody>"]
    for row, value in enumerate(grid.rows):
        here = "".join(f"<td>{_figure(cell)}</td>" for cell in cells[row * across : (row + 1) * across])
        lines.append(f'<tr><th scope="row"><span>{escape(value)}</span></th>{here}</tr>')
    table = "\n".join([*lines, "</tbody>"])
    size = f"--across: {across}; --down: {len(grid.rows)}"
    return f'<div class="moved" tabindex="0"><table style="{size}">\n{table}\n</table></div>'


def _figures(cells: Sequence[Cell]) -> str:
    figures = "\n".join(_figure(cell, titled=True) for cell in cells)
    return f'<div class="figures">\n{figures}\n</div>'


def _figure(cell: Cell | None, titled: bool = False) -> str:
    if cell is None:
        return ""
    if cell.picture is None:
        shown, told = f'<div class="mat">{escape(cell.line)}</div>', ""
    else:
        shown = f'<img src="{_embedded(cell.picture)}" alt="{escape(cell.label)}">'
        told = " · ".join(f"<i>{escape(piece)}</i>" for piece in cell.line.split(" · "))
    name = f"<b>{escape(cell.label)}</b>" if titled else ""
    best = ' class="best"' if cell.best else ""
    return f"<figure{best}>{shown}<figcaption>{name}<span>{told}</span></figcaption></figure>"


def _embedded(picture: bytes) -> str:
    with Image.open(io.BytesIO(picture)) as image:
        small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=88, method=4)
    return data_uri(out.getvalue(), "image/webp")
