"""Drafts of a prompt by the embedded layout: in every style, and CLIP says which of them shows what is asked for.

A thing that was never shown in the style asked for is drawn well in another all the same, and the restyler redraws it.
Where too little is left of it, what is asked for comes before its style.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from generator.models.layout import WEIGHTS, Layout, load_layout
from generator.models.restyle import Restyler, load_restyler

# Spherical distances: what was first drawn in the style asked for is taken where it is no further off than CLEAR; what
# was redrawn, where it is no further off than the best there was before, and LOSS.
CLEAR, LOSS = 0.8, 0.4


@dataclass(frozen=True)
class Drafts:
    """z (N, C, g, g) of the drafts, the text vector of each (N, W), and the style to draw it in (N,)."""

    z: Tensor
    text: Tensor
    style: Tensor

    def repeated(self, row: int, times: int, z: Tensor) -> Drafts:
        """One of them so many times, with that z (1, C, g, g)."""
        again = torch.full((times,), row, device=self.z.device)
        return Drafts(z.expand(times, -1, -1, -1).clone(), self.text[again], self.style[again])


class Drafter(nn.Module):
    """Text to drafts."""

    def __init__(self, layout: Layout, restyler: Restyler) -> None:
        super().__init__()
        self.layout, self.restyler = layout, restyler

    @torch.no_grad()
    def forward(
        self,
        text: Tensor,
        seeds: list[int],
        style: str | None,
        variety: float,
        distance: Callable[[Tensor], Tensor],
        show: Callable[[Tensor], None] | None = None,
    ) -> Drafts:
        """The draft of each seed that comes nearest to the prompts.

        text: (W,) as `ClipModel.text_features` gives it; the first seed's draft takes it as it is, each other turns it
        by `variety`. distance: z (N, C, g, g) -> spherical distances (N,). Without a style any will do. show is given
        the first draft, z (1, C, g, g), before the others are drawn.
        Raises UnknownStyle.
        """
        styles, device = len(self.layout.styles), text.device
        rows = [torch.randn(len(text), generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        turns = torch.stack(rows).to(device) * len(text) ** -0.5
        turns[0] = 0.0
        vectors = text.float() + variety * turns
        # One text at a time: products of more rows round otherwise, and a draft must not depend on how many there are.
        number = None if style is None else self.layout.style_index(style)
        drawn = list[tuple[Tensor, int]]()
        for one in vectors:
            drawn.append(self._nearest(one.expand(styles, -1), number, distance))
            if show is not None and len(drawn) == 1:
                show(drawn[0][0][None])
        z, chosen = torch.stack([z for z, _ in drawn]), [style for _, style in drawn]
        return Drafts(z, vectors, torch.tensor(chosen, device=device))

    def _nearest(self, text: Tensor, asked: int | None, distance: Callable[[Tensor], Tensor]) -> tuple[Tensor, int]:
        """text (S, W), a row for every style -> the draft (C, g, g), and the number of the style to draw it in."""
        every = torch.arange(len(text), device=text.device)
        z = self.layout(text, every)
        far = distance(z)
        best = int(far.argmin())
        if asked is None:
            return z[best], best
        enough = far[best] + LOSS
        if far[asked] <= CLEAR:
            return z[asked if far[asked] <= enough else best], asked
        after = torch.full_like(every, asked)
        redrawn = torch.where((every == asked)[:, None, None, None], z, self.restyler(z, every, after))
        aside = distance(redrawn)
        nearest = int(aside.argmin())
        return (redrawn[nearest] if aside[nearest] <= enough else z[best]), asked


def load_drafter(device: torch.device | str = "cpu", folder: Path = WEIGHTS) -> Drafter:
    """The embedded layout and restyler, fp32, in eval mode, without gradients for their weights."""
    return Drafter(load_layout(device, folder), load_restyler(device, folder)).eval()
