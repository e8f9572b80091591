"""Teach the embedded CLIP that guides from nothing to tell styles apart: `python -m generator.training.style_head`.

A small head on the textures of mini-robust, which the engines ask whether a picture is in the style that was asked for
(generator.guidance.style). It is fitted to the weights there are, in some five minutes; after
`python -m generator.training.robust` it has to be fitted again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from generator.models.clip import WEIGHTS, ClipModel, load_robust
from generator.models.packing import pack
from generator.models.vqgan import VQGAN
from generator.models.vqgan import load_mini as load_vqgan
from generator.training import data
from generator.training.clip import STYLE_STEPS, ImageTower, fit_style_head
from generator.training.run import write

NAME = "mini-robust"


def run(pictures: data.Pictures, clip: ClipModel, vqgan: VQGAN | None, steps: int, source: Path, output: Path) -> None:
    """Fit a head to `clip`, and write its weights of folder `source` with the head, and how often it is right, to
    folder `output`."""
    visual = clip.network.visual
    tower = ImageTower(visual.variant, clip.resolution, clip.embed_dim).eval()
    tower.visual.load_state_dict(visual.state_dict())
    head, found = fit_style_head(tower, pictures, vqgan, steps)
    weights = {k: v for k, v in load_file(source / f"{NAME}.safetensors").items() if not k.startswith("style_head.")}
    weights |= pack({f"style_head.{key}": value for key, value in head.state_dict().items()})
    config = json.loads((source / f"{NAME}.json").read_text())
    write(output, NAME, weights, {**config, "styles": pictures.styles, "notes": {**config["notes"], **found}})
    print(NAME, found, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/training"))
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="folder for the .safetensors and .json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    run(data.load(arguments.data), load_robust(), load_vqgan(), STYLE_STEPS, WEIGHTS, arguments.output)


if __name__ == "__main__":
    main()
