"""Train the embedded latent diffusion: `python -m generator.training.latent_diffusion --minutes 45`.

Needs a finished text tower, codes, layout and restyler. The draft is spoilt in training, by noise on the text that the
layout reads and by noise on the draft itself: the layout knows the training pictures better than any prompt to come.
Every other draft is in another style, and most of these are redrawn by the restyler, as they are for a prompt.
"""

from __future__ import annotations

from collections.abc import Callable
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
from generator.training import codes
from generator.training.codes import draw_batch, elsewhere, noisy
from generator.training.layout import material
from generator.training.run import Average, Budget, command_line, schedule, sheet, train, write

SCALES: dict[str, dict[str, Any]] = {
    "cpu": {"block_out_channels": [64, 128, 192], "cross_width": 192, "batch": 32, "rate": 6e-4},
    "gpu": {"block_out_channels": [192, 320, 448], "cross_width": 384, "batch": 256, "rate": 4e-4},
}
TEXT_NOISE, DRAFT_NOISE = 0.9, 0.6  # greatest, in units of a vector's and a z's own size
REDRAWN = 0.7  # of the drafts in another style


def configuration(scale: str, z_channels: int, grid: int, text_width: int, styles: int) -> dict[str, Any]:
    choice = {key: SCALES[scale][key] for key in ("block_out_channels", "cross_width")}
    return {"z_channels": z_channels, "grid": grid, "text_width": text_width, "styles": styles, **choice}


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
    read = noisy(text, TEXT_NOISE, generator)
    read[drop] = 0.0
    styles = len(drafter.layout.styles)
    before = elsewhere(style, styles, generator)
    redrawn = (torch.rand(len(z), generator=generator) < REDRAWN) & (style < styles) & (before != style)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        draft = drafter.layout(read, before).float()
        draft[redrawn] = drafter.restyler(draft[redrawn], before[redrawn], style[redrawn])
    spoilt = DRAFT_NOISE * torch.rand(len(z), 1, 1, 1, generator=generator).square()
    draft = draft + spoilt * torch.randn(z.shape, generator=generator)
    t = torch.randint(TRAIN_STEPS, (len(z),), generator=generator)
    a, b = signal[t].sqrt().view(-1, 1, 1, 1), (1 - signal[t]).sqrt().view(-1, 1, 1, 1)
    noise = torch.randn(z.shape, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        made = model(a * z + b * noise, t, draft, model.tokens(text, style, drop))
    return F.mse_loss(made.float(), a * noise - b * z)


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
            told = model(z, step, draft, model.tokens(text, style)).float()
            free = model(z, step, blank, model.tokens(text, style, null)).float()
        v = free + 2 * (told - free)
        level, following = ((float(signal[t].sqrt()), float((1 - signal[t]).sqrt())) for t in (now, then))
        clean = level[0] * z - level[1] * v
        z = ddim(z, clean, level, following, 0.0, None)
    return clean


def run(
    seen: codes.Examples,
    drafter: Drafter,
    codebook: torch.Tensor,
    config: dict[str, Any],
    folder: Path,
    budget: Budget,
    batch: int = 32,
    rate: float = 6e-4,
    show_on: Callable[[LatentDiffusionModel, Path], None] | None = None,
    output: Path | None = None,
    seed: int = 0,
    stop_after: int | None = None,
) -> LatentDiffusionModel:
    """Train, or go on with, the UNet; `output` is where exports go."""
    torch.manual_seed(seed)
    model = LatentDiffusionModel(config)
    average = Average(model, 0.998)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    signal = alphas()

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = rate * schedule(progress)
        examples = draw_batch(seen, batch, config["styles"], generator)
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
        notes = {"steps": number, "samples": number * batch}
        print("latent-diffusion", notes, flush=True)
        if output is not None:
            write(output, "mini-latent-diffusion", pack(average.values), {**config, "notes": notes})
        if show_on is not None:
            show_on(averaged, folder / "latent-diffusion-sheet.png")

    train(
        folder,
        "latent-diffusion",
        budget,
        {"model": model, "average": average, "optimiser": optimiser},
        step,
        report,
        report_minutes=6,
        seed=seed,
        stop_after=stop_after,
    )
    return model


def main() -> None:
    parser = command_line(__doc__, 45, SCALES)
    parser.add_argument("--layout", type=Path, default=WEIGHTS, help="folder of mini-layout and mini-restyle")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder, drafter = arguments.data / "runs", load_drafter("cpu", arguments.layout)
    layout = drafter.layout
    coder, seen, _, prompts = material(arguments.data)

    def show_on(model: LatentDiffusionModel, path: Path) -> None:
        rows = []
        for style in range(len(layout.styles)):
            z = sample(model, layout, prompts, torch.full((len(prompts),), style))
            rows.append(coder.pictures(coder.quantised(z)))
        sheet(rows, path)

    choice, grid = SCALES[arguments.scale], seen.codes.shape[-1]
    config = configuration(arguments.scale, coder.codebook.shape[1], grid, seen.features.shape[1], len(layout.styles))
    run(
        seen,
        drafter,
        coder.codebook,
        config,
        folder,
        Budget(minutes=arguments.minutes),
        choice["batch"],
        choice["rate"],
        show_on,
        arguments.output,
    )


if __name__ == "__main__":
    main()
