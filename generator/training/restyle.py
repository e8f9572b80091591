"""Train the restyler, one style's drawing to another's: `python -m generator.training.restyle --minutes 90`.

Pairs are things drawn in two styles; what is redrawn is the art itself or the layout's draft of it. The same thing
stands and looks otherwise in every set, so the distance to the target is kept low and loose, and a discriminator that
knows the styles asks for what they look like (hinge loss, Lim and Ye 2017, arXiv:1705.02894; projection, Miyato and
Koyama 2018, arXiv:1802.05637; spectral norm, Miyato et al. 2018, arXiv:1802.05957).
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
from torch.nn.utils.parametrizations import spectral_norm

from generator.models.layout import WEIGHTS, Layout, load_layout
from generator.models.packing import pack
from generator.models.restyle import Restyler
from generator.training import dataset
from generator.training.captions import plain, with_article
from generator.training.codes import STYLE_WEIGHTS, concept_weight, load_material, noisy
from generator.training.command_line import command_line, flag
from generator.training.patches import PatchCoder
from generator.training.run import Average, Budget, schedule, sheet, train, write
from generator.training.text_encoder import TextEncoder

TEXT_NOISE = 0.5  # greatest, in units of a vector's own size
SAME, DRAFT, MIRRORED = 0.15, 0.6, 0.5  # shares: redrawn in its own style, from a draft, flipped left to right
LEVELLING = 0.3  # power of how often a thing is asked for


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the restyler is trained on a finished `layout`; `deep` is the width at half size."""

    budget: Budget = field(default=Budget(minutes=90))
    layout: Path = field(default=WEIGHTS, metadata=flag("folder of mini-layout.safetensors and .json"))
    width: int = 64
    deep: int = 128
    blocks: int = 3
    cond_width: int = 64
    batch: int = 32
    rate: float = 4e-4
    seed: int = 0


@dataclass
class Shown:
    """Things drawn in several styles: codes (2, M, g, g) as drawn and mirrored, style and thing of each row (M,), the
    row of a thing in a style (T, styles) or -1, each thing's text vector (T, W), how often a row is a target (M,)."""

    codes: torch.Tensor
    style: torch.Tensor
    thing: torch.Tensor
    rows: torch.Tensor
    text: torch.Tensor
    weight: torch.Tensor


def shown(
    pictures: dataset.Pictures,
    chosen: np.ndarray,
    targets: np.ndarray,
    coder: PatchCoder,
    encode: Callable[[list[str]], torch.Tensor],
) -> Shown:
    """What of the pictures `chosen` (M,) bool there is to learn from; `targets` (M,) bool of all may be asked for."""
    names = list(STYLE_WEIGHTS)
    number = np.array([names.index(style) if style in names else -1 for style in pictures.styles])[pictures.style]
    wanted = np.array([concept_weight(concept) for concept in pictures.concepts])[pictures.concept]
    rows = np.flatnonzero(chosen & (wanted > 0) & (number >= 0))
    things, thing = np.unique(pictures.concept[rows], return_inverse=True)
    style = torch.from_numpy(number[rows])
    table = torch.full((len(things), len(names)), -1)
    table[torch.from_numpy(thing), style] = torch.arange(len(rows))
    share = torch.tensor(list(STYLE_WEIGHTS.values())).sqrt() / torch.bincount(style, minlength=len(names)).clamp(min=1)
    weight = share[style] * torch.from_numpy(wanted[rows]) ** LEVELLING * torch.from_numpy(targets[rows])

    def codes_of(rgba: np.ndarray) -> torch.Tensor:
        images = dataset.composite(torch.from_numpy(np.ascontiguousarray(rgba)), torch.ones(len(rgba), 3))
        return coder.codes(images).to(torch.int16)

    return Shown(
        torch.stack([codes_of(pictures.rgba[rows]), codes_of(pictures.rgba[rows][:, :, ::-1])]),
        style,
        torch.from_numpy(thing),
        table,
        encode([with_article(plain(pictures.concepts[concept]["label"])) for concept in things]).float(),
        weight,
    )


def draw_pairs(
    examples: Shown, size: int, layout: Layout, codebook: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """z to redraw (B, C, g, g), its style (B,), the style asked for (B,), the z it should become (B, C, g, g)."""
    target = torch.multinomial(examples.weight, size, replacement=True, generator=generator)
    thing, after = examples.thing[target], examples.style[target]
    chance = torch.rand(2, size, generator=generator)
    others = (examples.rows[thing] >= 0).float()
    others.scatter_(1, after[:, None], 1e-6)  # where there is no other
    before = torch.multinomial(others, 1, generator=generator)[:, 0]
    before = torch.where(chance[0] < SAME, after, before)
    mirrored = int(torch.rand((), generator=generator) < MIRRORED)
    drawn = examples.codes[mirrored]
    art, wanted = (codebook[drawn[rows].long()] for rows in (examples.rows[thing, before], target))
    text = noisy(examples.text[thing], TEXT_NOISE, generator)
    with torch.no_grad():
        draft = layout(text, before).permute(0, 2, 3, 1)
    # The layout draws no mirrored things; a picture that is to become itself teaches nothing.
    sketch = ((chance[1] < DRAFT) | (before == after)) & (mirrored == 0)
    source = torch.where(sketch[:, None, None, None], draft, art)
    down, right = torch.randint(3, (2,), generator=generator).tolist()
    moved = F.pad(torch.cat([source, wanted]).permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate")
    height, width = drawn.shape[1:]
    source, wanted = moved[:, :, down : down + height, right : right + width].contiguous().chunk(2)
    return source, before, after, wanted


class Discriminator(nn.Module):
    """How real z look as drawings in a style, from near and from further off."""

    def __init__(self, channels: int, styles: int, width: int) -> None:
        super().__init__()
        self.near = nn.ModuleList(
            spectral_norm(nn.Conv2d(before, width, 3, padding=1)) for before in (channels, width, width)
        )
        self.far = nn.ModuleList(
            [
                spectral_norm(nn.Conv2d(width, 2 * width, 4, 2, 1)),
                spectral_norm(nn.Conv2d(2 * width, 2 * width, 3, padding=1)),
                spectral_norm(nn.Conv2d(2 * width, 2 * width, 4, 2, 1)),
            ]
        )
        self.heads = nn.ModuleList(spectral_norm(nn.Conv2d(size, 1, 1)) for size in (width, 2 * width))
        self.styles = nn.ModuleList(spectral_norm(nn.Embedding(styles, size)) for size in (width, 2 * width))

    def forward(self, z: torch.Tensor, style: torch.Tensor) -> list[torch.Tensor]:
        """z (B, C, h, w), style (B,) -> scores (B, 1, h, w) and (B, 1, h/4, w/4)."""
        scores = []
        for part, head, styles in zip((self.near, self.far), self.heads, self.styles, strict=True):
            for conv in part:
                z = F.leaky_relu(conv(z), 0.2)
            scores.append((head(z) + (z * styles(style)[:, :, None, None]).sum(dim=1, keepdim=True)).float())
        return scores


def loose_gap(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference, half of it of 2 x 2 means."""
    return ((made - wanted).abs().mean() + (F.avg_pool2d(made, 2) - F.avg_pool2d(wanted, 2)).abs().mean()) / 2


def run(
    recipe: Recipe,
    seen: Shown,
    layout: Layout,
    *,
    coder: PatchCoder,
    folder: Path,
    unseen: Shown | None = None,
    output: Path | None = None,
    show_on: Callable[[Restyler, Path], None] | None = None,
) -> Restyler:
    """Train, or go on with, one restyler; `show_on` draws a sheet at intervals, `output` is where exports go."""
    torch.manual_seed(recipe.seed)
    codebook, channels = coder.codebook, coder.codebook.shape[1]
    shape = {"width": recipe.width, "deep": recipe.deep, "blocks": recipe.blocks, "told": recipe.cond_width}
    config = {"z_channels": channels, "styles": list(layout.styles), **shape}
    restyler = Restyler(config)
    critic = Discriminator(channels, len(layout.styles), recipe.width * 3 // 2)
    average = Average(restyler, 0.998)
    optimiser, critic_optimiser = (
        torch.optim.Adam(part.parameters(), lr=recipe.rate, betas=(0.5, 0.95)) for part in (restyler, critic)
    )

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in (*optimiser.param_groups, *critic_optimiser.param_groups):
            group["lr"] = recipe.rate * schedule(progress)
        source, before, after, wanted = draw_pairs(seen, recipe.batch, layout, codebook, generator)
        with torch.autocast("cpu", torch.bfloat16):
            made = restyler(source, before, after)
        drawn = codebook[coder.quantised(made.detach())].permute(0, 3, 1, 2)
        straight = made + (drawn - made).detach()  # the critic sees codes, as the decoder will
        with torch.autocast("cpu", torch.bfloat16):
            real, fake = critic(wanted, after), critic(drawn, after)
        critic_loss = sum(F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(real, fake, strict=True))
        assert isinstance(critic_loss, torch.Tensor)
        critic_optimiser.zero_grad(set_to_none=True)
        critic_loss.backward()
        critic_optimiser.step()
        critic.requires_grad_(False)
        with torch.autocast("cpu", torch.bfloat16):
            scores = critic(straight, after)
        critic.requires_grad_(True)
        adversarial = -torch.stack([score.mean() for score in scores]).sum()
        gap, off = loose_gap(made, wanted), (made - drawn).square().mean()
        optimiser.zero_grad(set_to_none=True)
        (min(1.0, number / 300) * adversarial + 12 * gap + 2 * off).backward()
        nn.utils.clip_grad_norm_(restyler.parameters(), 5.0)
        optimiser.step()
        average.update()
        return {name: float(value.detach()) for name, value in (("gap", gap), ("critic", critic_loss), ("off", off))}

    def report(number: int) -> None:
        averaged = Restyler(config)
        averaged.load_state_dict(average.values)
        averaged.eval()
        notes: dict[str, Any] = {"steps": number, "samples": number * recipe.batch}
        for name, examples in (("seen", seen), ("unseen", unseen)):
            if examples is None or not bool(examples.weight.sum() > 0):
                continue
            generator = torch.Generator().manual_seed(1)
            with torch.no_grad():
                pairs = [draw_pairs(examples, 64, layout, codebook, generator) for _ in range(4)]
                gaps = [float(loose_gap(averaged(z, before, after), wanted)) for z, before, after, wanted in pairs]
                as_it_was = [float(loose_gap(z, wanted)) for z, _, _, wanted in pairs]
            notes[f"gap_{name}"] = round(sum(gaps) / 4, 4)
            notes[f"gap_{name}_not_redrawn"] = round(sum(as_it_was) / 4, 4)
        print("restyle", notes, flush=True)
        if output is not None:
            write(output, "mini-restyle", pack(average.values), {**config, "notes": notes})
        if show_on is not None:
            show_on(averaged, folder / "restyle-sheet.png")

    parts: dict[str, Any] = {"restyler": restyler, "critic": critic, "average": average}
    parts |= {"makes": optimiser, "judges": critic_optimiser}
    train(
        step,
        parts,
        name="restyle",
        folder=folder,
        budget=recipe.budget,
        seed=recipe.seed,
        report=report,
        report_minutes=7,
    )
    return restyler


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe())
    torch.set_num_threads(1)
    layout, material = load_layout("cpu", recipe.layout), load_material(folders.data)
    coder, prompts = material.coder, material.prompts
    pictures, encode = dataset.load(folders.data), TextEncoder(folders.shared)
    known = pictures.train | pictures.unseen_style
    styles = range(len(layout.styles))

    def show_on(restyler: Restyler, path: Path) -> None:
        numbers = [torch.full((len(prompts),), style) for style in styles]
        with torch.no_grad():
            drafts = layout(prompts, numbers[0])
            rows = [coder.pictures(coder.quantised(restyler(drafts, numbers[0], number))) for number in numbers]
        sheet([coder.pictures(coder.quantised(drafts)), *rows], path)

    run(
        recipe,
        shown(pictures, pictures.train, pictures.train, coder, encode),
        layout,
        coder=coder,
        folder=folders.run,
        unseen=shown(pictures, known, pictures.unseen_style, coder, encode),
        output=folders.output,
        show_on=show_on,
    )


if __name__ == "__main__":
    main()
