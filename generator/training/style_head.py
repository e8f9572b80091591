"""Teach the embedded CLIP that guides from nothing to tell styles apart: `python -m generator.training.style_head`.

A small head on the textures of mini-robust, which the engines ask whether a picture is in the style that was asked for
(generator.guidance.style). It is fitted to the weights there are, in some five minutes; after
`python -m generator.training.robust` it has to be fitted again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from generator.models.clip import WEIGHTS, ClipModel, load_robust
from generator.models.packing import pack
from generator.models.vqgan import VQModel
from generator.models.vqgan import load_mini as load_vqgan
from generator.training import dataset
from generator.training.command_line import command_line
from generator.training.image_tower import ImageTower
from generator.training.run import write
from generator.training.style_classifier import STEPS, fit_style_head

NAME = "mini-robust"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the head is fitted."""

    steps: int = STEPS
    width: int = 192
    seed: int = 0


def run(
    recipe: Recipe,
    pictures: dataset.Pictures,
    clip: ClipModel,
    *,
    output: Path,
    vqgan: VQModel | None = None,
    source: Path = WEIGHTS,
) -> None:
    """Fit a head to `clip`, and write its weights of folder `source` with the head, and how often it is right, to
    folder `output`."""
    visual = clip.network.visual
    tower = ImageTower(visual.variant, clip.resolution, clip.embed_dim).eval()
    tower.visual.load_state_dict(visual.state_dict())
    head, found = fit_style_head(tower, pictures, vqgan, steps=recipe.steps, width=recipe.width, seed=recipe.seed)
    weights = {k: v for k, v in load_file(source / f"{NAME}.safetensors").items() if not k.startswith("style_head.")}
    weights |= pack({f"style_head.{key}": value for key, value in head.state_dict().items()})
    config = json.loads((source / f"{NAME}.json").read_text())
    write(output, NAME, weights, {**config, "styles": pictures.styles, "notes": {**config["notes"], **found}})
    print(NAME, found, flush=True)


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe())
    torch.set_num_threads(1)
    run(recipe, dataset.load(folders.data), load_robust(), output=folders.output, vqgan=load_vqgan())


if __name__ == "__main__":
    main()
