"""Captioned pictures made here: plain colours, each with its name, in memory and as a folder."""

from __future__ import annotations

import io
import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from generator.learning.stream.samples import Sample, Split, is_validation

COLOURS = ("red", "green", "blue", "yellow", "white", "black", "purple", "orange")


def picture(name: str, side: int = 20) -> bytes:
    """A PNG of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), name).save(file, "PNG")
    return file.getvalue()


class Colours:
    """A stream of so many pictures; `broken` ids are no pictures."""

    def __init__(self, count: int = 24, share: float = 0.2, broken: frozenset[str] = frozenset()) -> None:
        names = [COLOURS[n % len(COLOURS)] for n in range(count)]
        self.name, self.length = "colours", count
        self.closed = False
        self.read: list[str] = []
        made = [Sample(f"{n}.png", f"a {name} square", picture(name)) for n, name in enumerate(names)]
        made = [Sample(one.id, one.caption, b"no picture" if one.id in broken else one.image) for one in made]
        self._split = {"train": [s for s in made if not is_validation(s.id, share)]}
        self._split["validation"] = [s for s in made if is_validation(s.id, share)]

    def samples(self, split: Split, *, start: int = 0, seed: int = 0) -> Iterator[Sample]:
        rows = self._split[split]
        if split == "validation" or not rows:
            yield from rows[start:]
            return
        for epoch in itertools.count():
            order = list(rows)
            random.Random(f"{seed} {epoch}").shuffle(order)
            for place, sample in enumerate(order):
                if epoch * len(rows) + place >= start:
                    self.read.append(sample.id)
                    yield sample

    def close(self) -> None:
        self.closed = True


def write_folder(folder: Path, count: int = 24) -> Path:
    """The same as files with metadata.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metadata.jsonl").open("w") as lines:
        for n in range(count):
            name = COLOURS[n % len(COLOURS)]
            (folder / f"{n}.png").write_bytes(picture(name))
            lines.write(json.dumps({"file_name": f"{n}.png", "text": f"a {name} square"}) + "\n")
    return folder
