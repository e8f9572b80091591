"""Clouds of Perlin noise to start a picture from (Perlin 1985, "An image synthesizer")."""

from __future__ import annotations

import torch
from torch import Tensor

FADING = 1.5  # each octave is so many times fainter than the one before


def perlin_picture(width: int, height: int, mode: str, generator: torch.Generator) -> Tensor:
    """The mean of coarse and fine clouds, each stretched to the whole range: (3, height, width) in [0, 1].

    mode: "color", "gray", or "mixed": coarse clouds in colour, fine ones grey.
    """
    coarse = _clouds(width, height, 1, 12, 1 if mode == "gray" else 3, generator)
    fine = _clouds(width, height, 4, 8, 3 if mode == "color" else 1, generator)
    return ((coarse + fine) / 2).expand(3, height, width).contiguous()


def _clouds(width: int, height: int, cells: int, octaves: int, channels: int, generator: torch.Generator) -> Tensor:
    """Octaves from `cells` a side up to single px, (channels, height, width) stretched to [0, 1]."""
    total = torch.zeros(channels, height, width)
    for octave in range(octaves):
        if cells > min(width, height):
            break
        total += FADING**-octave * _octave(width, height, cells, channels, generator)
        cells *= 2
    low, high = total.amin((1, 2), keepdim=True), total.amax((1, 2), keepdim=True)
    return (total - low) / (high - low).clamp(min=1e-8)


def _octave(width: int, height: int, cells: int, channels: int, generator: torch.Generator) -> Tensor:
    """Slopes drawn at the corners of cells x cells squares, faded into each other: (channels, height, width)."""
    slopes = torch.randn(2, channels, cells + 1, cells + 1, generator=generator)
    x = (torch.arange(width) + 0.5) / width * cells
    y = ((torch.arange(height) + 0.5) / height * cells)[:, None]
    column, row = x.long().clamp(max=cells - 1), y.long().clamp(max=cells - 1)
    right, down = x - column, y - row
    total = torch.zeros(channels, height, width)
    for j in (0, 1):
        for i in (0, 1):
            across, along = slopes[:, :, row + j, column + i]
            weight = _fade(1 - (right - i).abs()) * _fade(1 - (down - j).abs())
            total += weight * (across * (right - i) + along * (down - j))
    return total


def _fade(t: Tensor) -> Tensor:
    return t * t * (3 - 2 * t)
