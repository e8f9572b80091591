"""Drafts of a prompt by the embedded layout: in every style, and CLIP says which of them shows what is asked for.

A thing that was never shown in the style asked for is drawn sharply in another all the same. The prior and the latent
diffusion take it from there; little of the style asked for comes back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from generator.layout import Layout

FAVOUR = 0.15  # of the spherical distance: what a draft in the style asked for may be further from the prompt


@dataclass(frozen=True)
class Drafts:
    """z (N, C, g, g) of the drafts, the text each was told (N, W), and the style to draw it in (N,)."""

    z: Tensor
    text: Tensor
    style: Tensor


@torch.no_grad()
def draft(
    layout: Layout,
    text: Tensor,
    seeds: list[int],
    style: str | None,
    variety: float,
    distance: Callable[[Tensor], Tensor],
) -> Drafts:
    """The draft of each seed that comes nearest to the prompts.

    text: (W,) as `ClipModel.text_features` gives it; the first seed's draft takes it as it is, each other turns it by
    `variety`. distance: z (N, C, g, g) -> spherical distances (N,). Without a style each is drawn in the draft's own.
    Raises generator.layout.UnknownStyle.
    """
    styles, device = len(layout.styles), text.device
    rows = [torch.randn(len(text), generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    turns = torch.stack(rows).to(device) * len(text) ** -0.5
    turns[0] = 0.0
    told = text.float() + variety * turns
    every = torch.arange(styles, device=device)
    # One text at a time: products of more rows round otherwise, and a draft must not depend on how many there are.
    z = torch.cat([layout(one.expand(styles, -1), every) for one in told])
    far = torch.stack([distance(part) for part in z.split(styles)])
    if style is not None:
        far[:, layout.style_index(style)] -= FAVOUR
    best = far.argmin(dim=1)
    asked = best if style is None else torch.full_like(best, layout.style_index(style))
    return Drafts(z[torch.arange(len(seeds), device=device) * styles + best], told, asked)
