"""The pictures of a run that learns: sheets of samples, their film, and the last ones with their captions.

Sheets lie as numbered files in a folder, as the frames of a drawing do; their number stays bounded.
"""

from __future__ import annotations

import io
import re
import textwrap
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from generator.images.encode import encode, fitted, write_whole
from generator.output.animation import films
from generator.output.film import MAX_FRAMES, kept_steps

MIN_SIDE, MAX_SHEET = 128, 2048  # px: of one sample with its caption, and of the whole sheet
MAX_SAMPLES_BYTES = 1 << 30
_SHEET = re.compile(r"(\d{6,7})\.png")


class Samples:
    """The sheets of one run in a folder, by the steps they were drawn at. Raises OSError where it cannot be written."""

    def __init__(self, folder: Path, every: int) -> None:
        """every: steps between two sheets."""
        self.folder, self._every = folder / "frames", every

    def steps(self) -> list[int]:
        """The steps of which there are sheets, ascending."""
        found = [_SHEET.fullmatch(path.name) for path in self.folder.glob("*.png")]
        return sorted(int(match[1]) for match in found if match)

    def add(self, step: int, sheet: Image.Image) -> None:
        """The sheet drawn after this step; those of the same and later steps, of before a resume, go."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for later in (one for one in self.steps() if one >= step):
            self._path(later).unlink(missing_ok=True)
        write_whole(self._path(step), encode(sheet, "PNG", compress_level=6))
        steps = self.steps()
        if len(steps) > MAX_FRAMES:
            kept = {*kept_steps(self._every, step, MAX_FRAMES), step}
            for one in (one for one in steps if one not in kept):
                self._path(one).unlink(missing_ok=True)

    def sheets(self) -> Iterator[tuple[int, bytes]]:
        """Each as a PNG, with the step it was drawn at. Raises OSError."""
        for step in self.steps():
            yield step, self._path(step).read_bytes()

    def archive(self) -> bytes:
        """All of them as a zip, named by their steps; the same sheets are the same bytes."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:  # PNGs are compressed already
            for step in self.steps():
                file.writestr(zipfile.ZipInfo(self._path(step).name), self._path(step).read_bytes())
        return buffer.getvalue()

    def restore(self, archive: bytes, before: int) -> None:
        """Lay down the sheets up to this step out of `archive`, where they are not there. Raises ValueError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with zipfile.ZipFile(io.BytesIO(archive)) as file:
                sheets = [one for one in file.infolist() if _SHEET.fullmatch(one.filename)][: 2 * MAX_FRAMES]
                if sum(one.file_size for one in sheets) > MAX_SAMPLES_BYTES:
                    raise ValueError("its sheets are too large")
                for one in sheets:
                    path = self.folder / one.filename
                    if int(path.stem) <= before and not path.exists():
                        write_whole(path, file.read(one))
        except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise ValueError(f"this is no archive of samples: {error}") from None

    def film(self, without: Callable[[str, Exception], None], *, mp4: bool = True) -> dict[str, bytes]:
        """The film of learning by kind (webp, gif, mp4); without: told of a kind that cannot be made. {}: no sheets."""
        frames = [self._path(step) for step in self.steps()]
        return films(list(frames), self.folder.parent, without, mp4=mp4) if frames else {}

    def _path(self, step: int) -> Path:
        return self.folder / f"{step:06d}.png"


def captioned(samples: Sequence[Image.Image], captions: Sequence[str]) -> Image.Image:
    """The samples, each above its caption, in a sheet of at most MAX_SHEET px a side. Raises ValueError for none."""
    if not samples:
        raise ValueError("There is no sample to show.")
    columns = max(1, round(len(samples) ** 0.5 + 0.25))
    most = max(MIN_SIDE, MAX_SHEET // columns - 16)
    shown = [fitted(sample.convert("RGB"), MIN_SIDE, most) for sample in samples]
    width, height = max(one.width for one in shown), max(one.height for one in shown)
    size = max(12, min(22, width // 12))
    font, letters = ImageFont.load_default(size), max(10, int(width / (0.55 * size)))
    texts = [_wrapped(caption, letters) for caption in captions] + [""] * len(shown)
    words = (1 + max(text.count("\n") for text in texts)) * (size + 4) + 12
    rows = -(-len(shown) // columns)
    sheet = Image.new("RGB", (columns * (width + 16) + 16, rows * (height + words) + 16), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (sample, text) in enumerate(zip(shown, texts, strict=False)):
        x, y = 16 + place % columns * (width + 16), 16 + place // columns * (height + words)
        sheet.paste(sample, (x, y))
        draw.multiline_text((x, y + height + 4), text, fill=(30, 30, 30), font=font, spacing=4)
    return sheet


def _wrapped(caption: str, letters: int) -> str:
    return "\n".join(textwrap.wrap(caption, letters, max_lines=3, placeholder=" ..."))
