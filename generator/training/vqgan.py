"""Train the embedded VQGAN on rendered emoji: `python -m generator.training.vqgan --minutes 12`.

Codes come from `patches`; the decoder learns to draw from them, the encoder to give them. Some codes are disturbed in
training, so that the decoder smooths what a prior gets slightly wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn

from generator.models.vqgan import VQModel
from generator.training import dataset
from generator.training.command_line import command_line
from generator.training.degradation import disturb, neighbours_of
from generator.training.patches import PatchCoder, load_or_fit
from generator.training.reconstruction import batch_of, export, score, shape_loss
from generator.training.run import Budget, schedule, sheet, train


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How encoder and decoder are trained; the pictures are of `resolution` px."""

    budget: Budget = field(default=Budget(minutes=12))
    resolution: int = 64
    ch: int = 32
    ch_mult: tuple[int, ...] = (1, 1, 3)
    batch: int = 12
    rate: float = 2e-3
    seed: int = 0


GPU = Recipe(resolution=128, ch=64, batch=64, rate=1e-3)


def configuration(recipe: Recipe, n_embed: int = 1024, embed_dim: int = 16) -> dict[str, Any]:
    """A taming `model.params` dict."""
    details = {
        "double_z": False,
        "z_channels": 64,
        "resolution": recipe.resolution,
        "in_channels": 3,
        "out_ch": 3,
        "ch": recipe.ch,
        "ch_mult": list(recipe.ch_mult),
        "num_res_blocks": 1,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    return {"embed_dim": embed_dim, "n_embed": n_embed, "ddconfig": details, "gumbel": False, "norm_groups": 1}


def zero_residuals(model: VQModel) -> None:
    """Start every residual branch at zero: a nearly linear network finds colours and shapes at once."""
    for name, parameter in model.named_parameters():
        if ".conv2." in name or ".proj_out." in name:
            nn.init.zeros_(parameter)


def run(
    recipe: Recipe, pictures: dataset.Pictures, coder: PatchCoder, *, folder: Path, output: Path | None = None
) -> VQModel:
    """Train, or go on with, encoder and decoder around the coder's codebook; `output` is where exports go."""
    torch.manual_seed(recipe.seed)
    model = VQModel(configuration(recipe, len(coder.codebook), coder.codebook.shape[1]))
    zero_residuals(model)
    with torch.no_grad():
        model.codebook.copy_(coder.codebook)
    model.quantize.requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=1e-4)
    rows = np.flatnonzero(pictures.train)
    neighbours = neighbours_of(coder.codebook)

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * schedule(progress)
        drawn = rows[torch.randint(len(rows), (recipe.batch,), generator=generator).numpy()]
        wanted = batch_of(pictures, drawn, generator)
        target, codes = coder.z(wanted), disturb(coder.codes(wanted), neighbours, generator)
        with torch.autocast("cpu", torch.bfloat16):
            z = model.encode(wanted)
            made = model.decoder(model.post_quant_conv(model.codes_to_z(codes)))
        made = (made.float() + 1) / 2
        gap = (z.float() - target).square().mean()
        loss = shape_loss(made, wanted) + 0.3 * gap
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        mse = float((made.detach().clamp(0, 1) - wanted).square().mean())
        return {"loss": float(loss.detach()), "psnr": -10 * math.log10(mse + 1e-9), "z_gap": float(gap.detach())}

    def report(number: int) -> None:
        notes, shown = score(model, coder, pictures)
        notes["steps"] = number
        print("vqgan", notes, flush=True)
        sheet(shown, folder / "vqgan-sheet.png")
        if output is not None:
            export(model, output, notes)

    train(
        step,
        {"model": model, "optimiser": optimiser},
        name="vqgan",
        folder=folder,
        budget=recipe.budget,
        seed=recipe.seed,
        report=report if pictures.unseen_concept.any() else None,
        report_minutes=3,
    )
    return model


def main() -> None:
    recipe, folders = command_line(__doc__, Recipe(), gpu=GPU)
    torch.set_num_threads(1)
    pictures = dataset.load(folders.data)
    coder = load_or_fit(pictures, folders.shared / "patches.pt")
    run(recipe, pictures, coder, folder=folders.run, output=folders.output)


if __name__ == "__main__":
    main()
