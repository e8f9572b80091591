"""CLIP's gradient at what a diffusion is drawing (Dhariwal and Nichol 2021, arXiv:2105.05233, algorithm 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from generator.guidance.clip_loss import along, clip_loss
from generator.guidance.style import StyleGuide
from generator.guidance.targets import Targets
from generator.models.contracts import Clip
from generator.params import Cutouts
from generator.precision import Precision

MAX_GRAD = 0.1  # root mean square of the gradient at z, which has a standard deviation of about 1


class _Guidance(Cutouts):
    """How CLIP sees a picture that it guides."""

    loss: str = "spherical"
    style: str | None = None
    style_weight: float = 0.0


@dataclass
class _Watched:
    params: Any
    targets: Targets
    generator: torch.Generator


def cond_fn(
    x0: Tensor,
    decode: Callable[[Tensor], Tensor],
    targets: Targets,
    clips: Sequence[Clip],
    precision: Precision,
    generator: torch.Generator,
    *,
    scale: float,
    cutn: int,
    micro_batch: int | None,
    style_guide: StyleGuide | None = None,
    style: str | None = None,
    style_weight: float = 0.0,
) -> Tensor:
    """`scale` times the gradient of CLIP's distance to the prompts at each x0 (n, C, h, w), at most MAX_GRAD.

    decode: x0 -> pictures (n, 3, H, W). CLIP sees `cutn` cutouts of each, `micro_batch` at a time, None: all at once;
    they are drawn from the CPU `generator`. With a `style_guide` the distance to the style counts beside the prompts'.
    """
    with torch.enable_grad():
        x0 = x0.detach().requires_grad_()
        pictures = decode(x0)
        seen = pictures.detach().clamp(0, 1).requires_grad_()
        guidance = _Guidance(cutn=cutn, style=style, style_weight=style_weight)
        watched, moving = [_Watched(guidance, targets, generator)] * len(x0), [True] * len(x0)
        clip_loss(seen, watched, moving, clips, precision, micro_batch)
        if style_guide is not None:
            style_guide.style_loss(seen, watched, moving)
        gradient = torch.autograd.grad(along(pictures, seen.grad), x0)[0] * scale
    size = gradient.square().mean((1, 2, 3), keepdim=True).sqrt()
    return gradient * (size.clamp(max=MAX_GRAD) / size.clamp(min=1e-12))
