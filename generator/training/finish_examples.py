"""Draw what the finisher learns to clean: `python -m generator.training.finish_examples --pictures 700`.

Pictures of the training set, blurred and with some codes disturbed as drafts are, from which VQGAN + CLIP goes on:
what it leaves of them is the finisher's input, the art itself what it should have been. What is drawn is kept every few
pictures, and a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tqdm import tqdm

from generator.engines.base import generate_all
from generator.engines.vqgan_clip import VqganClip
from generator.models.clip import load_mini as load_clip
from generator.models.vqgan import VQGAN
from generator.models.vqgan import load_mini as load_vqgan
from generator.params import validate
from generator.training import data
from generator.training.captions import plain, with_article
from generator.training.codes import concept_weight
from generator.training.patches import PatchCoder, load_or_fit
from generator.training.vqgan import disturb, neighbours_of

SEED, LEVELLING = 5, 0.7  # power of how often a thing is drawn
SETTINGS = {"init": "image", "init_weight": 16.0, "steps": 12, "learning_rate": 0.1, "cutn": 4, "finish": 0.0}
TOGETHER, KEEP_EVERY = 8, 50


def chosen(pictures: data.Pictures, count: int) -> np.ndarray:
    """The pictures to go on from, every style as often as any."""
    draw = np.random.default_rng(SEED)
    share = np.array([concept_weight(concept) for concept in pictures.concepts]) ** LEVELLING
    often = np.bincount(pictures.style[pictures.train], minlength=len(pictures.styles))
    weight = pictures.train * share[pictures.concept] / np.maximum(often[pictures.style], 1)
    return draw.choice(len(weight), count, p=weight / weight.sum())


def spoil(
    images: torch.Tensor, vqgan: VQGAN, coder: PatchCoder, neighbours: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """images (B, 3, R, R) in [0, 1] as drafts are: blurred, through codes of which some are near ones instead."""
    soft, again = torch.rand(2, len(images), 1, 1, 1, generator=generator)
    blurred = F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    blurred = torch.where(again < 0.5, F.avg_pool2d(blurred, 3, 1, 1, count_include_pad=False), blurred)
    codes = disturb(coder.codes(images.lerp(blurred, soft)), neighbours, generator)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return vqgan.decode(vqgan.codes_to_z(codes)).float().clamp(0, 1)


def draw_examples(
    vqgan: Any, clips: list[Any], pictures: data.Pictures, coder: PatchCoder, count: int, output: Path
) -> None:
    """Write images (count, 3, H, W) uint8 and the rows of the pictures they came from (count,); goes on from what is
    there."""
    kept: dict[str, torch.Tensor] = torch.load(output, weights_only=True) if output.is_file() else {}
    images = list(kept.get("images", ()))
    rows, neighbours = chosen(pictures, count), neighbours_of(coder.codebook)

    def spoiled(number: str) -> Image.Image:
        rgba = torch.from_numpy(pictures.rgba[rows[int(number)]])[None]
        generator = torch.Generator().manual_seed(int(number))
        made = spoil(data.composite(rgba, torch.ones(1, 3)), vqgan, coder, neighbours, generator)[0]
        return Image.fromarray((made.permute(1, 2, 0) * 255).round().byte().numpy())

    engine: Any = VqganClip(vqgan, clips, read_image=spoiled)
    names = [with_article(plain(concept["label"])) for concept in pictures.concepts]
    waiting = [
        validate(
            VqganClip.name,
            {"prompt": names[pictures.concept[row]], "seed": n, "init_image": str(n), "save_every": 1000, **SETTINGS},
        )
        for n, row in enumerate(rows)
    ][len(images) :]
    early: dict[int, torch.Tensor] = {}
    begun = len(images)
    for number, image in tqdm(generate_all(engine, waiting, TOGETHER), total=len(waiting), unit="picture"):
        early[number] = (image * 255).round().byte()
        while len(images) - begun in early:
            images.append(early.pop(len(images) - begun))
            if len(images) % KEEP_EVERY == 0 or len(images) == count:
                output.parent.mkdir(parents=True, exist_ok=True)
                made = {"images": torch.stack(images), "rows": torch.from_numpy(rows[: len(images)])}
                torch.save(made, output.with_suffix(".part"))
                output.with_suffix(".part").replace(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/training"))
    parser.add_argument("--pictures", type=int, default=700)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pictures, folder = data.load(arguments.data), arguments.data / "runs"
    coder = load_or_fit(pictures, folder / "patches.pt")
    draw_examples(load_vqgan(), [load_clip()], pictures, coder, arguments.pictures, folder / "finish-examples.pt")


if __name__ == "__main__":
    main()
