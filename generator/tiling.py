"""Where the tiles of a large picture lie, and how much each counts where two overlap."""

from __future__ import annotations

import torch
from torch import Tensor


def spans(side: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """(start, end) in px of the tiles along a side; neighbours share `overlap` px, the last may be narrower."""
    starts = [0]
    while starts[-1] + tile < side:
        starts.append(starts[-1] + tile - overlap)
    return [(start, min(start + tile, side)) for start in starts]


def blends(parts: list[tuple[int, int]], side: int, overlap: int, scale: int) -> Tensor:
    """(tiles, scale * side): what each tile counts at each px of the enlarged side; sums to 1 over the tiles.

    A tile counts nothing in the outer third of an overlap, where it lacks what lies around, and more and more in the
    middle third.
    """
    at = (torch.arange(side * scale) + 0.5) / scale
    weights = torch.zeros(len(parts), len(at))
    third = max(overlap / 3, 1e-6)
    for number, (start, end) in enumerate(parts):
        mine = ((at > start) & (at < end)).float()
        if number > 0:
            mine *= ((at - start - third) / third).clamp(0, 1)
        if number < len(parts) - 1:
            mine *= ((end - third - at) / third).clamp(0, 1)
        weights[number] = mine
    return weights / weights.sum(dim=0)
