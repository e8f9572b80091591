"""Draw what the finisher learns to clean: `python -m generator.training.finish_examples --pictures 700`.

Pictures of the training set, blurred and with some codes disturbed as drafts are, from which VQGAN + CLIP goes on:
what it leaves of them is the finisher's input, the art itself what it should have been. What is drawn is kept every few
pictures, and a run that was stopped goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from generator.engines.base import generate_all
from generator.engines.vqgan_clip import VqganClip
from generator.models.clip import load_mini as load_clip
from generator.models.vqgan import load_mini as load_vqgan
from generator.params import validate
from generator.training import dataset
from generator.training.captions import plain, with_article
from generator.training.codes import concept_weight
from generator.training.command_line import command_line, flag
from generator.training.degradation import neighbours_of, spoil
from generator.training.patches import PatchCoder, load_or_fit

LEVELLING = 0.7  # power of how often a thing is drawn
SETTINGS = {"init": "image", "init_weight": 16.0, "learning_rate": 0.1, "finish": 0.0, "save_every": 1000}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How examples are drawn: VQGAN + CLIP's `steps` and `cutn`, and how many pictures are drawn together."""

    pictures: int = field(default=700, metadata=flag("to draw in all"))
    steps: int = 12
    cutn: int = 4
    together: int = 8
    keep_every: int = 50
    seed: int = 5


def chosen(pictures: dataset.Pictures, count: int, seed: int) -> np.ndarray:
    """The pictures to go on from, every style as often as any."""
    draw = np.random.default_rng(seed)
    share = np.array([concept_weight(concept) for concept in pictures.concepts]) ** LEVELLING
    often = np.bincount(pictures.style[pictures.train], minlength=len(pictures.styles))
    weight = pictures.train * share[pictures.concept] / np.maximum(often[pictures.style], 1)
    return draw.choice(len(weight), count, p=weight / weight.sum())


def draw_examples(
    recipe: Recipe,
    pictures: dataset.Pictures,
    coder: PatchCoder,
    *,
    vqgan: Any,
    clips: list[Any],
    output: Path,
) -> None:
    """Write images (N, 3, H, W) uint8 and the rows of the pictures they came from (N,); goes on from what is there."""
    count = recipe.pictures
    kept: dict[str, torch.Tensor] = torch.load(output, weights_only=True) if output.is_file() else {}
    images = list(kept.get("images", ()))
    rows, neighbours = chosen(pictures, count, recipe.seed), neighbours_of(coder.codebook)

    def spoiled(number: str) -> Image.Image:
        rgba = torch.from_numpy(pictures.rgba[rows[int(number)]])[None]
        generator = torch.Generator().manual_seed(int(number))
        made = spoil(dataset.composite(rgba, torch.ones(1, 3)), vqgan, coder, neighbours, generator)[0]
        return Image.fromarray((made.permute(1, 2, 0) * 255).round().byte().numpy())

    engine: Any = VqganClip(vqgan, clips, read_image=spoiled)
    names = [with_article(plain(concept["label"])) for concept in pictures.concepts]
    settings = {**SETTINGS, "steps": recipe.steps, "cutn": recipe.cutn}
    waiting = [
        validate(
            VqganClip.name,
            {"prompt": names[pictures.concept[row]], "seed": n, "init_image": str(n), **settings},
        )
        for n, row in enumerate(rows)
    ][len(images) :]
    early: dict[int, torch.Tensor] = {}
    begun = len(images)
    for number, image in tqdm(generate_all(engine, waiting, recipe.together), total=len(waiting), unit="picture"):
        early[number] = (image * 255).round().byte()
        while len(images) - begun in early:
            images.append(early.pop(len(images) - begun))
            if len(images) % recipe.keep_every == 0 or len(images) == count:
                output.parent.mkdir(parents=True, exist_ok=True)
                made = {"images": torch.stack(images), "rows": torch.from_numpy(rows[: len(images)])}
                torch.save(made, output.with_suffix(".part"))
                output.with_suffix(".part").replace(output)


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe(), exports=False)
    torch.set_num_threads(1)
    pictures = dataset.load(folders.data)
    coder, output = load_or_fit(pictures, folders.shared / "patches.pt"), folders.run / "finish-examples.pt"
    draw_examples(recipe, pictures, coder, vqgan=load_vqgan(), clips=[load_clip()], output=output)


if __name__ == "__main__":
    main()
