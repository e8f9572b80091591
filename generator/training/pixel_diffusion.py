"""Train the pixel diffusion, pictures from noise: `python -m generator.training.pixel_diffusion --minutes 40`.

It learns pictures and their styles, no texts: at inference CLIP says what is wanted.
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

from generator.models.packing import pack
from generator.models.pixel_diffusion import PixelDiffusion
from generator.sampling.samplers import ddim, timesteps_between
from generator.training import codes, dataset
from generator.training.command_line import command_line
from generator.training.run import Average, Budget, schedule, sheet, train, write

DROP_STYLE = 0.15
SHOWN_STYLES = ("noto", "fluent")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the network is trained."""

    budget: Budget = field(default=Budget(minutes=40))
    unshuffle: int = 4
    channels: tuple[int, ...] = (128, 176)
    layers: int = 1
    attention: tuple[int, ...] = (1,)
    head_width: int = 44
    batch: int = 32
    rate: float = 1e-3
    seed: int = 0
    device: str = "cpu"


GPU = Recipe(
    unshuffle=2,
    channels=(128, 192, 256),
    layers=2,
    attention=(2,),
    head_width=64,
    batch=256,
    rate=5e-4,
    device="cuda",
)


def configuration(recipe: Recipe) -> dict[str, Any]:
    """What PixelDiffusion is built from."""
    levels = {"channels": list(recipe.channels), "layers": recipe.layers, "attention": list(recipe.attention)}
    shape = {"unshuffle": recipe.unshuffle, **levels, "head_width": recipe.head_width}
    noise = {"prediction": "v", "schedule": "cosine", "timesteps": 1000}
    return {**shape, "norm_groups": 8, **noise, "styles": list(codes.STYLE_WEIGHTS)}


def zero_residuals(model: PixelDiffusion) -> None:
    """Start every residual branch and the output at zero: a nearly linear network learns what noise is at once."""
    for name, parameter in model.named_parameters():
        if ".conv2." in name or ".to_out." in name or "conv_out." in name:
            nn.init.zeros_(parameter)


def chances(pictures: dataset.Pictures, chosen: np.ndarray) -> torch.Tensor:
    """How often each picture is drawn, (N,), 0 where `chosen` (N,) bool is false."""
    concept = np.array([codes.concept_weight(concept) for concept in pictures.concepts])
    style = np.array([codes.STYLE_WEIGHTS.get(style, 0.0) for style in pictures.styles])
    return torch.from_numpy(concept[pictures.concept] * style[pictures.style] * chosen)


def draw_batch(
    pictures: dataset.Pictures, weight: torch.Tensor, size: int, styles: list[str], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Augmented pictures (B, 3, R, R) in [-1, 1] and style numbers (B,), some of them any."""
    rows = torch.multinomial(weight, size, replacement=True, generator=generator).numpy()
    number = torch.tensor([styles.index(style) if style in styles else len(styles) for style in pictures.styles])
    ground = dataset.backgrounds(size, generator, white=0.95)
    rgba = torch.from_numpy(pictures.rgba[rows])
    images = dataset.composite(rgba, ground, generator, scale=(0.9, 1.05), shift=0.03, flip=True)
    style = number[torch.from_numpy(pictures.style[rows].astype(np.int64))]
    style[torch.rand(size, generator=generator) < DROP_STYLE] = len(styles)
    return images * 2 - 1, style


def v_loss(model: PixelDiffusion, x0: torch.Tensor, style: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Squared error of the prediction at timesteps spread evenly over the batch, a loss per row (B,)."""
    count, last = len(x0), len(model.alphas_cumprod)
    t = ((torch.arange(count) + torch.rand((), generator=generator)) / count * last).long().clamp(max=last - 1)
    t = t[torch.randperm(count, generator=generator)].to(x0.device)
    eps = torch.randn(x0.shape, generator=generator).to(x0.device)
    alpha, sigma = model.levels(t)
    with torch.autocast(x0.device.type, torch.bfloat16):
        predicted = model(alpha * x0 + sigma * eps, t, style)
    wanted = alpha * eps - sigma * x0 if model.prediction == "v" else eps
    return F.mse_loss(predicted.float(), wanted, reduction="none").mean(dim=(1, 2, 3))


@torch.no_grad()
def sample(model: PixelDiffusion, style: torch.Tensor, side: int, steps: int, seed: int) -> torch.Tensor:
    """Unguided pictures (N, 3, side, side) in [0, 1], one for each entry of style (N,), by DDIM."""
    device = model.alphas_cumprod.device
    x = torch.randn(len(style), 3, side, side, generator=torch.Generator().manual_seed(seed)).to(device)
    times = timesteps_between(len(model.alphas_cumprod) - 1, steps)
    levels = [(float(value**0.5), float((1 - value) ** 0.5)) for value in model.alphas_cumprod[times].cpu()]
    for t, level, following in zip(times, levels, [*levels[1:], (1.0, 0.0)], strict=True):
        with torch.autocast(device.type, torch.bfloat16):
            denoised = model.denoise(x, torch.full((len(x),), t, device=device), style.to(device))
        x = ddim(x, denoised.clamp(-1, 1), level, following, 0.0, None)
    return ((x + 1) / 2).cpu()


def run(
    recipe: Recipe,
    pictures: dataset.Pictures,
    *,
    folder: Path,
    output: Path | None = None,
    show_on: Callable[[PixelDiffusion, Path], None] | None = None,
) -> PixelDiffusion:
    """Train, or go on with, the network; `output` is where its moving average is exported, `show_on` draws a sheet."""
    torch.manual_seed(recipe.seed)
    config, device = configuration(recipe), recipe.device
    model = PixelDiffusion(config).to(device)
    zero_residuals(model)
    average = Average(model, 0.999)
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    styles: list[str] = config["styles"]
    weight, unseen = chances(pictures, pictures.train), chances(pictures, pictures.unseen_concept)

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * schedule(progress)
        x0, style = draw_batch(pictures, weight, recipe.batch, styles, generator)
        loss = v_loss(model, x0.to(device), style.to(device), generator).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average.update()
        return {"loss": float(loss.detach())}

    def report(number: int) -> None:
        averaged = PixelDiffusion(config).to(device)
        averaged.load_state_dict(average.values)
        averaged.eval()
        notes: dict[str, Any] = {"steps": number, "samples": number * recipe.batch}
        for name, chance in (("seen", weight), ("unseen", unseen)):
            if float(chance.sum()) > 0:
                draw = torch.Generator().manual_seed(1)
                x0, style = draw_batch(pictures, chance, 128, styles, draw)
                with torch.no_grad():
                    loss = v_loss(averaged, x0.to(device), style.to(device), draw).mean()
                notes[f"loss_{name}"] = round(float(loss), 4)
        print("diffusion", notes, flush=True)
        if output is not None:
            values = {key: value.cpu() for key, value in average.values.items()}
            write(output, "mini-diffusion", pack(values), {**config, "notes": notes})
        if show_on is not None:
            show_on(averaged, folder / "diffusion-sheet.png")

    train(
        step,
        {"model": model, "average": average, "optimiser": optimiser},
        name="diffusion",
        folder=folder,
        budget=recipe.budget,
        seed=recipe.seed,
        report=report,
        report_minutes=6,
    )
    return model


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe(), gpu=GPU, own_folder=True)
    torch.set_num_threads(1)
    pictures = dataset.load(folders.data)
    side = pictures.rgba.shape[1]

    def show_on(model: PixelDiffusion, path: Path) -> None:
        shown = [model.style_index(style) for style in SHOWN_STYLES]
        made = sample(model, torch.tensor(shown).repeat_interleave(16), side, 25, seed=0)
        sheet([made[:16], made[16:]], path)

    run(recipe, pictures, folder=folders.run, output=folders.output, show_on=show_on)


if __name__ == "__main__":
    main()
