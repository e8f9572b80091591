"""How well a VQGAN gives pictures back: augmented batches, losses of colours and edges, the score, the export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from generator.models.vqgan import VQModel
from generator.training import dataset
from generator.training.patches import PatchCoder
from generator.training.run import write


def batch_of(pictures: dataset.Pictures, rows: np.ndarray, generator: torch.Generator) -> torch.Tensor:
    """Augmented training pictures (B, 3, R, R) in [0, 1]."""
    rgba = torch.from_numpy(pictures.rgba[rows])
    ground = dataset.backgrounds(len(rows), generator, white=0.85)
    return dataset.composite(rgba, ground, generator, scale=(0.85, 1.1), shift=0.05, flip=True)


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


def psnr(made: torch.Tensor, wanted: torch.Tensor) -> float:
    """Peak signal to noise ratio in dB, mean over pictures."""
    gaps = (made - wanted).square().mean(dim=(1, 2, 3)).clamp(min=1e-6)
    return round(float(-10 * torch.log10(gaps).mean()), 2)


def score(model: VQModel, coder: PatchCoder, pictures: dataset.Pictures) -> tuple[dict[str, float], list[torch.Tensor]]:
    """On unseen concepts: PSNR in dB (mean over pictures) from the coder's and from the encoder's codes, the share of
    codes the two agree on; and rows of pictures to look at."""
    model.eval()
    rows = np.flatnonzero(pictures.unseen_concept)[::2]
    wanted = dataset.composite(torch.from_numpy(pictures.rgba[rows]), torch.ones(len(rows), 3))
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


def export(model: VQModel, folder: Path, notes: dict[str, Any]) -> None:
    """Write mini-vqgan.safetensors (fp16) and .json."""
    weights = {key: value.detach().half().contiguous() for key, value in model.state_dict().items()}
    write(folder, "mini-vqgan", weights, {**model.config, "notes": notes})
