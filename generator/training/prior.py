"""Train the prior, which corrects the layout's scores by what is already drawn: `python -m generator.training.prior`.

Needs finished codes, layout and text tower. Cross-entropy on masked codes, cosine mask schedule (MaskGIT); texts are
drawn from each picture's captions, and dropped for classifier-free guidance. The layout is told a text moved by noise,
for it knows the training pictures better than any prompt to come, and draws every other one in another style, so that
the prior learns to redraw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from generator.models.drafts import Drafts
from generator.models.layout import WEIGHTS, Layout, load_layout
from generator.models.packing import pack
from generator.models.prior import Prior
from generator.training import codes
from generator.training.codes import draw_batch, elsewhere, noisy
from generator.training.layout import material
from generator.training.run import Average, Budget, command_line, schedule, sheet, train, write

SCALES: dict[str, dict[str, Any]] = {
    "cpu": {"width": 256, "layers": 4, "heads": 4, "code_width": 96, "batch": 32, "rate": 1e-3},
    "gpu": {"width": 640, "layers": 12, "heads": 10, "code_width": 192, "batch": 256, "rate": 6e-4},
}
TEXT_NOISE = 0.9  # greatest, in units of a vector's own size
ALL_MASKED = 0.35  # of the rows


def masked_loss(
    prior: Prior, batch: tuple[torch.Tensor, ...], generator: torch.Generator
) -> tuple[torch.Tensor, float]:
    """Mean cross-entropy of the masked codes in nats, and the share of them whose best guess is right."""
    wanted, text, style, drop = batch
    share = torch.cos(math.pi / 2 * torch.rand(len(wanted), 1, 1, generator=generator)).clamp(min=0.02)
    share[torch.rand(len(wanted), generator=generator) < ALL_MASKED] = 1.0
    masked = torch.rand(wanted.shape, generator=generator) < share
    read = noisy(text, TEXT_NOISE, generator)
    read[drop] = 0.0
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            drafts = prior.layout(read, elsewhere(style, len(prior.layout.styles), generator))
            suggested = prior.layout.scores(drafts, prior.codebook)
        scores = prior(torch.where(masked, prior.n_embed, wanted), suggested, read, style)[masked]
    loss = F.cross_entropy(scores.float(), wanted[masked])
    return loss, float((scores.detach().argmax(dim=1) == wanted[masked]).float().mean())


def run(
    seen: codes.Examples,
    unseen: codes.Examples | None,
    layout: Layout,
    codebook: torch.Tensor,
    config: dict[str, Any],
    folder: Path,
    budget: Budget,
    batch: int = 32,
    rate: float = 1e-3,
    show_on: Callable[[Prior, Path], None] | None = None,
    output: Path | None = None,
    seed: int = 0,
    stop_after: int | None = None,
) -> Prior:
    """Train, or go on with, one prior; `show_on` draws a sheet at intervals, `output` is where exports go."""
    torch.manual_seed(seed)
    prior = Prior(config, layout, codebook)
    average = Average(prior, 0.995)
    optimiser = torch.optim.AdamW(prior.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.03, fused=True)
    styles = len(layout.styles)

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = rate * schedule(progress)
        loss, right = masked_loss(prior, draw_batch(seen, batch, styles, generator), generator)
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
        notes: dict[str, Any] = {"steps": number, "samples": number * batch}
        for name, examples in (("seen", seen), ("unseen", unseen)):
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
        folder,
        "prior",
        budget,
        {"prior": prior, "average": average, "optimiser": optimiser},
        step,
        report,
        report_minutes=7,
        seed=seed,
        stop_after=stop_after,
    )
    return prior


def main() -> None:
    parser = command_line(__doc__, 20, SCALES)
    parser.add_argument("--layout", type=Path, default=WEIGHTS, help="folder of mini-layout.safetensors and .json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder, layout = arguments.data / "runs", load_layout("cpu", arguments.layout)
    coder, seen, unseen, prompts = material(arguments.data)

    every = [torch.full((len(prompts),), style) for style in range(len(layout.styles))]

    def show_on(prior: Prior, path: Path) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            drafts = [Drafts(layout(prompts, style), prompts, style) for style in every]
            rows = [coder.pictures(prior.sample(each, [1] * len(prompts))) for each in drafts]
        sheet(rows, path)

    choice = SCALES[arguments.scale]
    config = {key: choice[key] for key in ("width", "layers", "heads", "code_width")}
    run(
        seen,
        unseen,
        layout,
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
