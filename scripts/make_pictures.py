"""Draws the README's strip, docs/pictures.png: one row a seed, one column a prompt, default settings, nothing picked.

python scripts/make_pictures.py --prompts "a red heart|a cat|a banana" --seeds 1 2
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from generator import registry  # noqa: E402
from generator.device import Host, pick_device  # noqa: E402
from generator.engines import loading  # noqa: E402
from generator.images.decode import decode_image  # noqa: E402
from generator.images.encode import to_image  # noqa: E402
from generator.params import validate  # noqa: E402
from generator.upscaler.model import upscale  # noqa: E402

PROMPTS = (
    "a red heart|a smiling face with sunglasses|a green tree|a banana|a blue car|a slice of pizza|a house|a dog|"
    "a rocket|a cat|a robot|a fish|a crown|a penguin|a strawberry|a frog|a light bulb|a soccer ball"
)
CELL, CAPTION, GAP = 128, 30, 6  # px


def draw(prompts: list[str], seeds: list[int], style: str | None, device: str) -> list[list[Image.Image]]:
    """One list of pictures a seed, drawn side by side in one batch."""
    settings = [
        [validate("vqgan-clip", {"prompt": prompt, "seed": seed, "style": style}) for prompt in prompts]
        for seed in seeds
    ]
    first = settings[0][0]
    host = Host(device, Path("data/checkpoints"), lambda path: decode_image(Path(path).read_bytes()))
    engine: Any = loading.load("vqgan-clip", first.checkpoint, first.clip, host)
    pictures = []
    for number, row in enumerate(settings):
        started = time.perf_counter()
        slots = [engine.open(params) for params in row]
        last: list[Any] = [None] * len(slots)
        while waiting := [i for i, slot in enumerate(slots) if not slot.done]:
            for i, step in zip(waiting, engine.advance([slots[i] for i in waiting]), strict=True):
                if step.error:
                    raise step.error
                last[i] = step.image if step.image is not None else last[i]
        drawn = [to_image(image) for image in last]
        pictures.append([upscale(image, first.upscale) if first.upscale > 1 else image for image in drawn])
        seconds = time.perf_counter() - started
        print(f"seed {seeds[number]}: {len(row)} pictures in {seconds:.1f} s", flush=True)
    return pictures


def sheet(prompts: list[str], rows: list[list[Image.Image]]) -> Image.Image:
    """The pictures scaled to CELL px, prompts above them."""
    width = len(prompts) * (CELL + GAP) + GAP
    page = Image.new("RGB", (width, CAPTION + len(rows) * (CELL + GAP) + GAP), "white")
    pen = ImageDraw.Draw(page)
    for column, prompt in enumerate(prompts):
        left = GAP + column * (CELL + GAP)
        pen.text((left + CELL / 2, CAPTION / 2), _wrapped(prompt), fill="#444444", anchor="mm", align="center")
        for line, row in enumerate(rows):
            cell = row[column].resize((CELL, CELL), Image.Resampling.BICUBIC)
            page.paste(cell, (left, CAPTION + line * (CELL + GAP)))
    return page


def _wrapped(text: str, most: int = 20) -> str:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= most:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", default=PROMPTS, help="separated by |")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--style", default=None, help=f"one of {', '.join(registry.STYLES)}; default: any")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "pictures.png")
    args = parser.parse_args()
    prompts = [prompt.strip() for prompt in args.prompts.split("|")]
    rows = draw(prompts, args.seeds, args.style, pick_device(args.device))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    sheet(prompts, rows).save(args.output, optimize=True)
    print(args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
