"""The pictures on the way to a finished one, side by side on one sheet. Imports no torch."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

MAX_FRAMES = 30  # pictures
SIDE = 256  # px, the longer side of each


def sprite_sheet(frames: Sequence[Path | io.BytesIO], max_frames: int = MAX_FRAMES, side: int = SIDE) -> bytes:
    """A WebP of at most `max_frames` frames, evenly chosen, first and last among them, row by row, all of one size."""
    count = min(len(frames), max_frames)
    chosen = [frames[round(i * (len(frames) - 1) / max(count - 1, 1))] for i in range(count)]
    columns = math.ceil(math.sqrt(count))
    sheet: Image.Image | None = None
    for i, path in enumerate(chosen):
        with Image.open(path) as image:
            scale = min(1.0, side / max(image.size))
            cell = image.convert("RGB").resize(
                (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.LANCZOS
            )
        if sheet is None:
            sheet = Image.new("RGB", (columns * cell.width, math.ceil(count / columns) * cell.height))
        sheet.paste(cell, (i % columns * cell.width, i // columns * cell.height))
    if sheet is None:
        raise ValueError("There are no pictures to put on a sheet.")
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=85, method=4)
    return buffer.getvalue()
