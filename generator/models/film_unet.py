"""A U-Net of two sizes with FiLM in every block (Perez et al. 2018, arXiv:1709.07871), for restyler and finisher."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

GROUPS = 8


class Block(nn.Module):
    """A residual block of two convolutions; the condition scales and shifts the second one's input."""

    def __init__(self, width: int, cond_width: int) -> None:
        super().__init__()
        self.conv_1, self.conv_2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.gain = nn.Linear(cond_width, 2 * width)
        nn.init.zeros_(self.conv_2.weight)

    def forward(self, x: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        """x (B, width, h, w), cond (B, cond_width) -> the shape of x."""
        hidden = self.conv_1(F.silu(F.group_norm(x, GROUPS)))
        scale, shift = self.gain(cond)[:, :, None, None].chunk(2, dim=1)
        changed: torch.Tensor = self.conv_2(F.silu(F.group_norm(hidden, GROUPS) * (1 + scale) + shift))
        return x + changed


class FiLMUNet(nn.Module):
    """The blocks between the first and the last convolution; those two are the subclass's, and the condition."""

    def __init__(self, width: int, deep: int, blocks: int, cond_width: int) -> None:
        """width at full size and `deep` at half, both divisible by 8; blocks: before, after, and half of those between;
        cond_width: numbers of the condition."""
        super().__init__()
        self.first = nn.ModuleList(Block(width, cond_width) for _ in range(blocks))
        self.down, self.up = nn.Conv2d(width, deep, 2, 2), nn.ConvTranspose2d(deep, width, 2, 2)
        self.middle = nn.ModuleList(Block(deep, cond_width) for _ in range(2 * blocks))
        self.last = nn.ModuleList(Block(width, cond_width) for _ in range(blocks))

    def body(self, x: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        """x (B, width, h, w) with h and w even, cond (B, cond_width) -> the shape of x."""
        for block in self.first:
            x = block(x, cond)
        small = self.down(x)
        for block in self.middle:
            small = block(small, cond)
        x = x + self.up(small)
        for block in self.last:
            x = block(x, cond)
        return x
