"""Train the finisher, a drawn picture to a clean one: `python -m generator.training.finish --minutes 34`.

It learns to give art back: that which `finish_examples` let VQGAN + CLIP go on from, and more of it as codes leave it.
The loss is the difference of pixels and of what the embedded CLIP's first layers see in them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from generator.models.clip import ClipModel, load_mini
from generator.models.efficientnet import same
from generator.models.finisher import Finisher
from generator.models.packing import pack
from generator.models.vqgan import VQGAN
from generator.models.vqgan import load_mini as load_vqgan
from generator.training import data
from generator.training.codes import STYLE_WEIGHTS, concept_weight
from generator.training.finish_examples import spoil
from generator.training.patches import PatchCoder, load_or_fit
from generator.training.run import Average, Budget, command_line, schedule, sheet, train, write
from generator.training.vqgan import neighbours_of

RATE = 6e-4
DRAWN, SPOILED = 12, 8  # of each kind in a batch
SHAPE = {"width": 48, "deep": 96, "blocks": 2, "told": 64}
ANY = 0.1  # share that is given back without being told its style
LOOKS, LAYERS = 0.6, (0, 2, 4)  # weight of what CLIP sees, and after which blocks


def seen(clip: ClipModel, images: torch.Tensor) -> list[torch.Tensor]:
    """What the first layers of the embedded CLIP see in images (B, 3, H, W) in [0, 1]."""
    tower, maps = clip.network.visual, []
    images = F.interpolate(images, (clip.resolution,) * 2, mode="bilinear")
    images = (images - clip.mean) / clip.std * tower.scale + tower.shift
    x = F.relu6(same(tower.stem, images.contiguous(memory_format=torch.channels_last)))
    for number, block in enumerate(tower.blocks[: LAYERS[-1] + 1]):
        x = block(x)
        if number in LAYERS:
            maps.append(x.float())
    return maps


def look_gap(clip: ClipModel, made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """How differently they look, about 1 for pictures that have nothing in common."""
    with torch.no_grad():
        known = seen(clip, wanted)
    gaps = [
        (m - k).abs().mean() / (k - k.mean((2, 3), True)).abs().mean()
        for m, k in zip(seen(clip, made), known, strict=True)
    ]
    return torch.stack(gaps).mean()


def run(
    pictures: data.Pictures,
    clip: ClipModel,
    vqgan: VQGAN,
    coder: PatchCoder,
    folder: Path,
    budget: Budget,
    rate: float = RATE,
    shape: dict[str, int] = SHAPE,
    show_on: Callable[[Finisher, Path], None] | None = None,
    output: Path | None = None,
    seed: int = 0,
    stop_after: int | None = None,
) -> Finisher:
    """Train, or go on with, one finisher; the examples are read from `folder` again and again, as they grow."""
    torch.manual_seed(seed)
    names = [style for style in STYLE_WEIGHTS if style in pictures.styles]
    config = {"styles": names, **shape}
    finisher = Finisher(config)
    average = Average(finisher, 0.998)
    optimiser = torch.optim.AdamW(finisher.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    number_of = np.array([names.index(style) if style in names else len(names) for style in pictures.styles])
    wanted_often = np.array([concept_weight(concept) for concept in pictures.concepts])
    rows = np.flatnonzero(pictures.train & (wanted_often[pictures.concept] > 0))
    neighbours = neighbours_of(coder.codebook)
    clip.network.visual.to(memory_format=torch.channels_last)
    drawn: dict[str, torch.Tensor] = {}

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = rate * schedule(progress)
        if number % 200 == 0 or not drawn:
            drawn.update(torch.load(folder / "finish-examples.pt", weights_only=True))
        pick = torch.randint(len(drawn["images"]), (DRAWN,), generator=generator)
        more = torch.from_numpy(rows)[torch.randint(len(rows), (SPOILED,), generator=generator)]
        chosen = torch.cat([drawn["rows"][pick], more]).numpy()
        wanted = data.composite(torch.from_numpy(pictures.rgba[chosen]), torch.ones(len(chosen), 3))
        worse = torch.cat(
            [drawn["images"][pick].float() / 255, spoil(wanted[DRAWN:], vqgan, coder, neighbours, generator)]
        )
        if torch.rand((), generator=generator) < 0.5:
            wanted, worse = wanted.flip(3), worse.flip(3)
        style = torch.from_numpy(number_of[pictures.style[chosen]])
        told = torch.where(torch.rand(len(style), generator=generator) < ANY, len(names), style)
        with torch.autocast("cpu", torch.bfloat16):
            made = finisher(worse, told)
            looks = look_gap(clip, made, wanted)
        near = (made - wanted).abs().mean()
        optimiser.zero_grad(set_to_none=True)
        (10 * near + LOOKS * looks).backward()
        nn.utils.clip_grad_norm_(finisher.parameters(), 1.0)
        optimiser.step()
        average.update()
        was = (worse - wanted).abs().mean()
        return {name: float(value.detach()) for name, value in (("near", near), ("was", was), ("looks", looks))}

    def report(number: int) -> None:
        averaged = Finisher(config)
        averaged.load_state_dict(average.values)
        averaged.eval()
        notes: dict[str, Any] = {
            "steps": number,
            "samples": number * (DRAWN + SPOILED),
            "examples": len(drawn["images"]),
        }
        unseen = np.flatnonzero(pictures.unseen_concept)
        if len(unseen):
            wanted = data.composite(torch.from_numpy(pictures.rgba[unseen]), torch.ones(len(unseen), 3))
            worse = spoil(wanted, vqgan, coder, neighbours, torch.Generator().manual_seed(1))
            style = torch.from_numpy(number_of[pictures.style[unseen]])
            with torch.no_grad():
                made = torch.cat([averaged(*part) for part in zip(worse.split(64), style.split(64), strict=True)])
                for name, shown in (("_before", worse), ("", made)):
                    psnr = -10 * (shown - wanted).square().mean(dim=(1, 2, 3)).clamp(min=1e-6).log10().mean()
                    looks = look_gap(clip, shown[:128], wanted[:128])
                    notes[f"psnr_unseen{name}"], notes[f"looks_unseen{name}"] = (
                        round(float(psnr), 2),
                        round(float(looks), 3),
                    )
        print("finish", notes, flush=True)
        if output is not None:
            write(output, "mini-finish", pack(average.values), {**config, "notes": notes})
        if show_on is not None:
            show_on(averaged, folder / "finish-sheet.png")

    state: dict[str, Any] = {"finisher": finisher, "average": average, "optimiser": optimiser}
    train(folder, "finish", budget, state, step, report, report_minutes=4, seed=seed, stop_after=stop_after)
    return finisher


def main() -> None:
    arguments = command_line(__doc__, 34).parse_args()
    torch.set_num_threads(1)
    folder, pictures = arguments.data / "runs", data.load(arguments.data)

    def show_on(finisher: Finisher, path: Path) -> None:
        drawn = torch.load(folder / "finish-examples.pt", weights_only=True)
        images, rows = drawn["images"][:24].float() / 255, drawn["rows"][:24].numpy()
        style = torch.tensor([finisher.style_index(pictures.styles[number]) for number in pictures.style[rows]])
        with torch.no_grad():
            made = finisher(images, style)
        sheet([images, made, data.composite(torch.from_numpy(pictures.rgba[rows]), torch.ones(len(rows), 3))], path)

    run(
        pictures,
        load_mini(),
        load_vqgan(),
        load_or_fit(pictures, folder / "patches.pt"),
        folder,
        Budget(minutes=arguments.minutes),
        show_on=show_on,
        output=arguments.output,
    )


if __name__ == "__main__":
    main()
