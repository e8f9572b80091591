"""What a run has measured, as files: its history as CSV, its curves as a PNG, its card as Markdown. No torch here."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from generator.images.encode import encode

MAX_ROWS = 4000  # of a history: beyond it two rows become one
COLUMNS = ("step", "seconds", "train", "validation", "steps_per_s", "memory", "learning_rate")
CURVES_SIZE = (1000, 560)  # px
_COLOURS = {"train": (40, 98, 178), "validation": (200, 80, 30)}


@dataclass(frozen=True)
class Row:
    """One stretch of a run. seconds: of the device, since the run began; memory: bytes at its peak; learning_rate: of
    its last step."""

    step: int
    seconds: float
    train: float | None = None
    validation: float | None = None
    steps_per_s: float | None = None
    memory: int | None = None
    learning_rate: float | None = None


@dataclass
class History:
    """The losses of a run, its stretches in order; their number stays bounded."""

    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """One more stretch; those of the same and later steps, of before a resume, go."""
        while self.rows and self.rows[-1].step >= row.step:
            self.rows.pop()
        self.rows.append(row)
        if len(self.rows) > MAX_ROWS:
            self.rows = list(_halved(self.rows))

    def best(self, name: str) -> Row | None:
        """The row with the lowest loss of that name; None where there is none."""
        measured = [row for row in self.rows if getattr(row, name) is not None]
        return min(measured, key=lambda row: float(getattr(row, name)), default=None)

    def csv(self) -> bytes:
        """With COLUMNS as its first line; what was not measured is empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([_cell(getattr(row, name)) for name in COLUMNS] for row in self.rows)
        return text.getvalue().encode()

    def plain(self) -> list[list[float | int | None]]:
        """Values for a saved state."""
        return [[getattr(row, name) for name in COLUMNS] for row in self.rows]

    @classmethod
    def of(cls, rows: Iterable[Sequence[Any]]) -> History:
        """From `plain`. Raises TypeError, ValueError."""
        return cls([Row(int(row[0]), float(row[1]), *row[2:]) for row in rows])


def _cell(value: float | int | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.6g}"


def _halved(rows: Sequence[Row]) -> Iterable[Row]:
    """Two neighbours as one, with the mean of their training losses; where validation was measured a row stays."""
    before: Row | None = None
    for row in rows:
        if before is not None and before.validation is None:
            losses = [one for one in (before.train, row.train) if one is not None]
            mean = sum(losses) / len(losses) if losses else None
            yield replace(row, train=mean)
            before = None
            continue
        if before is not None:
            yield before
        before = row
    if before is not None:
        yield before


def read_history(data: bytes) -> History:
    """A history from the CSV of `History.csv`. Raises ValueError."""
    rows = list(csv.reader(io.StringIO(data.decode())))
    if not rows or tuple(rows[0]) not in (COLUMNS, COLUMNS[:-1]):  # older ones know no learning rate
        raise ValueError("this is no history of a run")
    history = History()
    for row in rows[1:]:
        found = {name: float(cell) for name, cell in zip(COLUMNS, row, strict=False) if cell != ""}
        step, seconds, peak = int(found.pop("step", 0)), found.pop("seconds", 0.0), found.pop("memory", None)
        history.rows.append(Row(step, seconds, memory=None if peak is None else int(peak), **found))
    return history


def curves(history: History) -> bytes:
    """A PNG of the losses over the steps, on a logarithmic scale; a sentence where nothing was measured."""
    image = Image.new("RGB", CURVES_SIZE, "white")
    draw = ImageDraw.Draw(image)
    points = {
        name: [(row.step, float(value)) for row in history.rows if (value := getattr(row, name)) and value > 0]
        for name in _COLOURS
    }
    every = [value for some in points.values() for _, value in some if math.isfinite(value)]
    left, top, right, bottom = 80, 30, CURVES_SIZE[0] - 30, CURVES_SIZE[1] - 60
    if not every:
        draw.text((left, top), "No loss was measured.", fill="black", font=_font(18))
        return encode(image, "PNG")
    low, high = math.log10(min(every)), math.log10(max(every))
    low, high = (low - 0.05, high + 0.05) if high - low < 0.1 else (low, high)
    last = max(max((step for step, _ in some), default=1) for some in points.values()) or 1

    def at(step: float, value: float) -> tuple[float, float]:
        return left + (right - left) * step / last, bottom - (bottom - top) * (math.log10(value) - low) / (high - low)

    for part in range(5):
        value, step = 10 ** (low + (high - low) * part / 4), last * part / 4
        x, y = at(step, value)
        draw.line([(left, y), (right, y)], fill=(225, 225, 225))
        draw.text((left - 10, y), f"{value:.3g}", fill=(70, 70, 70), font=_font(16), anchor="rm")
        draw.text((x, bottom + 12), f"{step:,.0f}", fill=(70, 70, 70), font=_font(16), anchor="mt")
    draw.text(((left + right) / 2, CURVES_SIZE[1] - 12), "step", fill=(70, 70, 70), font=_font(16), anchor="mb")
    for place, (name, some) in enumerate(points.items()):
        line = [at(step, value) for step, value in some if math.isfinite(value)]
        if len(line) > 1:
            draw.line(line, fill=_COLOURS[name], width=2, joint="curve")
        for x, y in line if name == "validation" or len(line) == 1 else ():
            draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=_COLOURS[name])
        if line:
            draw.text((right, top + 24 * place), name, fill=_COLOURS[name], font=_font(18), anchor="ra")
    return encode(image, "PNG")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def card_in_words(card: Mapping[str, Any]) -> bytes:
    """The card of a model as Markdown, in the order of its own entries; texts are shown as they are, never as marks."""
    lines = [f"# {card['name']}", ""]
    for name, value in card.items():
        if name == "name" or value is None:
            continue
        title = name.replace("_", " ").capitalize()
        if isinstance(value, Mapping):
            told = "\n".join(f"- {key}: {_plain(inner)}" for key, inner in value.items() if inner is not None)
        elif isinstance(value, list | tuple):
            told = "\n".join(f"- {_plain(inner)}" for inner in value)
        else:
            told = _plain(value)
        lines += [f"## {title}", "", told or "none", ""]
    return "\n".join(lines).encode()


def _plain(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>#|!" else sign for sign in " ".join(text.split()))
