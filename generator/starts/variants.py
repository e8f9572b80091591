"""The pictures of one sheet, made to differ: each goes on from another draft, in a pose of its own.

Whoever asks for several pictures of one text wants to choose. A few drafts are drawn; the first picture takes the one
nearest to the text, each further one that which is farthest from those taken so far (Gonzalez 1985, "Clustering to
minimize the maximum intercluster distance"), of those that are near enough to the text. It then stands mirrored, turned
a little, larger or smaller. All follows from the sheet's seed and the picture's number: a picture is the same whoever
draws it, and whatever becomes of the others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from generator.guidance.clip_loss import embedded
from generator.images.debris import paper_of
from generator.models.contracts import Clip, Quantised
from generator.precision import Precision
from generator.starts.pictures import decoded

POOL = 6  # drafts to choose from
SLACK = 0.12  # spherical distance to the text by which a draft may be worse than the best
TURN, SHIFT = 0.16, 0.04  # at most so many radians, and that share of the picture
SMALLEST, LARGEST = 0.8, 1.02
# Texts of what reads wrong in a mirror: sides, signs, single letters and figures.
ONE_WAY = re.compile(
    r"(?i)\b(left|right|leftwards?|rightwards?|clockwise|anticlockwise|arrows?|letters?|numbers?|digits?|words?|text|"
    r"signs?|symbols?|buttons?|clocks?|o'clock|alphabet|keycaps?|notes?|questions?|currency|dollars?|pounds?|euros?|yen|"
    r"flags?|maps?|calendars?|[b-hj-z]|\d+)\b"
)


@dataclass(frozen=True)
class Variant:
    """Picture number `number` of a sheet of that seed and text, counted from 0, and what draws it and sees it."""

    number: int
    seed: int
    text: str
    vqgan: Quantised
    clip: Clip
    precision: Precision

    @classmethod
    def of(cls, params: Any, vqgan: Quantised, clips: Sequence[Clip], precision: Precision) -> Variant | None:
        """What the settings of a drawing say it is; None for one by itself, as for the first of a sheet."""
        if not params.variant:
            return None
        seed = (params.seed - params.variant) % 2**32
        return cls(params.variant, seed, params.prompt, vqgan, clips[0], precision)

    @property
    def seeds(self) -> list[int]:
        """Of the drafts, the same for every picture of the sheet."""
        seeds: list[int] = torch.randint(2**62, (POOL,), generator=torch.Generator().manual_seed(self.seed)).tolist()
        return seeds

    @torch.no_grad()
    def chosen(self, z: Tensor, far: Tensor) -> tuple[int, Tensor]:
        """Which of the drafts z (N, C, g, g) this picture goes on from, and its z in this picture's pose (1, C, g, g).

        far: (N,) their distances to the text.
        """
        images = decoded(z, self.vqgan, self.precision)
        row = self.choose(far.cpu(), embedded(images, self.clip, self.precision).cpu())
        return row, self.vqgan.encode(self.posed(images[row : row + 1]).clamp(0, 1)).float()

    def choose(self, far: Tensor, seen: Tensor) -> int:
        """Which draft it goes on from. far: (N,) distances to the text; seen: (N, D) unit vectors of how they look."""
        nearest_first = far.argsort().tolist()
        near = [row for row in nearest_first if far[row] <= far.min() + SLACK]
        order, gap = near[:1], 1 - seen @ seen.T
        while len(order) < len(near):
            order.append(max((row for row in near if row not in order), key=lambda row: float(gap[row, order].min())))
        order += nearest_first[len(near) :]
        return int(order[self.number % len(order)])

    def posed(self, images: Tensor) -> Tensor:
        """Drafts (N, 3, h, w) in [0, 1] as this picture shows them, on their paper."""
        turn, size, right, down = torch.rand(
            4, generator=torch.Generator().manual_seed(self.seed * 64 + self.number % 64), dtype=torch.float64
        ).tolist()
        angle, scale = torch.tensor((2 * turn - 1) * TURN), SMALLEST + (LARGEST - SMALLEST) * size
        mirror = -1.0 if self.number % 2 and not ONE_WAY.search(self.text) else 1.0
        matrix = torch.tensor(
            [
                [mirror * angle.cos() / scale, -angle.sin() / scale, (2 * right - 1) * 2 * SHIFT],
                [mirror * angle.sin() / scale, angle.cos() / scale, (2 * down - 1) * 2 * SHIFT],
            ]
        ).to(images.device)
        paper = torch.stack([paper_of(image) for image in images])[:, :, None, None]
        grid = F.affine_grid(matrix.expand(len(images), -1, -1), list(images.shape), align_corners=False)
        return paper + F.grid_sample(images - paper, grid, mode="bicubic", padding_mode="zeros", align_corners=False)
