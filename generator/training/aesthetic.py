"""Teach the embedded CLIP what looks better made: `python -m generator.training.aesthetic --pictures 100`.

A small head on the textures of mini-robust, by which finished pictures are ranked beside what they show (as LAION's
aesthetic predictor is a head on CLIP). It needs nobody's ratings: what is worse is known, since it was made worse on
purpose, and the head learns the order (Liu et al. 2017, "RankIQA", arXiv:1707.08347). A picture as its artist drew it
comes first, then the same through the VQGAN and the finisher, then with ever more codes replaced by near ones and by
any, which leaves mottle, ragged outlines and specks as CLIP's pull does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from generator.images.flatten import ANY, FLATNESS, flattened
from generator.models.clip import WEIGHTS, ClipModel, load_robust, texture_head
from generator.models.finisher import Finisher, load_finisher
from generator.models.packing import pack
from generator.models.vqgan import VQModel
from generator.models.vqgan import load_mini as load_vqgan
from generator.training import dataset
from generator.training.codes import concept_weight
from generator.training.command_line import command_line, flag
from generator.training.degradation import disturb, neighbours_of
from generator.training.run import schedule, write

NAME = "mini-robust"
WRONG = (0.0, 0.1, 0.25, 0.5)  # shares of codes replaced, each worse than the one before; the art itself is before them
FAR = 0.2  # of these, the share replaced by any code at all


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the head is fitted."""

    pictures: int = field(default=100, metadata=flag("of the training set to learn from"))
    steps: int = 800
    width: int = 32
    seed: int = 0


@torch.no_grad()
def worsened(
    images: torch.Tensor, styles: list[str], vqgan: VQModel, finisher: Finisher, generator: torch.Generator
) -> torch.Tensor:
    """images (B, 3, R, R) in [0, 1] as they are and ever worse: (levels, B, 3, R, R)."""
    near = neighbours_of(vqgan.codebook.float())
    codes = vqgan.quantise(vqgan.encode(images).float())[1].view(len(images), *[images.shape[2] // vqgan.factor] * 2)
    numbers = torch.tensor([finisher.style_index(style) for style in styles])
    levels = [images]
    for share in WRONG:
        wrong = disturb(codes, near, generator, share)
        far = torch.rand(codes.shape, generator=generator) < FAR * share
        wrong = torch.where(far, torch.randint(vqgan.n_embed, codes.shape, generator=generator), wrong)
        with torch.autocast("cpu", torch.bfloat16):
            made = vqgan.decode(vqgan.codes_to_z(wrong)).float()
        made = finisher(made.clamp(0, 1), numbers).clamp(0, 1)
        levels.append(torch.stack([flattened(*one) for one in zip(made, _flatness(styles), strict=True)]))
    return torch.stack(levels)


def _flatness(styles: list[str]) -> list[float]:
    return [FLATNESS.get(style, ANY) for style in styles]


def fit(clip: ClipModel, textures: torch.Tensor, recipe: Recipe) -> torch.nn.Module:
    """A head on textures (levels, N, C), the best level first: 1 for the mean of the best, 0 for that of the worst."""
    generator = torch.Generator().manual_seed(recipe.seed)
    flat = textures.flatten(0, 1)
    centre, spread = flat.mean(dim=0), flat.std(dim=0) + 1e-3
    known = (textures - centre) / spread
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        head: Any = texture_head(known.shape[2], recipe.width, 1)
    optimiser = torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=0.5)
    for step in range(recipe.steps):
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * schedule(step / recipe.steps)
        rows = torch.randint(known.shape[1], (64,), generator=generator)
        seen = known[:, rows]
        seen = seen + 0.3 * torch.randn(seen.shape, generator=generator)
        seen = seen * ((torch.rand(seen.shape, generator=generator) > 0.2) / 0.8)
        scores = head(seen)[..., 0]
        loss = F.softplus(scores[1:] - scores[:-1]).mean()  # each level beside the next
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    with torch.no_grad():  # the normalisation goes into the first layer, what a score means into the last
        best, worst = head(known[0]).mean(), head(known[-1]).mean()
        head[2].bias.sub_(worst).div_(best - worst)
        head[2].weight.div_(best - worst)
        head[0].bias.sub_((head[0].weight * (centre / spread)).sum(dim=1))
        head[0].weight.div_(spread)
    made: torch.nn.Module = head
    return made


def run(
    recipe: Recipe,
    pictures: dataset.Pictures,
    clip: ClipModel,
    *,
    vqgan: VQModel,
    finisher: Finisher,
    output: Path,
    source: Path = WEIGHTS,
) -> None:
    """Fit a head to `clip`, and write its weights of folder `source` with the head, and how often it puts the better of
    two first, to folder `output`."""
    generator = torch.Generator().manual_seed(recipe.seed)
    wanted = np.array([concept_weight(concept) for concept in pictures.concepts])[pictures.concept] > 0

    def textures(rows: np.ndarray) -> torch.Tensor:
        found = []
        for part in np.array_split(rows, -(-len(rows) // 16)):
            styles = [pictures.styles[style] for style in pictures.style[part]]
            art = dataset.composite(torch.from_numpy(pictures.rgba[part]), torch.ones(len(part), 3))
            levels = worsened(art, styles, vqgan, finisher, generator)
            found.append(clip.textures(levels.flatten(0, 1)).view(len(levels), len(part), -1))
        return torch.cat(found, dim=1)

    draw = np.random.default_rng(recipe.seed)
    learnt = draw.permutation(np.flatnonzero(pictures.train & wanted))[: recipe.pictures]
    head = fit(clip, textures(learnt), recipe)
    held_out = draw.permutation(np.flatnonzero(pictures.unseen_concept | pictures.unseen_style))
    with torch.no_grad():
        scores = head(textures(held_out[: max(recipe.pictures // 4, 1)]))[..., 0]
    right = (scores[:-1] > scores[1:]).float().mean(dim=1)
    notes = {"aesthetic_pairs": [round(float(share), 3) for share in right]}
    weights = {
        k: v for k, v in load_file(source / f"{NAME}.safetensors").items() if not k.startswith("aesthetic_head.")
    }
    weights |= pack({f"aesthetic_head.{key}": value for key, value in head.state_dict().items()})
    config = json.loads((source / f"{NAME}.json").read_text())
    write(output, NAME, weights, {**config, "notes": {**config["notes"], **notes}})
    print(NAME, notes, flush=True)


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe())
    torch.set_num_threads(1)
    run(
        recipe,
        dataset.load(folders.data),
        load_robust(),
        vqgan=load_vqgan(),
        finisher=load_finisher(),
        output=folders.output,
    )


if __name__ == "__main__":
    main()
