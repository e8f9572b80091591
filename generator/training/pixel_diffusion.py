"""Train the pixel diffusion, pictures from noise: `python -m generator.training.pixel_diffusion --minutes 40`.

It learns pictures and their styles, no texts: at inference CLIP says what is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from generator.models.packing import pack
from generator.models.pixel_diffusion import PixelDiffusion
from generator.sampling.samplers import ddim, timesteps_between
from generator.training import codes, data
from generator.training.run import Average, Budget, command_line, schedule, sheet, train, write

SCALES: dict[str, dict[str, Any]] = {
    "cpu": {
        "unshuffle": 4,
        "channels": [128, 176],
        "layers": 1,
        "attention": [1],
        "head_width": 44,
        "batch": 32,
        "rate": 1e-3,
    },
    "gpu": {
        "unshuffle": 2,
        "channels": [128, 192, 256],
        "layers": 2,
        "attention": [2],
        "head_width": 64,
        "batch": 256,
        "rate": 5e-4,
    },
}
DROP_STYLE = 0.15
SHOWN_STYLES = ("noto", "fluent")


def configuration(scale: str, styles: list[str]) -> dict[str, Any]:
    """What PixelDiffusion reads, for one of SCALES."""
    shape = {key: SCALES[scale][key] for key in ("unshuffle", "channels", "layers", "attention", "head_width")}
    noise = {"prediction": "v", "schedule": "cosine", "timesteps": 1000}
    return {**shape, "norm_groups": 8, **noise, "styles": styles}


def calm(model: PixelDiffusion) -> None:
    """Start every residual branch and the output at zero: a nearly linear network learns what noise is at once."""
    for name, parameter in model.named_parameters():
        if ".conv2." in name or ".to_out." in name or "conv_out." in name:
            nn.init.zeros_(parameter)


def chances(pictures: data.Pictures, chosen: np.ndarray) -> torch.Tensor:
    """How often each picture is drawn, (N,), 0 where `chosen` (N,) bool is false."""
    concept = np.array([codes.concept_weight(concept) for concept in pictures.concepts])
    style = np.array([codes.STYLE_WEIGHTS.get(style, 0.0) for style in pictures.styles])
    return torch.from_numpy(concept[pictures.concept] * style[pictures.style] * chosen)


def draw_batch(
    pictures: data.Pictures, weight: torch.Tensor, size: int, styles: list[str], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Augmented pictures (B, 3, R, R) in [-1, 1] and style numbers (B,), some of them any."""
    rows = torch.multinomial(weight, size, replacement=True, generator=generator).numpy()
    number = torch.tensor([styles.index(style) if style in styles else len(styles) for style in pictures.styles])
    ground = data.backgrounds(size, generator, white=0.95)
    rgba = torch.from_numpy(pictures.rgba[rows])
    images = data.composite(rgba, ground, generator, scale=(0.9, 1.05), shift=0.03, flip=True)
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
        made = model(alpha * x0 + sigma * eps, t, style)
    wanted = alpha * eps - sigma * x0 if model.prediction == "v" else eps
    return F.mse_loss(made.float(), wanted, reduction="none").mean(dim=(1, 2, 3))


@torch.no_grad()
def sample(model: PixelDiffusion, style: torch.Tensor, side: int, steps: int, seed: int) -> torch.Tensor:
    """Unguided pictures (N, 3, side, side) in [0, 1], one for each entry of style (N,), by DDIM."""
    device = model.alphas_cumprod.device
    x = torch.randn(len(style), 3, side, side, generator=torch.Generator().manual_seed(seed)).to(device)
    times = timesteps_between(len(model.alphas_cumprod) - 1, steps)
    levels = [(float(value**0.5), float((1 - value) ** 0.5)) for value in model.alphas_cumprod[times].cpu()]
    for t, level, following in zip(times, levels, [*levels[1:], (1.0, 0.0)], strict=True):
        with torch.autocast(device.type, torch.bfloat16):
            x0 = model.denoise(x, torch.full((len(x),), t, device=device), style.to(device))
        x = ddim(x, x0.clamp(-1, 1), level, following, 0.0, None)
    return ((x + 1) / 2).cpu()


def run(
    pictures: data.Pictures,
    config: dict[str, Any],
    folder: Path,
    budget: Budget,
    batch: int,
    rate: float = 1e-3,
    show_on: Callable[[PixelDiffusion, Path], None] | None = None,
    output: Path | None = None,
    device: str = "cpu",
    seed: int = 0,
    stop_after: int | None = None,
) -> PixelDiffusion:
    """Train, or go on with, the network; `output` is where its moving average is exported."""
    torch.manual_seed(seed)
    model = PixelDiffusion(config).to(device)
    calm(model)
    average = Average(model, 0.999)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    styles: list[str] = config["styles"]
    weight, unseen = chances(pictures, pictures.train), chances(pictures, pictures.unseen_concept)

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = rate * schedule(progress)
        x0, style = draw_batch(pictures, weight, batch, styles, generator)
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
        notes: dict[str, Any] = {"steps": number, "samples": number * batch}
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
        folder,
        "diffusion",
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
    parser = command_line(__doc__, 40, SCALES)
    parser.add_argument("--folder", type=Path, help="where the run is kept; default: runs in the data folder")
    parser.add_argument("--steps", type=int, help="instead of minutes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pictures, choice = data.load(arguments.data), SCALES[arguments.scale]
    styles, side = list(codes.STYLE_WEIGHTS), pictures.rgba.shape[1]

    def show_on(model: PixelDiffusion, path: Path) -> None:
        shown = [model.style_index(style) for style in SHOWN_STYLES]
        made = sample(model, torch.tensor(shown).repeat_interleave(16), side, 25, seed=0)
        sheet([made[:16], made[16:]], path)

    run(
        pictures,
        configuration(arguments.scale, styles),
        arguments.folder or arguments.data / "runs",
        Budget(steps=arguments.steps) if arguments.steps else Budget(minutes=arguments.minutes),
        choice["batch"],
        choice["rate"],
        show_on,
        arguments.output,
        "cuda" if arguments.scale == "gpu" else "cpu",
    )


if __name__ == "__main__":
    main()
