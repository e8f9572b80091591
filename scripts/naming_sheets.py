"""Sheets of numbered pictures without words, for people to say what they see: `python scripts/naming_sheets.py FOLDER`.

60 prompts, 30 phrases that are no caption and 30 concepts that training knows, are drawn from two seeds each with the
default engine and settings, and stand shuffled on four sheets. The key, which number shows which prompt, goes to
a file beside FOLDER, so that whoever is shown the folder does not see it. Needs the training data
(`python -m generator.training.data`), for the names of concepts.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from generator import generate  # noqa: E402
from generator.training import dataset  # noqa: E402
from generator.training.scores import FREE, prompts_of  # noqa: E402

CONCEPTS, SEEDS = 30, 2
ACROSS, DOWN, SIDE, LINE = 6, 5, 160, 18  # of a sheet; px


def prompts(data: Path) -> list[str]:
    """The phrases, and concepts evenly chosen among those that are held out in one style."""
    known = list(dict.fromkeys(prompt.text for prompt in prompts_of(dataset.load(data)) if prompt.row is not None))
    return [*FREE, *(known[number * len(known) // CONCEPTS] for number in range(CONCEPTS))]


def sheet(pictures: Sequence[tuple[int, Image.Image]], file: Path) -> None:
    """Pictures with their numbers below them."""
    page = Image.new("RGB", (ACROSS * (SIDE + 8), DOWN * (SIDE + LINE + 8)), "white")
    pen = ImageDraw.Draw(page)
    for place, (number, picture) in enumerate(pictures):
        left, top = place % ACROSS * (SIDE + 8) + 4, place // ACROSS * (SIDE + LINE + 8) + 4
        page.paste(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, top))
        pen.text((left + SIDE // 2 - 8, top + SIDE + 2), str(number), fill=(40, 40, 40), font_size=13)
    page.save(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for the sheets")
    parser.add_argument("--data", type=Path, default=Path("data/training"))
    parser.add_argument("--engine", default="vqgan-clip")
    parser.add_argument("--order", type=int, default=0, help="seed of the order on the sheets")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    drawn_in = folder.with_name(f"{folder.name} pictures")
    for new in (folder, drawn_in):
        new.mkdir(parents=True, exist_ok=True)
    asked = [(prompt, seed) for prompt in prompts(arguments.data) for seed in range(1, SEEDS + 1)]
    random.Random(arguments.order).shuffle(asked)
    for number, (prompt, seed) in enumerate(tqdm(asked, unit="picture"), start=1):
        if not (file := drawn_in / f"{number}.png").exists():
            generate(prompt, engine=arguments.engine, seed=seed).save(file)
    with folder.with_name(f"{folder.name} key.csv").open("w", newline="") as key:
        csv.writer(key).writerows([("number", "prompt", "seed"), *((n, *one) for n, one in enumerate(asked, start=1))])
    each = ACROSS * DOWN
    for first in range(0, len(asked), each):
        numbers = range(first + 1, min(first + each, len(asked)) + 1)
        pictures = [(number, Image.open(drawn_in / f"{number}.png")) for number in numbers]
        sheet(pictures, folder / f"sheet-{first // each + 1}.png")


if __name__ == "__main__":
    main()
