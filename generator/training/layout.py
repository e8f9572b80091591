"""Train the layout, text to a whole picture's z: `python -m generator.training.layout --minutes 30`.

Pictures are told in shares of their principal components, so a step sees whole pictures and costs no convolution:
minutes are enough for hundreds of rounds over the training set.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from generator.models.layout import Layout
from generator.models.packing import pack
from generator.training import codes, data
from generator.training.codes import draw_batch
from generator.training.patches import PatchCoder, load_or_fit
from generator.training.run import Average, Budget, command_line, schedule, sheet, train, write
from generator.training.text import Reader

BATCH, RATE, TEXT_NOISE, CONTENT_NOISE = 512, 1.5e-3, 0.15, 0.1
WIDTH, CONTENT, COMPONENTS = 1024, 256, 512
LEVELLING = 0.6  # power of how often a picture is to be drawn: rare ones come more often than their weight says
WHITENING = 0.25  # power of a component's variance its error is divided by: 0 counts px, 1 every component alike


PROMPTS = (
    "a red heart",
    "a smiling face with sunglasses",
    "a green tree",
    "a banana",
    "a blue car",
    "a slice of pizza",
    "a house with a garden",
    "a dog",
    "a rocket",
    "a cat",
    "a happy robot",
    "a flying saucer",
    "a fish",
    "a golden crown",
    "a penguin",
    "a strawberry",
    "a bicycle",
    "a frog",
    "a light bulb",
    "a soccer ball",
)


def configuration(z_channels: int, grid: int, text_width: int, styles: list[str], components: int) -> dict[str, Any]:
    shape = {"width": WIDTH, "content": CONTENT, "components": components}
    return {"z_channels": z_channels, "grid": grid, "text_width": text_width, "styles": styles, **shape}


def flat_z(codebook: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """codes (B, g, g) -> z (B, g * g * z_channels), the channels of a place side by side."""
    return codebook[chosen.long()].flatten(1)


def principal(layout: Layout, z: torch.Tensor) -> torch.Tensor:
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
def guesses(layout: Layout, codebook: torch.Tensor, text: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """The likeliest codes (B, g, g)."""
    with torch.autocast("cpu", torch.bfloat16):
        z = layout(text, style)
    return layout.scores(z, codebook).argmax(dim=3)


def run(
    seen: codes.Examples,
    unseen: codes.Examples | None,
    codebook: torch.Tensor,
    config: dict[str, Any],
    folder: Path,
    budget: Budget,
    batch: int = BATCH,
    show_on: Callable[[Layout, Path], None] | None = None,
    output: Path | None = None,
    seed: int = 0,
    stop_after: int | None = None,
) -> Layout:
    """Train, or go on with, a layout by squared error; `output` is where exports go."""
    torch.manual_seed(seed)
    layout = Layout(config)
    wanted = principal(layout, flat_z(codebook, seen.codes))
    torch.manual_seed(seed)
    average = Average(layout, 0.998)
    optimiser = torch.optim.AdamW(layout.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    styles, size = len(config["styles"]), wanted.shape[1]
    matters = layout.deviation.square().pow(1 - WHITENING)
    matters = matters / matters.mean()
    drawn = codes.levelled(seen, LEVELLING)

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = RATE * schedule(progress)
        rows, text, style, drop = codes.draw_rows(drawn, batch, styles, generator)
        text = text + TEXT_NOISE * text.shape[1] ** -0.5 * torch.randn(text.shape, generator=generator)
        text[drop] = 0.0
        with torch.autocast("cpu", torch.bfloat16):
            content = layout.content(text)
            content = content + CONTENT_NOISE * torch.randn(content.shape, generator=generator)
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
        notes: dict[str, Any] = {"steps": number, "samples": number * batch}
        for name, examples in (("seen", seen), ("unseen", unseen)):
            if examples is not None and len(examples.codes):
                chosen, text, style, _ = draw_batch(examples, 256, styles, torch.Generator().manual_seed(1))
                right = guesses(averaged, codebook, text, style) == chosen
                notes[f"right_{name}"] = round(float(right.float().mean()), 4)
        print("layout", notes, flush=True)
        if output is not None:
            write(output, "mini-layout", pack(averaged.state_dict()), {**config, "notes": notes})
        if show_on is not None:
            show_on(averaged, folder / "layout-sheet.png")

    train(
        folder,
        "layout",
        budget,
        {"layout": layout, "average": average, "optimiser": optimiser},
        step,
        report,
        report_minutes=5,
        seed=seed,
        stop_after=stop_after,
    )
    return layout


@torch.no_grad()
def sharpness(layout: Layout, codebook: torch.Tensor, examples: codes.Examples) -> torch.Tensor:
    """One over the variance of what the layout misses in z, on these examples."""
    chosen, text, style, _ = draw_batch(examples, 256, len(layout.styles), torch.Generator().manual_seed(2))
    missed = layout(text, style).permute(0, 2, 3, 1) - codebook[chosen]
    return 1 / missed.square().mean()


def material(folder: Path) -> tuple[PatchCoder, codes.Examples, codes.Examples, torch.Tensor]:
    """What this recipe and those after it learn from: the coder, examples seen and unseen, and vectors of PROMPTS."""
    runs = folder / "runs"
    coder, reader = load_or_fit(data.load(folder), runs / "patches.pt"), Reader(runs)
    return coder, *codes.load_or_prepare(folder, coder, reader), reader(list(PROMPTS)).float()


def main() -> None:
    parser = command_line(__doc__, 30)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder, styles = arguments.data / "runs", list(codes.STYLE_WEIGHTS)
    coder, seen, unseen, prompts = material(arguments.data)

    def show_on(layout: Layout, path: Path) -> None:
        numbers = [torch.full((len(prompts),), style) for style in range(len(styles))]
        sheet([coder.pictures(guesses(layout, coder.codebook, prompts, number)) for number in numbers], path)

    z_channels, grid = coder.codebook.shape[1], seen.codes.shape[-1]
    config = configuration(z_channels, grid, seen.features.shape[1], styles, COMPONENTS)
    run(
        seen,
        unseen,
        coder.codebook,
        config,
        folder,
        Budget(minutes=arguments.minutes),
        BATCH,
        show_on,
        arguments.output,
    )


if __name__ == "__main__":
    main()
