"""The samples of a run side by side, as one picture."""

from __future__ import annotations

import math

import torch

GAP = 2  # px between two samples, and around all


def sheet(samples: torch.Tensor) -> torch.Tensor:
    """samples: (N, 3, H, W) in [0, 1] -> (3, H', W'), row by row, about as wide as high, white between."""
    count, _, height, width = samples.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    made = torch.ones(3, rows * (height + GAP) + GAP, columns * (width + GAP) + GAP)
    for place, sample in enumerate(samples.float().cpu().clamp(0, 1)):
        top, left = GAP + place // columns * (height + GAP), GAP + place % columns * (width + GAP)
        made[:, top : top + height, left : left + width] = sample
    return made
