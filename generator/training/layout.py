"""Train the layout, text to a whole picture's z: `python -m generator.training.layout --minutes 30`.

Pictures are given as shares of their principal components, so a step sees whole pictures and costs no convolution:
minutes are enough for hundreds of rounds over the training set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from generator.models.layout import Layout
from generator.models.packing import pack
from generator.training import codes
from generator.training.codes import Material, draw_batch, load_material
from generator.training.command_line import command_line
from generator.training.run import Average, Budget, schedule, sheet, train, write

LEVELLING = 0.6  # power of how often a picture is to be drawn: rare ones come more often than their weight says
WHITENING = 0.25  # power of a component's variance its error is divided by: 0 counts px, 1 every component alike


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the layout is trained; noise is in units of a vector's own size."""

    budget: Budget = field(default=Budget(minutes=30))
    width: int = 1024
    content: int = 256
    components: int = 512
    text_noise: float = 0.15
    content_noise: float = 0.1
    batch: int = 512
    rate: float = 1.5e-3
    seed: int = 0


def configuration(recipe: Recipe, material: Material) -> dict[str, Any]:
    """What Layout is built from."""
    shape = {"width": recipe.width, "content": recipe.content, "components": recipe.components}
    grid, text_width = material.seen.codes.shape[-1], material.seen.features.shape[1]
    z_channels, styles = material.coder.codebook.shape[1], list(codes.STYLE_WEIGHTS)
    return {"z_channels": z_channels, "grid": grid, "text_width": text_width, "styles": styles, **shape}


def flat_z(codebook: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """codes (B, g, g) -> z (B, g * g * z_channels), the channels of a place side by side."""
    return codebook[chosen.long()].flatten(1)


def fit_components(layout: Layout, z: torch.Tensor) -> torch.Tensor:
    """Give the layout the mean and the principal components of z (N, size); each row's shares (N, components)."""
    torch.manual_seed(0)
    count = layout.components.shape[1]
    layout.mean.copy_(z.mean(dim=0))
    centred = z - layout.mean
    axes = torch.pca_lowrank(centred, q=count, center=False, niter=4)[2]
    shares = centred @ axes
    deviation = shares.square().mean(dim=0).sqrt().clamp(min=1e-6)
    layout.components.copy_(axes)
    layout.deviation.copy_(deviation)
    return shares / deviation


@torch.no_grad()
def likeliest(layout: Layout, codebook: torch.Tensor, text: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """The likeliest codes (B, g, g)."""
    with torch.autocast("cpu", torch.bfloat16):
        z = layout(text, style)
    return layout.scores(z, codebook).argmax(dim=3)


@torch.no_grad()
def sharpness(layout: Layout, codebook: torch.Tensor, examples: codes.Examples) -> torch.Tensor:
    """One over the variance of what the layout misses in z, on these examples."""
    chosen, text, style, _ = draw_batch(examples, 256, len(layout.styles), torch.Generator().manual_seed(2))
    missed = layout(text, style).permute(0, 2, 3, 1) - codebook[chosen]
    precision: torch.Tensor = 1 / missed.square().mean()
    return precision


def run(
    recipe: Recipe,
    material: Material,
    *,
    folder: Path,
    output: Path | None = None,
    show_on: Callable[[Layout, Path], None] | None = None,
) -> Layout:
    """Train, or go on with, a layout by squared error; `output` is where exports go, `show_on` draws a sheet."""
    torch.manual_seed(recipe.seed)
    config, codebook = configuration(recipe, material), material.coder.codebook
    seen, unseen = material.seen, material.unseen
    layout = Layout(config)
    wanted = fit_components(layout, flat_z(codebook, seen.codes))
    torch.manual_seed(recipe.seed)
    average = Average(layout, 0.998)
    optimiser = torch.optim.AdamW(layout.parameters(), lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    styles, size = len(config["styles"]), wanted.shape[1]
    matters = layout.deviation.square().pow(1 - WHITENING)
    matters = matters / matters.mean()
    drawn = codes.levelled(seen, LEVELLING)

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * schedule(progress)
        rows, text, style, drop = codes.draw_rows(drawn, recipe.batch, styles, generator)
        text = text + recipe.text_noise * text.shape[1] ** -0.5 * torch.randn(text.shape, generator=generator)
        text[drop] = 0.0
        with torch.autocast("cpu", torch.bfloat16):
            content = layout.content(text)
            content = content + recipe.content_noise * torch.randn(content.shape, generator=generator)
            mixed = layout.shares(content, style)
        gap = (mixed.float() - wanted[rows]).square()
        loss = (gap * matters).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        average.update()
        return {"loss": float(loss.detach()), "gap": float(gap.detach().sum(dim=0).mean()) / size}

    def report(number: int) -> None:
        averaged = Layout(config)
        averaged.load_state_dict(average.values)
        averaged.sharpness.copy_(sharpness(averaged, codebook, unseen if unseen and len(unseen.codes) else seen))
        notes: dict[str, Any] = {"steps": number, "samples": number * recipe.batch}
        for name, examples in (("seen", seen), ("unseen", unseen)):
            if examples is not None and len(examples.codes):
                chosen, text, style, _ = draw_batch(examples, 256, styles, torch.Generator().manual_seed(1))
                right = likeliest(averaged, codebook, text, style) == chosen
                notes[f"right_{name}"] = round(float(right.float().mean()), 4)
        print("layout", notes, flush=True)
        if output is not None:
            write(output, "mini-layout", pack(averaged.state_dict()), {**config, "notes": notes})
        if show_on is not None:
            show_on(averaged, folder / "layout-sheet.png")

    train(
        step,
        {"layout": layout, "average": average, "optimiser": optimiser},
        name="layout",
        folder=folder,
        budget=recipe.budget,
        seed=recipe.seed,
        report=report,
    )
    return layout


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe())
    torch.set_num_threads(1)
    material = load_material(folders.data)
    coder, prompts = material.coder, material.prompts

    def show_on(layout: Layout, path: Path) -> None:
        numbers = [torch.full((len(prompts),), style) for style in range(len(layout.styles))]
        sheet([coder.pictures(likeliest(layout, coder.codebook, prompts, number)) for number in numbers], path)

    run(recipe, material, folder=folders.run, output=folders.output, show_on=show_on)


if __name__ == "__main__":
    main()
