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

from generator.layout import WEIGHTS, Layout, load_layout
from generator.restyle import Restyler, load_restyler

# Spherical distances: what was first drawn in the style asked for is taken where it is no further off than CLEAR; what
# was redrawn, where it is no further off than the best there was before, and LOSS.
CLEAR, LOSS = 0.8, 0.25


@dataclass(frozen=True)
class Drafts:
    """z (N, C, g, g) of the drafts, the text each was told (N, W), and the style it is in (N,)."""

    z: Tensor
    text: Tensor
    style: Tensor


class Drafter(nn.Module):
    """Text to drafts."""

    def __init__(self, layout: Layout, restyler: Restyler) -> None:
        super().__init__()
        self.layout, self.restyler = layout, restyler

    @torch.no_grad()
    def forward(
        self, text: Tensor, seeds: list[int], style: str | None, variety: float, distance: Callable[[Tensor], Tensor]
    ) -> Drafts:
        """The draft of each seed that comes nearest to the prompts.

        text: (W,) as `ClipModel.text_features` gives it; the first seed's draft takes it as it is, each other turns it
        by `variety`. distance: z (N, C, g, g) -> spherical distances (N,). Without a style any will do.
        Raises generator.layout.UnknownStyle.
        """
        styles, device = len(self.layout.styles), text.device
        rows = [torch.randn(len(text), generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        turns = torch.stack(rows).to(device) * len(text) ** -0.5
        turns[0] = 0.0
        told = text.float() + variety * turns
        every = torch.arange(styles, device=device)
        asked = every if style is None else torch.full_like(every, self.layout.style_index(style))
        # One text at a time: products of more rows round otherwise, and a draft must not depend on how many there are.
        drawn = [self.layout(one.expand(styles, -1), every) for one in told]
        far = torch.stack([distance(z) for z in drawn])
        best = far.argmin(dim=1)
        if style is not None:
            redrawn = [self._in_style(z, every, asked) for z in drawn]
            aside = torch.stack([distance(z) for z in redrawn])
            chosen = torch.where(far[:, asked[0]] <= CLEAR, asked[0], aside.argmin(dim=1))
            kept = _of(aside, chosen) <= _of(far, best) + LOSS
            drawn = [new if keep else old for old, new, keep in zip(drawn, redrawn, kept.tolist(), strict=True)]
            best = torch.where(kept, chosen, best)
        z = torch.stack([drafts[which] for drafts, which in zip(drawn, best.tolist(), strict=True)])
        return Drafts(z, told, asked[best])

    def _in_style(self, z: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """z (N, C, g, g) redrawn from the styles `before` in the styles `after`, (N,), where these differ."""
        return torch.where((before == after)[:, None, None, None], z, self.restyler(z, before, after))


def _of(values: Tensor, columns: Tensor) -> Tensor:
    """values (N, M), columns (N,) -> (N,)."""
    return values.gather(1, columns[:, None])[:, 0]


def load_drafter(device: torch.device | str = "cpu", folder: Path = WEIGHTS) -> Drafter:
    """The embedded layout and restyler, fp32, in eval mode, without gradients for their weights."""
    return Drafter(load_layout(device, folder), load_restyler(device, folder)).eval()
