"""Train the prior from text to VQGAN codes: `python -m generator.training.prior --minutes 60`.

Needs a finished VQGAN and text tower. Cross-entropy on masked codes, cosine mask schedule (MaskGIT); texts are drawn
from each picture's captions, and dropped for classifier-free guidance.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

from generator.prior import Prior, pack
from generator.training import codes, data
from generator.training.patches import load_or_fit
from generator.training.run import Average, Budget, schedule, sheet, train
from generator.training.text import Reader, teach
from generator.vqgan import WEIGHTS

SCALES: dict[str, dict[str, Any]] = {
    "cpu": {"width": 320, "layers": 6, "heads": 5, "code_width": 128, "batch": 32, "rate": 1e-3},
    "gpu": {"width": 640, "layers": 12, "heads": 10, "code_width": 192, "batch": 256, "rate": 6e-4},
}
DROP_TEXT, DROP_STYLE, MIRRORED = 0.12, 0.15, 0.0
ALL_MASKED = 0.65  # of the rows: there the text alone must say the whole picture, the hardest part to learn
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


def configuration(scale: str, n_embed: int, grid: int, text_width: int, styles: list[str]) -> dict[str, Any]:
    choice = {key: value for key, value in SCALES[scale].items() if key not in ("batch", "rate")}
    return {"n_embed": n_embed, "grid": grid, "text_width": text_width, "styles": styles, **choice}


def draw_batch(
    examples: codes.Examples, size: int, styles: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """codes (B, g, g), text vectors (B, W), style numbers (B,), rows without text (B,) bool."""
    rows = torch.multinomial(examples.weight, size, replacement=True, generator=generator)
    mirror = (torch.rand(size, generator=generator) < MIRRORED).long()
    texts = torch.stack(
        [
            examples.captions[row][torch.multinomial(examples.caption_weight[row], 1, generator=generator)[0]]
            for row in rows.tolist()
        ]
    )
    style = examples.style[rows].clone()
    chance = torch.rand(2, size, generator=generator)
    style[chance[0] < DROP_STYLE] = styles
    return examples.codes[rows, mirror].long(), examples.features[texts].float(), style, chance[1] < DROP_TEXT


def masked_loss(
    prior: Prior, batch: tuple[torch.Tensor, ...], generator: torch.Generator
) -> tuple[torch.Tensor, float]:
    """Mean cross-entropy of the masked codes in nats, and the share of them whose best guess is right."""
    wanted, text, style, drop = batch
    share = torch.cos(math.pi / 2 * torch.rand(len(wanted), 1, 1, generator=generator)).clamp(min=0.02)
    share[torch.rand(len(wanted), generator=generator) < ALL_MASKED] = 1.0
    masked = torch.rand(wanted.shape, generator=generator) < share
    with torch.autocast("cpu", torch.bfloat16):
        hidden = prior.hidden(torch.where(masked, prior.n_embed, wanted), text, style, drop)
        scores = prior.logits(hidden[masked])
    loss = F.cross_entropy(scores.float(), wanted[masked])
    return loss, float((scores.detach().argmax(dim=1) == wanted[masked]).float().mean())


def show(prior: Prior, picture_of: Callable[[torch.Tensor], torch.Tensor], features: torch.Tensor, path: Path) -> None:
    """A sheet of PROMPTS: the first style, then the second."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rows = []
        for style, seed in ((0, 0), (1, 1)):
            drawn = prior.sample(features, style, seed, steps=10)
            rows.append(picture_of(drawn))
    sheet(rows, path)


def export(prior: Prior, values: dict[str, torch.Tensor], folder: Path, notes: dict[str, Any]) -> None:
    """Write mini-prior.safetensors (averaged weights, packed) and .json; a layout is added by `layout` afterwards."""
    save_file(pack(values), folder / "mini-prior.safetensors")
    (folder / "mini-prior.json").write_text(json.dumps({**prior.config, "notes": notes}, indent=1) + "\n")


def run(
    seen: codes.Examples,
    unseen: codes.Examples | None,
    config: dict[str, Any],
    folder: Path,
    budget: Budget,
    batch: int = 32,
    rate: float = 1e-3,
    show_on: Callable[[Prior, Path], None] | None = None,
    weights: Path | None = None,
    seed: int = 0,
    stop_after: int | None = None,
    start_from: Path | None = None,
) -> Prior:
    """Train, or go on with, one prior; `show_on` draws a sheet at intervals, `weights` is where exports go."""
    torch.manual_seed(seed)
    prior = Prior(config)
    if start_from is not None:
        prior.load_state_dict(torch.load(start_from, weights_only=True)["parts"]["average"]["values"])
    average = Average(prior, 0.995)
    optimiser = torch.optim.AdamW(prior.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.03, fused=True)
    styles = len(prior.styles)

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
        averaged = Prior(config)
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
        if weights is not None:
            export(prior, average.values, weights, notes)
        if show_on is not None:
            show_on(averaged, folder / f"prior-sheet-{number:06d}.png")

    train(
        folder,
        "prior",
        budget,
        {"prior": prior, "average": average, "optimiser": optimiser},
        step,
        report,
        report_minutes=5,
        seed=seed,
        stop_after=stop_after,
    )
    return prior


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/training"))
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--scale", choices=tuple(SCALES), default="cpu")
    parser.add_argument("--start-from", type=Path, help="a checkpoint of an earlier run whose weights to begin with")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--read", choices=("tower", "teacher"), default="tower", help="what reads the captions")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    folder = arguments.data / "runs"
    coder = load_or_fit(data.load(arguments.data), folder / "patches.pt")
    # the tower reads the texts in use; its teacher's vectors are the same but exact, and there before it
    reader: Callable[[list[str]], torch.Tensor] = Reader(folder) if arguments.read == "tower" else teach
    prepared = folder / f"codes-{arguments.read}.pt"
    if not prepared.is_file():
        codes.save(codes.prepare(data.load(arguments.data), coder, reader), prepared)
    seen, unseen = codes.load(prepared)
    prompts = reader(list(PROMPTS)).float()

    def show_on(prior: Prior, path: Path) -> None:
        show(prior, coder.pictures, prompts, path)

    print(f"{len(seen.codes)} pictures, {len(seen.texts)} texts, read by {reader!r}", flush=True)
    config = configuration(
        arguments.scale, len(coder.codebook), seen.codes.shape[-1], seen.features.shape[1], list(codes.STYLE_WEIGHTS)
    )
    choice = SCALES[arguments.scale]
    run(
        seen,
        unseen,
        config,
        folder,
        Budget(minutes=arguments.minutes),
        choice["batch"],
        choice["rate"],
        show_on,
        WEIGHTS,
        start_from=arguments.start_from,
    )


if __name__ == "__main__":
    main()
