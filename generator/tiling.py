"""Where the tiles of a large picture lie, and how much each counts where two overlap.

Importing this module does not import torch: parameters count the tiles of a job before it is queued.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

GRID = 8  # px: tiles start on the grid of the attention windows, so that a tile sees the windows the whole picture has
TILE = 128  # px of the small picture
TILES = (32, 1024)  # px, the least and the greatest tile one may choose
OVERLAP = 48  # px
MAX_PX = 64_000_000  # of the large picture: 768 MB while it is put together


def overlap_of(tile: int) -> int:
    """px that neighbouring tiles share unless told otherwise: a third of the tile, OVERLAP at most."""
    return min(OVERLAP, tile // 3 // GRID * GRID)


def spans(side: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """(start, end) in px of the tiles along a side; neighbours share `overlap` px, the last may be narrower."""
    starts = [0]
    while starts[-1] + tile < side:
        starts.append(starts[-1] + tile - overlap)
    return [(start, min(start + tile, side)) for start in starts]


def blends(parts: list[tuple[int, int]], side: int, overlap: int, scale: int) -> Tensor:
    """(tiles, scale * side): what each tile counts at each px of the large side; sums to 1 over the tiles.

    A tile counts nothing in the outer third of an overlap, where it lacks what lies around, and more and more in the
    middle third.
    """
    import torch

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
