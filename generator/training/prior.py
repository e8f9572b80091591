"""Train the prior, which corrects the layout's scores by what is already drawn: `python -m generator.training.prior`.

Needs finished codes, layout and text tower. Cross-entropy on masked codes, cosine mask schedule (MaskGIT); texts are
drawn from each picture's captions, and dropped for classifier-free guidance. The layout's text is moved by noise,
for it knows the training pictures better than any prompt to come, and draws every other one in another style, so that
the prior learns to redraw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from generator.models.drafts import Drafts
from generator.models.layout import WEIGHTS, Layout, load_layout
from generator.models.packing import pack
from generator.models.prior import Prior
from generator.training.codes import Material, draw_batch, elsewhere, load_material, noisy
from generator.training.command_line import command_line, flag
from generator.training.run import Average, Budget, schedule, sheet, train, write

TEXT_NOISE = 0.9  # greatest, in units of a vector's own size
ALL_MASKED = 0.35  # of the rows


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the prior is trained on a finished `layout`."""

    budget: Budget = field(default=Budget(minutes=20))
    layout: Path = field(default=WEIGHTS, metadata=flag("folder of mini-layout.safetensors and .json"))
    width: int = 256
    layers: int = 4
    heads: int = 4
    code_width: int = 96
    batch: int = 32
    rate: float = 1e-3
    seed: int = 0


GPU = Recipe(width=640, layers=12, heads=10, code_width=192, batch=256, rate=6e-4)


def masked_loss(
    prior: Prior, batch: tuple[torch.Tensor, ...], generator: torch.Generator
) -> tuple[torch.Tensor, float]:
    """Mean cross-entropy of the masked codes in nats, and the share of them whose likeliest code is right."""
    wanted, text, style, drop = batch
    share = torch.cos(math.pi / 2 * torch.rand(len(wanted), 1, 1, generator=generator)).clamp(min=0.02)
    share[torch.rand(len(wanted), generator=generator) < ALL_MASKED] = 1.0
    masked = torch.rand(wanted.shape, generator=generator) < share
    cond = noisy(text, TEXT_NOISE, generator)
    cond[drop] = 0.0
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            drafts = prior.layout(cond, elsewhere(style, len(prior.layout.styles), generator))
            suggested = prior.layout.scores(drafts, prior.codebook)
        scores = prior(torch.where(masked, prior.n_embed, wanted), suggested, cond, style)[masked]
    loss = F.cross_entropy(scores.float(), wanted[masked])
    return loss, float((scores.detach().argmax(dim=1) == wanted[masked]).float().mean())


def run(
    recipe: Recipe,
    material: Material,
    layout: Layout,
    *,
    folder: Path,
    output: Path | None = None,
    show_on: Callable[[Prior, Path], None] | None = None,
) -> Prior:
    """Train, or go on with, one prior; `show_on` draws a sheet at intervals, `output` is where exports go."""
    torch.manual_seed(recipe.seed)
    config = {key: getattr(recipe, key) for key in ("width", "layers", "heads", "code_width")}
    seen, codebook = material.seen, material.coder.codebook
    prior = Prior(config, layout, codebook)
    average = Average(prior, 0.995)
    optimiser = torch.optim.AdamW(prior.parameters(), lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.03, fused=True)
    styles = len(layout.styles)

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * schedule(progress)
        loss, right = masked_loss(prior, draw_batch(seen, recipe.batch, styles, generator), generator)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(prior.parameters(), 1.0)
        optimiser.step()
        average.update()
        return {"loss": float(loss.detach()), "right": right}

    def report(number: int) -> None:
        averaged = Prior(config, layout, codebook)
        averaged.load_state_dict(average.values)
        averaged.eval()
        notes: dict[str, Any] = {"steps": number, "samples": number * recipe.batch}
        for name, examples in (("seen", seen), ("unseen", material.unseen)):
            if examples is None or not len(examples.codes):
                continue
            generator = torch.Generator().manual_seed(1)
            with torch.no_grad():
                losses = [
                    masked_loss(averaged, draw_batch(examples, 64, styles, generator), generator) for _ in range(3)
                ]
            notes[f"loss_{name}"] = round(sum(float(loss) for loss, _ in losses) / 3, 4)
            notes[f"right_{name}"] = round(sum(right for _, right in losses) / 3, 4)
        print("prior", notes, flush=True)
        if output is not None:
            write(output, "mini-prior", pack(average.values), {**config, "notes": notes})
        if show_on is not None:
            show_on(averaged, folder / "prior-sheet.png")

    train(
        step,
        {"prior": prior, "average": average, "optimiser": optimiser},
        name="prior",
        folder=folder,
        budget=recipe.budget,
        seed=recipe.seed,
        report=report,
        report_minutes=7,
    )
    return prior


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe(), gpu=GPU)
    torch.set_num_threads(1)
    layout, material = load_layout("cpu", recipe.layout), load_material(folders.data)
    coder, prompts = material.coder, material.prompts
    every = [torch.full((len(prompts),), style) for style in range(len(layout.styles))]

    def show_on(prior: Prior, path: Path) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            drafts = [Drafts(layout(prompts, style), prompts, style) for style in every]
            rows = [coder.pictures(prior.sample(each, [1] * len(prompts))) for each in drafts]
        sheet(rows, path)

    run(recipe, material, layout, folder=folders.run, output=folders.output, show_on=show_on)


if __name__ == "__main__":
    main()
