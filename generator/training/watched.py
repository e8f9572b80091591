"""A run of one's own as files: its losses as CSV, and their curves."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from PIL import Image, ImageDraw

from generator.learning.runs import Progress

COLUMNS = ("step", "train", "validation", "steps_per_s", "memory_bytes", "learning_rate")
COLOURS = {"train": (30, 90, 200), "validation": (220, 90, 20)}
WIDTH, HEIGHT, EDGE = 800, 400, 48  # px


class History:
    """A row for each stretch. What was written after `step` is of a run that was cut off, and is made again."""

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        self.rows: list[dict[str, str]] = []
        if path.is_file():
            with path.open(newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)

    def add(self, progress: Progress) -> None:
        """A row, written at once."""
        if not progress.losses:
            return
        found: dict[str, float | int | None] = {
            "step": progress.step, **progress.losses, "steps_per_s": progress.steps_per_s,
            "memory_bytes": progress.memory, "learning_rate": progress.learning_rate,
        }  # fmt: skip
        row = {name: "" if found.get(name) is None else f"{found[name]:.9g}" for name in COLUMNS[1:]}
        self.rows.append({"step": str(progress.step), **row})
        with self._path.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow(self.rows[-1])

    def curves(self, path: Path) -> None:
        """Both losses over the steps, on a logarithmic scale, as a PNG."""
        lines = {
            name: [(int(row["step"]), float(row[name])) for row in self.rows if row[name] and float(row[name]) > 0]
            for name in COLOURS
        }
        every = [point for line in lines.values() for point in line]
        if not every:
            return
        first, last = min(step for step, _ in every), max(step for step, _ in every)
        low, high = (math.log(choose(loss for _, loss in every)) for choose in (min, max))
        picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
        draw = ImageDraw.Draw(picture)
        draw.rectangle((EDGE, EDGE, WIDTH - EDGE, HEIGHT - EDGE), outline=(200, 200, 200))
        for number, (name, line) in enumerate(lines.items()):
            points = [
                (
                    EDGE + (WIDTH - 2 * EDGE) * (step - first) / max(1, last - first),
                    EDGE + (HEIGHT - 2 * EDGE) * (high - math.log(loss)) / (high - low or 1),
                )
                for step, loss in line
            ]
            if len(points) > 1:
                draw.line(points, fill=COLOURS[name], width=2)
            elif points:
                draw.circle(points[0], 2, fill=COLOURS[name])
            if line:
                draw.text((EDGE + 260 * number, 16), f"{name}: {line[-1][1]:.4g}", fill=COLOURS[name])
        draw.text((EDGE, HEIGHT - 32), f"step {first} to {last}", fill="black")
        draw.text((4, EDGE), f"{math.exp(high):.3g}", fill="black")
        draw.text((4, HEIGHT - EDGE - 10), f"{math.exp(low):.3g}", fill="black")
        picture.save(path)
