"""Train the embedded VQGAN on rendered emoji: `python -m generator.training.vqgan --minutes 12`.

Codes come from `patches`; the decoder learns to draw from them, the encoder to give them. Some codes are disturbed in
training, so that the decoder smooths what a prior gets slightly wrong.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from generator.models.vqgan import VQGAN, WEIGHTS
from generator.training import data
from generator.training.patches import PatchCoder, load_or_fit
from generator.training.run import Budget, schedule, sheet, train, write

SCALES: dict[str, dict[str, Any]] = {
    "cpu": {"resolution": 64, "ch": 32, "ch_mult": [1, 1, 3], "batch": 12, "rate": 2e-3},
    "gpu": {"resolution": 128, "ch": 64, "ch_mult": [1, 1, 3], "batch": 64, "rate": 1e-3},
}
DISTURBED, NEIGHBOURS = 0.06, 12  # share of codes replaced by a near one, and how many are near


def configuration(scale: str, n_embed: int = 1024, embed_dim: int = 16) -> dict[str, Any]:
    """A taming `model.params` dict for one of SCALES."""
    choice = SCALES[scale]
    details = {
        "double_z": False,
        "z_channels": 64,
        "resolution": choice["resolution"],
        "in_channels": 3,
        "out_ch": 3,
        "ch": choice["ch"],
        "ch_mult": choice["ch_mult"],
        "num_res_blocks": 1,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    return {"embed_dim": embed_dim, "n_embed": n_embed, "ddconfig": details, "gumbel": False, "norm_groups": 1}


def calm(model: VQGAN) -> None:
    """Start every residual branch at zero: a nearly linear network finds colours and shapes at once."""
    for name, parameter in model.named_parameters():
        if ".conv2." in name or ".proj_out." in name:
            nn.init.zeros_(parameter)


def edge_loss(made: torch.Tensor, wanted: torch.Tensor, levels: int = 3) -> torch.Tensor:
    """L1 between the horizontal and vertical differences of both pictures at several sizes."""
    loss = made.new_zeros(())
    for level in range(levels):
        gap = made - wanted
        loss = loss + gap.diff(dim=2).abs().mean() + gap.diff(dim=3).abs().mean()
        if level < levels - 1:
            made, wanted = F.avg_pool2d(made, 2), F.avg_pool2d(wanted, 2)
    return loss / levels


def shape_loss(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """How far colours, and the edges between them, are from those wanted."""
    gap = made - wanted
    return gap.abs().mean() + 2 * gap.square().mean() + edge_loss(made, wanted)


def neighbours_of(codebook: torch.Tensor) -> torch.Tensor:
    """The nearest other codes of each, (n_embed, NEIGHBOURS)."""
    return torch.cdist(codebook, codebook).topk(NEIGHBOURS + 1, largest=False).indices[:, 1:]


def disturb(codes: torch.Tensor, neighbours: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """codes (B, g, g), the share DISTURBED of them replaced by a near one."""
    near = neighbours[codes, torch.randint(NEIGHBOURS, codes.shape, generator=generator)]
    return torch.where(torch.rand(codes.shape, generator=generator) < DISTURBED, near, codes)


def batch_of(pictures: data.Pictures, rows: np.ndarray, generator: torch.Generator) -> torch.Tensor:
    """Augmented training pictures (B, 3, R, R) in [0, 1]."""
    rgba = torch.from_numpy(pictures.rgba[rows])
    ground = data.backgrounds(len(rows), generator, white=0.85)
    return data.composite(rgba, ground, generator, scale=(0.85, 1.1), shift=0.05, flip=True)


def score(model: VQGAN, coder: PatchCoder, pictures: data.Pictures) -> tuple[dict[str, float], list[torch.Tensor]]:
    """On unseen concepts: PSNR in dB (mean over pictures) from the coder's and from the encoder's codes, the share of
    codes the two agree on; and rows of pictures to look at."""
    model.eval()
    rows = np.flatnonzero(pictures.unseen_concept)[::2]
    wanted = data.composite(torch.from_numpy(pictures.rgba[rows]), torch.ones(len(rows), 3))
    codes = coder.codes(wanted)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        made = torch.cat([model.decode(model.codes_to_z(chunk)).float() for chunk in codes.split(64)])
        own = torch.cat([model.quantise(model.encode(chunk).float())[1] for chunk in wanted.split(64)])
        again = torch.cat([model.decode(model.codes_to_z(chunk)).float() for chunk in own.split(64)])
    model.train()
    notes = {
        "psnr_unseen_concepts": psnr(made, wanted),
        "psnr_through_encoder": psnr(again, wanted),
        "encoder_agrees": round(float((own == codes).float().mean()), 3),
        "codes_used": codes.unique().numel(),
    }
    shown = slice(0, None, max(1, len(rows) // 20))
    return notes, [part[shown][:20] for part in (wanted, coder.pictures(codes), made, again)]


def psnr(made: torch.Tensor, wanted: torch.Tensor) -> float:
    """Peak signal to noise ratio in dB, mean over pictures."""
    gaps = (made - wanted).square().mean(dim=(1, 2, 3)).clamp(min=1e-6)
    return round(float(-10 * torch.log10(gaps).mean()), 2)


def export(model: VQGAN, folder: Path, notes: dict[str, Any]) -> None:
    """Write mini-vqgan.safetensors (fp16) and .json."""
    weights = {key: value.detach().half().contiguous() for key, value in model.state_dict().items()}
    write(folder, "mini-vqgan", weights, {**model.config, "notes": notes})


def run(
    pictures: data.Pictures,
    coder: PatchCoder,
    folder: Path,
    budget: Budget,
    scale: str = "cpu",
    weights: Path | None = None,
    batch: int | None = None,
    stop_after: int | None = None,
    seed: int = 0,
) -> VQGAN:
    """Train, or go on with, encoder and decoder around the coder's codebook."""
    torch.manual_seed(seed)
    choice = SCALES[scale]
    model = VQGAN(configuration(scale, len(coder.codebook), coder.codebook.shape[1]))
    calm(model)
    with torch.no_grad():
        model.codebook.copy_(coder.codebook)
    model.quantize.requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=choice["rate"], betas=(0.9, 0.98), weight_decay=1e-4)
    rows = np.flatnonzero(pictures.train)
    neighbours = neighbours_of(coder.codebook)

    def step(number: int, progress: float, generator: torch.Generator) -> dict[str, float]:
        for group in optimiser.param_groups:
            group["lr"] = choice["rate"] * schedule(progress)
        drawn = rows[torch.randint(len(rows), (batch or choice["batch"],), generator=generator).numpy()]
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
        if weights is not None:
            export(model, weights, notes)

    train(
        folder,
        "vqgan",
        budget,
        {"model": model, "optimiser": optimiser},
        step,
        report if pictures.unseen_concept.any() else None,
        report_minutes=3,
        seed=seed,
        stop_after=stop_after,
    )
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/training"))
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--scale", choices=tuple(SCALES), default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pictures, folder = data.load(arguments.data), arguments.data / "runs"
    run(
        pictures,
        load_or_fit(pictures, folder / "patches.pt"),
        folder,
        Budget(minutes=arguments.minutes),
        arguments.scale,
        WEIGHTS,
    )


if __name__ == "__main__":
    main()
