"""What training spoils, as drafts are spoilt: codes replaced by near ones, pictures blurred and coded."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from generator.models.vqgan import VQModel
from generator.training.patches import PatchCoder

DISTURBED, NEIGHBOURS = 0.06, 12  # share of codes replaced by a near one, and how many are near


def neighbours_of(codebook: torch.Tensor) -> torch.Tensor:
    """The nearest other codes of each, (n_embed, NEIGHBOURS)."""
    return torch.cdist(codebook, codebook).topk(NEIGHBOURS + 1, largest=False).indices[:, 1:]


def disturb(
    codes: torch.Tensor, neighbours: torch.Tensor, generator: torch.Generator, share: float = DISTURBED
) -> torch.Tensor:
    """codes (B, g, g), `share` of them replaced by a near one."""
    near = neighbours[codes, torch.randint(NEIGHBOURS, codes.shape, generator=generator)]
    return torch.where(torch.rand(codes.shape, generator=generator) < share, near, codes)


def spoil(
    images: torch.Tensor, vqgan: VQModel, coder: PatchCoder, neighbours: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """images (B, 3, R, R) in [0, 1] as drafts are: blurred, through codes of which some are near ones instead."""
    soft, again = torch.rand(2, len(images), 1, 1, 1, generator=generator)
    blurred = F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    blurred = torch.where(again < 0.5, F.avg_pool2d(blurred, 3, 1, 1, count_include_pad=False), blurred)
    codes = disturb(coder.codes(images.lerp(blurred, soft)), neighbours, generator)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return vqgan.decode(vqgan.codes_to_z(codes)).float().clamp(0, 1)
