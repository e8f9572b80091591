"""Train the layout, text to codes place by place: `python -m generator.training.layout --minutes 30`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from generator.layout import WEIGHTS, Layout
from generator.packing import pack
from generator.training import codes, data
from generator.training.codes import draw_batch
from generator.training.patches import load_or_fit
from generator.training.run import Average, Budget, schedule, sheet, train, write
from generator.training.text import Reader

BATCH, PLACES, RATE, NOISE = 128, 48, 1.5e-3, 0.15
WIDTH, RANK = 768, 32


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


def configuration(n_embed: int, grid: int, text_width: int, styles: list[str]) -> dict[str, Any]:
    shape = {"width": WIDTH, "rank": RANK, "depth": 2}
    return {"n_embed": n_embed, "grid": grid, "text_width": text_width, "styles": styles, **shape}


def guesses(layout: Layout, text: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    """The likeliest codes (B, g, g)."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        best = layout(text, style).argmax(dim=2)
    return best.view(len(text), layout.grid, layout.grid)


def run(
    seen: codes.Examples,
    unseen: codes.Examples | None,
    config: dict[str, Any],
    folder: Path,
    budget: Budget,
    show_on: Callable[[Layout, Path], None] | None = None,
    output: Path | None = None,
    seed: int = 0,
    stop_after: int | None = None,
) -> Layout:
    """Train, or go on with, a layout by cross-entropy at random places; `output` is where exports go."""
    torch.manual_seed(seed)
    layout = Layout(config)
    average = Average(layout, 0.995)
    optimiser = torch.optim.AdamW(layout.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    total, styles = layout.grid**2, len(config["styles"])

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = RATE * schedule(progress)
        wanted, text, style, drop = draw_batch(seen, BATCH, styles, generator)
        text = text + NOISE * text.shape[1] ** -0.5 * torch.randn(text.shape, generator=generator)
        text[drop] = 0.0
        places = torch.randperm(total, generator=generator)[:PLACES]
        with torch.autocast("cpu", torch.bfloat16):
            scores = layout(text, style, places)
        wanted = wanted.flatten(1)[:, places]
        loss = F.cross_entropy(scores.float().flatten(0, 1), wanted.flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        average.update()
        right = (scores.detach().argmax(dim=2) == wanted).float().mean()
        return {"loss": float(loss.detach()), "right": float(right)}

    def report(number: int) -> None:
        averaged = Layout(config)
        averaged.load_state_dict(average.values)
        notes: dict[str, Any] = {"steps": number, "samples": number * BATCH}
        for name, examples in (("seen", seen), ("unseen", unseen)):
            if examples is not None and len(examples.codes):
                wanted, text, style, _ = draw_batch(examples, 256, styles, torch.Generator().manual_seed(1))
                notes[f"right_{name}"] = round(float((guesses(averaged, text, style) == wanted).float().mean()), 4)
        print("layout", notes, flush=True)
        if output is not None:
            write(output, "mini-layout", pack(average.values), {**config, "notes": notes})
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/training"))
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="folder for mini-layout.safetensors and .json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.data / "runs"
    coder, reader = load_or_fit(data.load(arguments.data), folder / "patches.pt"), Reader(folder)
    seen, unseen = codes.load_or_prepare(arguments.data, coder, reader)
    styles, prompts = list(codes.STYLE_WEIGHTS), reader(list(PROMPTS)).float()

    def show_on(layout: Layout, path: Path) -> None:
        rows = [
            coder.pictures(guesses(layout, prompts, torch.full((len(prompts),), style))) for style in range(len(styles))
        ]
        sheet(rows, path)

    config = configuration(len(coder.codebook), seen.codes.shape[-1], seen.features.shape[1], styles)
    run(seen, unseen, config, folder, Budget(minutes=arguments.minutes), show_on, arguments.output)


if __name__ == "__main__":
    main()
