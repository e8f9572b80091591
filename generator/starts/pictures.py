"""Pictures to start from that nobody drew, and drafts as pictures, made as large as the picture is to be."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from generator.models.contracts import Quantised
from generator.precision import Precision


def contain(image: Tensor, width: int, height: int) -> Tensor:
    """Scaled up to fit within width x height px, the edge continued where the shape differs: (1, 3, H, W)."""
    scale = min(width / image.shape[3], height / image.shape[2])
    inner = round(image.shape[2] * scale), round(image.shape[3] * scale)
    image = F.interpolate(image.float(), inner, mode="bicubic", antialias=True).clamp(0, 1)
    down, across = height - inner[0], width - inner[1]
    return F.pad(image, (across // 2, across - across // 2, down // 2, down - down // 2), mode="replicate")


def decoded(z: Tensor, vqgan: Quantised, precision: Precision) -> Tensor:
    """Pictures (N, 3, h, w) float32 of z (N, e_dim, h, w), by its nearest codes."""
    with precision.autocast():
        return vqgan.decode(vqgan.quantise(z)[0]).float()


def gradient_picture(width: int, height: int, generator: torch.Generator) -> Tensor:
    """A linear fade between two random colours in a random direction: (3, height, width) in [0, 1]."""
    first, second = torch.rand(2, 3, 1, 1, generator=generator)
    angle = torch.rand((), generator=generator) * 2 * torch.pi
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    along = ((x * angle.cos() + y * angle.sin()) / 2**0.5 + 1) / 2
    return torch.lerp(first.expand(3, height, width), second.expand(3, height, width), along.clamp(0, 1))
