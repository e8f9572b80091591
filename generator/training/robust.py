"""Teach a copy of the embedded CLIP to guide from nothing: `python -m generator.training.robust --minutes 65`.

A network that only learnt to name pictures is easily led by patterns nobody sees, and what is optimised against it
fills with them. Here its image tower is trained on from the shipped weights on the pictures that mislead it most within
a small distance of real ones (adversarial training, Madry et al. 2018, arXiv:1706.06083; one step of a random start,
Wong et al. 2020, arXiv:2001.03994). Its gradients then draw what people recognise (Santurkar et al. 2019,
arXiv:1906.09453; for CLIP, Ganz and Elad 2023, arXiv:2306.16805). The text side stays as it is and is shared
with the first.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn

from generator.models.clip import WEIGHTS, load_mini
from generator.models.packing import pack
from generator.training import dataset
from generator.training.command_line import command_line
from generator.training.image_tower import ImageTower
from generator.training.run import Average, Budget, schedule, train, write
from generator.training.zero_shot import STYLE_SHARE, Texts, augment, name_loss, score, texts_of

EASY = 0.2  # share of the run with half of the reach


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the tower is taught; `reach` is the greatest Euclidean distance to the real picture, at 64 px and channels in
    [0, 1]."""

    budget: Budget = field(default=Budget(minutes=65))
    reach: float = 4.0
    batch: int = 64
    rate: float = 3e-4
    seed: int = 0


def misleading(
    images: torch.Tensor,
    loss: Callable[[torch.Tensor], torch.Tensor],
    reach: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Pictures near `images` (B, 3, R, R) in [0, 1], at most `reach` (B,) off, where `loss` is greater: one step up its
    gradient from a random place on the way."""
    far = reach.view(-1, 1, 1, 1)
    away = torch.randn(images.shape, generator=generator)
    away = 0.5 * far * away / away.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    near = (images + away).requires_grad_(True)
    (up,) = torch.autograd.grad(loss(near), near)
    away = away + far * up / up.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)
    away = away * (far / away.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)).clamp(max=1.0)
    misleading: torch.Tensor = (images + away).clamp(0, 1).detach()
    return misleading


def run(
    recipe: Recipe,
    pictures: dataset.Pictures,
    vectors: dict[str, torch.Tensor],
    *,
    tower: ImageTower,
    folder: Path,
    export: Callable[[dict[str, torch.Tensor], dict[str, Any]], None] | None = None,
) -> ImageTower:
    """Train `tower`, or go on with it, against the `vectors` of `texts_of`; `export` takes weights and figures."""
    torch.manual_seed(recipe.seed)
    texts, rows = Texts(pictures, vectors), np.flatnonzero(pictures.train)
    tower.text_head.requires_grad_(False)
    average = Average(tower, 0.998)
    taught = [parameter for parameter in tower.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(taught, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.02, fused=True)

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * schedule(progress)
        drawn = rows[torch.randint(len(rows), (recipe.batch,), generator=generator).numpy()]
        concept, style = torch.from_numpy(pictures.concept[drawn]), torch.from_numpy(pictures.style[drawn])
        images = augment(pictures, drawn, generator)

        def losses(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            with torch.autocast("cpu", torch.bfloat16):
                seen = tower(images)
            again = torch.Generator().manual_seed(number)  # the texts that the step up was taken against
            return name_loss(seen, texts, concept, style, tower, again)

        tower.requires_grad_(False)
        far = recipe.reach * (0.5 if progress < EASY else 1.0) * torch.rand(recipe.batch, generator=generator)
        images = misleading(images, lambda near: losses(near)[0], far, generator)
        for parameter in taught:
            parameter.requires_grad_(True)
        named, of_style = losses(images)
        optimiser.zero_grad(set_to_none=True)
        (named + STYLE_SHARE * of_style).backward()
        nn.utils.clip_grad_norm_(taught, 1.0)
        optimiser.step()
        average.update()
        return {"named": float(named.detach()), "style": float(of_style.detach())}

    def report(number: int) -> None:
        averaged = copy.deepcopy(tower)
        averaged.load_state_dict(average.values)
        notes = {"steps": number, "samples": number * recipe.batch, **score(averaged, pictures, texts)}
        print("robust", notes, flush=True)
        if export is not None:
            export(average.values, notes)

    parts: dict[str, Any] = {"tower": tower, "average": average, "optimiser": optimiser}
    train(
        step,
        parts,
        name="robust",
        folder=folder,
        budget=recipe.budget,
        seed=recipe.seed,
        report=report,
        report_minutes=6,
    )
    return tower


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe())
    torch.set_num_threads(1)
    pictures, clip = dataset.load(folders.data), load_mini()
    everything = texts_of(pictures)
    with torch.no_grad():
        parts = [everything[start : start + 256] for start in range(0, len(everything), 256)]
        vectors = dict(zip(everything, torch.cat([clip.encode_text(part) for part in parts]), strict=True))
    config = json.loads((WEIGHTS / "mini-clip.json").read_text())
    tower = ImageTower(config["vision"], config["image_resolution"], config["embed_dim"])
    tower.visual.load_state_dict(clip.network.visual.state_dict())
    tower.logit_scale.data.copy_(clip.network.logit_scale.data)

    def export(values: dict[str, torch.Tensor], notes: dict[str, Any]) -> None:
        seeing = {key: value for key, value in values.items() if key.startswith("visual.")}
        write(folders.output, "mini-robust", pack(seeing), {**config, "notes": notes})

    run(recipe, pictures, vectors, tower=tower, folder=folders.run, export=export)


if __name__ == "__main__":
    main()
