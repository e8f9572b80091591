"""A sheet of scenes as they are composed for training: `python -m generator.training.scene_sheet FILE`."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

from generator.images.encode import to_image
from generator.training import dataset
from generator.training.scenes import Art, example


def sheet(art: Art, count: int, side: int, first: int, output: Path) -> None:
    """Examples with their captions, eight in a row."""
    across, line = 8, 28
    down = -(-count // across)
    page = Image.new("RGB", (across * (side + 8), down * (side + line + 8)), "white")
    pen = ImageDraw.Draw(page)
    for at in range(count):
        drawn, words, style = example(first + at, art, side)
        left, top = at % across * (side + 8) + 4, at // across * (side + line + 8) + 4
        page.paste(to_image(drawn), (left, top))
        half = len(words) // 2 if len(words) > 24 else len(words)
        half = words.find(" ", half) if words.find(" ", half) > 0 else len(words)
        pen.text(
            (left, top + side + 1), f"{words[:half]}\n{words[half + 1 :]} ({style})", fill=(60, 60, 60), font_size=9
        )
    page.save(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the sheet of examples to write, a PNG file")
    parser.add_argument("--data", type=Path, default=Path("data/training"))
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--first", type=int, default=0, help="number of the first example")
    parser.add_argument("--side", type=int, default=128, help="of each, in px")
    arguments = parser.parse_args()
    sheet(Art.of(dataset.load(arguments.data)), arguments.count, arguments.side, arguments.first, arguments.output)


if __name__ == "__main__":
    main()
