"""Train the second family's generator: `python -m generator.training.flow --scale cpu --minutes 60`.

Rectified flow (Liu et al. 2023, arXiv:2209.03003) on the z of a finished `unit_vqgan`, times drawn from a logit-normal
(Esser et al. 2024, arXiv:2403.03206, equation 19), some pictures without text and some without style, for
classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598). One network is prior and latent diffusion at once.
Texts are read by the embedded CLIP's text tower, word by word; it stays as it is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generator.models.clip import ClipModel
from generator.models.clip import load_mini as load_clip
from generator.models.flow import FlowModels, FlowTransformer, flow_models
from generator.models.vqgan import VQModel
from generator.prompts import parse_text
from generator.sampling.samplers import dpm_solver_2m
from generator.training import pairs as pairs_module
from generator.training.command_line import command_line, flag
from generator.training.pairs import Pairs, on_device
from generator.training.parts import Keep, read_parts, write_parts
from generator.training.run import Average, Budget, schedule, sheet, train

NAME = "flow"
DROP_TEXT, DROP_STYLE = 0.1, 0.3
SHEET = (
    "a red heart",
    "a cat",
    "a blue car",
    "a slice of pizza",
    "a rocket",
    "a green tree",
    "a happy robot",
    "a penguin",
    "a yellow house",
    "a cat and a dog",
    "a red apple on a blue book",
    "a strawberry next to a banana",
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the transformer is trained. `bank` is how many z there are to draw from: pictures placed anew each time;
    `bank_minutes` how long to make them at most."""

    budget: Budget = field(default=Budget(minutes=90))
    side: int = field(default=128, metadata=flag("px of the pictures, as the data has them"))
    width: int = 192
    heads: int = 3
    depth: int = 6
    text_depth: int = 1
    bank: int = field(default=12_000, metadata=flag("z to draw from"))
    bank_minutes: float = 20.0
    batch: int = field(default=32, metadata=flag("pictures a step"))
    rate: float = 8e-4
    seed: int = 0
    compile: bool = False
    sheet_steps: int = 8
    sheet_styles: int = 0  # rows of the sheet beside that of any style
    report_minutes: float = field(default=6.0, metadata=flag("between two exports"))


GPU = Recipe(
    width=320,
    heads=5,
    depth=9,
    bank=150_000,
    batch=256,
    rate=7e-4,
    sheet_steps=20,
    sheet_styles=3,
    report_minutes=0.75,
)


@dataclass
class Bank:
    """z (M, C, g, g) bfloat16 of placed pictures, and the row of Pairs each is of."""

    z: Tensor
    row: Tensor


@torch.no_grad()
def fill(recipe: Recipe, pairs: Pairs, vqgan: VQModel) -> Bank:
    """As many z as the recipe asks for, or as fit into its minutes."""
    generator = torch.Generator(pairs.device).manual_seed(recipe.seed)
    start = time.monotonic()
    found, rows = list[Tensor](), list[Tensor]()
    size = min(recipe.bank, 512 if pairs.device.type == "cuda" else 16)
    while len(rows) * size < recipe.bank and (not rows or time.monotonic() - start < 60 * recipe.bank_minutes):
        drawn = torch.multinomial(pairs.weight, size, replacement=True, generator=generator)
        with torch.autocast(pairs.device.type, torch.bfloat16):
            z = vqgan.encode(pairs.placed(drawn, generator))
        found.append(z.to(torch.bfloat16))
        rows.append(drawn)
    return Bank(torch.cat(found), torch.cat(rows))


def configuration(recipe: Recipe, bank: Bank, styles: Sequence[str], clip: ClipModel) -> dict[str, Any]:
    """What FlowTransformer is built from."""
    text_width = clip.network.ln_final.weight.shape[0]
    z = {"z_channels": bank.z.shape[1], "grid": bank.z.shape[2], "text_width": text_width, "styles": list(styles)}
    return z | {name: getattr(recipe, name) for name in ("width", "heads", "depth", "text_depth")}


def flow_loss(network: nn.Module, z: Tensor, hidden: Tensor, generator: torch.Generator) -> Tensor:
    """Mean squared error of noise - z; z (B, C, g, g) standardised."""
    noise = torch.randn(z.shape, generator=generator, device=z.device)
    t = torch.randn(len(z), generator=generator, device=z.device).sigmoid()
    x = torch.lerp(z, noise, t.view(-1, 1, 1, 1))
    with torch.autocast(z.device.type, torch.bfloat16):
        answer = network(x, t, hidden)
    return F.mse_loss(answer.float(), noise - z)


@torch.no_grad()
def words(clip: ClipModel, tokens: Tensor) -> Tensor:
    """tokens (B, 77) -> (B, L, text_width), L the longest text's, zero where a shorter one has ended."""
    with torch.autocast(tokens.device.type, torch.bfloat16):
        states, said = clip.states(tokens)
    longest = int(said.sum(dim=1).max())
    return states[:, :longest].float() * said[:, :longest, None]


@torch.no_grad()
def sample(
    models: FlowModels,
    texts: Sequence[str],
    styles: Sequence[str | None],
    seed: int,
    steps: int = 20,
    scale: float = 3.0,
) -> Tensor:
    """Pictures (N, 3, R, R) in [0, 1] as the engine draws them: DPM-Solver++(2M) and classifier-free guidance."""
    device = models.unet.network.place.device
    path = models.schedule.path("dpm-solver-2m", steps, steps)
    nothing = models.in_style(models.texts.encode_prompt([])[0], None)
    pictures = []
    for start in range(0, len(texts), 64):
        some = slice(start, start + 64)
        told = [models.texts.encode_prompt([parse_text(text)])[0] for text in texts[some]]
        hidden = torch.stack([models.in_style(h, s) for h, s in zip(told, styles[some], strict=True)])
        shape = (len(hidden), *models.latent_shape(0, 0))
        seeds = [torch.Generator().manual_seed(1000 * seed + start + row) for row in range(len(hidden))]
        z = torch.stack([torch.randn(shape[1:], generator=generator) for generator in seeds]).to(device)
        both, before = torch.cat([hidden, nothing.expand_as(hidden)]), None
        for number, at in enumerate(path.times):
            times = torch.full((2 * len(z),), at, device=device)
            with torch.autocast(device.type, torch.bfloat16):
                cond, uncond = models.unet(z.repeat(2, 1, 1, 1), times, both)[0].float().chunk(2)
            (alpha, sigma), following = path.levels[number], path.levels[number + 1]
            denoised = alpha * z - sigma * (uncond + scale * (cond - uncond))
            z = dpm_solver_2m(z, denoised, (alpha, sigma), following, before)
            before = denoised, (alpha, sigma)
        with torch.autocast(device.type, torch.bfloat16):
            pictures += [models.decode(part).float().clamp(0, 1) for part in z.split(16)]
    return torch.cat(pictures)


def run(
    recipe: Recipe,
    pairs: Pairs,
    vqgan: VQModel,
    clip: ClipModel,
    *,
    folder: Path,
    keep: Keep | None = None,
    sheets: Path | None = None,
) -> FlowModels:
    """Train, or go on with, the transformer; `keep` is given what there is at every report, and a sheet is drawn, into
    `sheets` or else the folder. Returns what draws."""
    torch.manual_seed(recipe.seed)
    device, clip = pairs.device, clip.to(pairs.device)
    vqgan = vqgan.to(device).eval().requires_grad_(False)
    bank = fill(recipe, pairs, vqgan)
    config = configuration(recipe, bank, pairs.styles, clip)
    network, averaged = (FlowTransformer(config).to(device) for _ in range(2))
    whole = bank.z[:20_000].float()
    network.mean.copy_(whole.mean(dim=(0, 2, 3))[:, None, None])
    network.deviation.copy_(whole.std(dim=(0, 2, 3))[:, None, None] + 1e-4)
    average = Average(network, 0.999)
    optimiser = torch.optim.AdamW(network.parameters(), recipe.rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    called: Any = torch.compile(network) if recipe.compile else network

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * schedule(progress)
        here = on_device(generator, device)
        drawn = torch.randint(len(bank.row), (recipe.batch,), generator=here, device=device)
        rows = bank.row[drawn]
        z = (bank.z[drawn].float() - network.mean) / network.deviation
        hidden = words(clip, pairs.tokens[pairs.said(rows, here)])
        chance = torch.rand(2, recipe.batch, generator=here, device=device)
        style = torch.where(chance[0] < DROP_STYLE, len(pairs.styles), pairs.style[rows])
        hidden = network.hidden(hidden * (chance[1] >= DROP_TEXT)[:, None, None], style)
        loss = flow_loss(called, z, hidden, here)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average.update()
        return {"loss": loss.detach()}

    def newest() -> FlowModels:
        averaged.load_state_dict(average.values)
        return flow_models(averaged.eval().requires_grad_(False), vqgan, clip)

    def report(number: int) -> None:
        models = newest()
        notes = {"steps": number, "pictures": number * recipe.batch, "bank": len(bank.row)}
        print(NAME, notes, flush=True)
        if keep is not None:
            keep(NAME, dict(average.values), {"config": config, "notes": notes})
        styles = (None, *pairs.styles[: recipe.sheet_styles])
        rows = [sample(models, SHEET, [style] * len(SHEET), 0, recipe.sheet_steps) for style in styles]
        sheet(rows, (sheets or folder) / f"{NAME}-sheet.png", upscale=1)

    train(
        step,
        {"network": network, "average": average, "optimiser": optimiser},
        name=NAME,
        folder=folder,
        budget=recipe.budget,
        seed=recipe.seed,
        report=report,
        report_minutes=recipe.report_minutes,
    )
    return newest()


def load_vqgan(folder: Path) -> VQModel:
    """The one that `unit_vqgan` left there. Raises FileNotFoundError."""
    weights, told = read_parts(folder, "vqgan")
    model = VQModel(told["config"])
    model.load_state_dict(weights, strict=True)
    return model.eval().requires_grad_(False)


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe(), gpu=GPU, own_folder=True, exports=False)
    pairs = pairs_module.load_of(recipe.side, folders.data)
    vqgan = load_vqgan(folders.run)
    run(
        recipe,
        pairs,
        vqgan,
        load_clip(),
        folder=folders.run,
        keep=partial(write_parts, folders.run),
    )


if __name__ == "__main__":
    main()
