"""Train the embedded latent diffusion: `python -m generator.training.latent_diffusion --minutes 45`.

Needs a finished text tower, codes, layout and restyler. The draft is spoilt in training, by noise on the text that the
layout reads and by noise on the draft itself: the layout knows the training pictures better than any prompt to come.
Every other draft is in another style, and most of these are redrawn by the restyler, as they are for a prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from generator.models.drafts import Drafter, load_drafter
from generator.models.latent_unet import TRAIN_STEPS, LatentDiffusionModel, alphas
from generator.models.layout import WEIGHTS, Layout
from generator.models.packing import pack
from generator.sampling.samplers import ddim
from generator.training.codes import Material, draw_batch, elsewhere, load_material, noisy
from generator.training.command_line import command_line, flag
from generator.training.run import Average, Budget, schedule, sheet, train, write

TEXT_NOISE, DRAFT_NOISE = 0.9, 0.6  # greatest, in units of a vector's and a z's own size
REDRAWN = 0.7  # of the drafts in another style


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the UNet is trained on drafts of a finished `layout`."""

    budget: Budget = field(default=Budget(minutes=45))
    layout: Path = field(default=WEIGHTS, metadata=flag("folder of mini-layout and mini-restyle"))
    block_out_channels: tuple[int, ...] = (64, 128, 192)
    cross_width: int = 192
    batch: int = 32
    rate: float = 6e-4
    seed: int = 0


GPU = Recipe(block_out_channels=(192, 320, 448), cross_width=384, batch=256, rate=4e-4)


def configuration(recipe: Recipe, material: Material, styles: int) -> dict[str, Any]:
    """What LatentDiffusionModel is built from."""
    grid, text_width = material.seen.codes.shape[-1], material.seen.features.shape[1]
    z = {"z_channels": material.coder.codebook.shape[1], "grid": grid, "text_width": text_width, "styles": styles}
    return {**z, "block_out_channels": list(recipe.block_out_channels), "cross_width": recipe.cross_width}


def v_loss(
    model: LatentDiffusionModel,
    drafter: Drafter,
    codebook: torch.Tensor,
    batch: tuple[torch.Tensor, ...],
    signal: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Mean squared error of v (Salimans and Ho 2022, arXiv:2202.00512, appendix D)."""
    wanted, text, style, drop = batch
    z = codebook[wanted].permute(0, 3, 1, 2)
    cond = noisy(text, TEXT_NOISE, generator)
    cond[drop] = 0.0
    styles = len(drafter.layout.styles)
    before = elsewhere(style, styles, generator)
    redrawn = (torch.rand(len(z), generator=generator) < REDRAWN) & (style < styles) & (before != style)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        draft = drafter.layout(cond, before).float()
        draft[redrawn] = drafter.restyler(draft[redrawn], before[redrawn], style[redrawn])
    spoilt = DRAFT_NOISE * torch.rand(len(z), 1, 1, 1, generator=generator).square()
    draft = draft + spoilt * torch.randn(z.shape, generator=generator)
    t = torch.randint(TRAIN_STEPS, (len(z),), generator=generator)
    a, b = signal[t].sqrt().view(-1, 1, 1, 1), (1 - signal[t]).sqrt().view(-1, 1, 1, 1)
    noise = torch.randn(z.shape, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        predicted = model(a * z + b * noise, t, draft, model.tokens(text, style, drop))
    return F.mse_loss(predicted.float(), a * noise - b * z)


@torch.no_grad()
def sample(model: LatentDiffusionModel, layout: Layout, text: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """z (B, C, g, g) for a sheet: 20 steps of DDIM, classifier-free guidance of 2."""
    signal, generator = alphas(), torch.Generator().manual_seed(0)
    draft = layout(text, style)
    z = torch.randn(draft.shape, generator=generator)
    times = torch.linspace(TRAIN_STEPS - 1, 0, 21).round().long()
    null = torch.ones(len(text), dtype=torch.bool)
    blank = layout(torch.zeros_like(text), style)
    for now, then in pairwise(times):
        step = now.expand(len(z))
        with torch.autocast("cpu", torch.bfloat16):
            cond = model(z, step, draft, model.tokens(text, style)).float()
            uncond = model(z, step, blank, model.tokens(text, style, null)).float()
        v = uncond + 2 * (cond - uncond)
        level, following = ((float(signal[t].sqrt()), float((1 - signal[t]).sqrt())) for t in (now, then))
        denoised: torch.Tensor = level[0] * z - level[1] * v
        z = ddim(z, denoised, level, following, 0.0, None)
    return denoised


def run(
    recipe: Recipe,
    material: Material,
    drafter: Drafter,
    *,
    folder: Path,
    output: Path | None = None,
    show_on: Callable[[LatentDiffusionModel, Path], None] | None = None,
) -> LatentDiffusionModel:
    """Train, or go on with, the UNet; `output` is where exports go, `show_on` draws a sheet."""
    torch.manual_seed(recipe.seed)
    config, codebook = configuration(recipe, material, len(drafter.layout.styles)), material.coder.codebook
    model = LatentDiffusionModel(config)
    average = Average(model, 0.998)
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    signal = alphas()

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * schedule(progress)
        examples = draw_batch(material.seen, recipe.batch, config["styles"], generator)
        loss = v_loss(model, drafter, codebook, examples, signal, generator)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average.update()
        return {"loss": float(loss.detach())}

    def report(number: int) -> None:
        averaged = LatentDiffusionModel(config)
        averaged.load_state_dict(average.values)
        averaged.eval()
        notes = {"steps": number, "samples": number * recipe.batch}
        print("latent-diffusion", notes, flush=True)
        if output is not None:
            write(output, "mini-latent-diffusion", pack(average.values), {**config, "notes": notes})
        if show_on is not None:
            show_on(averaged, folder / "latent-diffusion-sheet.png")

    train(
        step,
        {"model": model, "average": average, "optimiser": optimiser},
        name="latent-diffusion",
        folder=folder,
        budget=recipe.budget,
        seed=recipe.seed,
        report=report,
        report_minutes=6,
    )
    return model


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe(), gpu=GPU)
    torch.set_num_threads(1)
    drafter, material = load_drafter("cpu", recipe.layout), load_material(folders.data)
    layout, coder, prompts = drafter.layout, material.coder, material.prompts

    def show_on(model: LatentDiffusionModel, path: Path) -> None:
        rows = []
        for style in range(len(layout.styles)):
            z = sample(model, layout, prompts, torch.full((len(prompts),), style))
            rows.append(coder.pictures(coder.quantised(z)))
        sheet(rows, path)

    run(recipe, material, drafter, folder=folders.run, output=folders.output, show_on=show_on)


if __name__ == "__main__":
    main()
