"""Train the finisher, a drawn picture to the art it is of: `python -m generator.training.finish --minutes 34`.

It learns to give art back: that which `finish_examples` let VQGAN + CLIP go on from, and more of it as codes leave it.
The loss is the difference of pixels and of what the embedded CLIP's first layers see in them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from generator.models.clip import ClipModel, load_mini
from generator.models.efficientnet import same
from generator.models.finisher import Finisher
from generator.models.packing import pack
from generator.models.vqgan import VQModel
from generator.models.vqgan import load_mini as load_vqgan
from generator.training import dataset
from generator.training.codes import STYLE_WEIGHTS, concept_weight
from generator.training.command_line import command_line
from generator.training.degradation import neighbours_of, spoil
from generator.training.patches import PatchCoder, load_or_fit
from generator.training.reconstruction import psnr
from generator.training.run import Average, Budget, schedule, sheet, train, write

ANY = 0.1  # share that is given back without its style
PERCEPTUAL, LAYERS = 0.6, (0, 2, 4)  # weight of what CLIP sees, and after which blocks


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the finisher is trained, on `drawn` examples and `spoiled` pictures a batch; `deep` is the width at half
    size."""

    budget: Budget = field(default=Budget(minutes=34))
    width: int = 48
    deep: int = 96
    blocks: int = 2
    cond_width: int = 64
    drawn: int = 12
    spoiled: int = 8
    rate: float = 6e-4
    seed: int = 0


def seen(clip: ClipModel, images: torch.Tensor) -> list[torch.Tensor]:
    """What the first layers of the embedded CLIP see in images (B, 3, H, W) in [0, 1]."""
    tower, maps = clip.network.visual, []
    images = F.interpolate(images, (clip.resolution,) * 2, mode="bilinear")
    images = (images - clip.mean) / clip.std * tower.scale + tower.shift
    x = F.relu6(same(tower.stem, images.contiguous(memory_format=torch.channels_last)))
    for number, block in enumerate(tower.blocks[: LAYERS[-1] + 1]):
        x = block(x)
        if number in LAYERS:
            maps.append(x.float())
    return maps


def perceptual_loss(clip: ClipModel, made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """How differently they look, about 1 for pictures that have nothing in common."""
    with torch.no_grad():
        known = seen(clip, wanted)
    gaps = [
        (m - k).abs().mean() / (k - k.mean((2, 3), True)).abs().mean()
        for m, k in zip(seen(clip, made), known, strict=True)
    ]
    return torch.stack(gaps).mean()


def run(
    recipe: Recipe,
    pictures: dataset.Pictures,
    coder: PatchCoder,
    *,
    clip: ClipModel,
    vqgan: VQModel,
    folder: Path,
    output: Path | None = None,
    show_on: Callable[[Finisher, Path], None] | None = None,
) -> Finisher:
    """Train, or go on with, one finisher; the examples are read from `folder` again and again, as they grow."""
    torch.manual_seed(recipe.seed)
    names = [style for style in STYLE_WEIGHTS if style in pictures.styles]
    shape = {"width": recipe.width, "deep": recipe.deep, "blocks": recipe.blocks, "told": recipe.cond_width}
    config = {"styles": names, **shape}
    finisher = Finisher(config)
    average = Average(finisher, 0.998)
    optimiser = torch.optim.AdamW(finisher.parameters(), lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.01)
    number_of = np.array([names.index(style) if style in names else len(names) for style in pictures.styles])
    wanted_often = np.array([concept_weight(concept) for concept in pictures.concepts])
    rows = np.flatnonzero(pictures.train & (wanted_often[pictures.concept] > 0))
    neighbours = neighbours_of(coder.codebook)
    clip.network.visual.to(memory_format=torch.channels_last)
    drawn: dict[str, torch.Tensor] = {}

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * schedule(progress)
        if number % 200 == 0 or not drawn:
            drawn.update(torch.load(folder / "finish-examples.pt", weights_only=True))
        pick = torch.randint(len(drawn["images"]), (recipe.drawn,), generator=generator)
        more = torch.from_numpy(rows)[torch.randint(len(rows), (recipe.spoiled,), generator=generator)]
        chosen = torch.cat([drawn["rows"][pick], more]).numpy()
        wanted = dataset.composite(torch.from_numpy(pictures.rgba[chosen]), torch.ones(len(chosen), 3))
        worse = torch.cat(
            [drawn["images"][pick].float() / 255, spoil(wanted[recipe.drawn :], vqgan, coder, neighbours, generator)]
        )
        if torch.rand((), generator=generator) < 0.5:
            wanted, worse = wanted.flip(3), worse.flip(3)
        style = torch.from_numpy(number_of[pictures.style[chosen]])
        cond = torch.where(torch.rand(len(style), generator=generator) < ANY, len(names), style)
        with torch.autocast("cpu", torch.bfloat16):
            made = finisher(worse, cond)
            perceptual = perceptual_loss(clip, made, wanted)
        near = (made - wanted).abs().mean()
        optimiser.zero_grad(set_to_none=True)
        (10 * near + PERCEPTUAL * perceptual).backward()
        nn.utils.clip_grad_norm_(finisher.parameters(), 1.0)
        optimiser.step()
        average.update()
        was = (worse - wanted).abs().mean()
        named = (("near", near), ("was", was), ("perceptual", perceptual))
        return {name: float(value.detach()) for name, value in named}

    def report(number: int) -> None:
        averaged = Finisher(config)
        averaged.load_state_dict(average.values)
        averaged.eval()
        notes: dict[str, Any] = {
            "steps": number,
            "samples": number * (recipe.drawn + recipe.spoiled),
            "examples": len(drawn["images"]),
        }
        unseen = np.flatnonzero(pictures.unseen_concept)
        if len(unseen):
            wanted = dataset.composite(torch.from_numpy(pictures.rgba[unseen]), torch.ones(len(unseen), 3))
            worse = spoil(wanted, vqgan, coder, neighbours, torch.Generator().manual_seed(1))
            style = torch.from_numpy(number_of[pictures.style[unseen]])
            with torch.no_grad():
                made = torch.cat([averaged(*part) for part in zip(worse.split(64), style.split(64), strict=True)])
                for name, shown in (("_before", worse), ("", made)):
                    perceptual = perceptual_loss(clip, shown[:128], wanted[:128])
                    notes[f"psnr_unseen{name}"] = psnr(shown, wanted)
                    notes[f"perceptual_unseen{name}"] = round(float(perceptual), 3)
        print("finish", notes, flush=True)
        if output is not None:
            write(output, "mini-finish", pack(average.values), {**config, "notes": notes})
        if show_on is not None:
            show_on(averaged, folder / "finish-sheet.png")

    state: dict[str, Any] = {"finisher": finisher, "average": average, "optimiser": optimiser}

    train(
        step,
        state,
        name="finish",
        folder=folder,
        budget=recipe.budget,
        seed=recipe.seed,
        report=report,
        report_minutes=4,
    )
    return finisher


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe())
    torch.set_num_threads(1)
    folder, pictures = folders.run, dataset.load(folders.data)

    def show_on(finisher: Finisher, path: Path) -> None:
        drawn = torch.load(folder / "finish-examples.pt", weights_only=True)
        images, rows = drawn["images"][:24].float() / 255, drawn["rows"][:24].numpy()
        style = torch.tensor([finisher.style_index(pictures.styles[number]) for number in pictures.style[rows]])
        with torch.no_grad():
            made = finisher(images, style)
        sheet([images, made, dataset.composite(torch.from_numpy(pictures.rgba[rows]), torch.ones(len(rows), 3))], path)

    run(
        recipe,
        pictures,
        load_or_fit(pictures, folders.shared / "patches.pt"),
        clip=load_mini(),
        vqgan=load_vqgan(),
        folder=folder,
        output=folders.output,
        show_on=show_on,
    )


if __name__ == "__main__":
    main()
