"""A denoiser, a CLIP and an engine small enough to take a step in milliseconds, at random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from generator.engines.guided_diffusion import GuidedDiffusion
from generator.engines.guided_diffusion_slot import GuidedDiffusionSlot
from generator.models.clip import ClipModel
from generator.models.contracts import Denoiser
from generator.params import GuidedDiffusionParams
from generator.registry import CHECKPOINTS
from generator.tokens import openai_clip

SMALL: dict[str, Any] = {
    "unshuffle": 2,
    "channels": [16, 16],
    "layers": 1,
    "attention": [1],
    "head_width": 8,
    "norm_groups": 4,
    "prediction": "v",
    "schedule": "cosine",
    "timesteps": 100,
    "styles": ["noto", "twemoji"],
}


class SmallClip(ClipModel):
    """A CLIP of one layer at random weights; with `reads` its texts can be read as the embedded models read them."""

    def __init__(self, resolution: int = 16, patch: int = 4, name: str = "small", reads: bool = False) -> None:
        super().__init__(openai_clip("model").CLIP(16, resolution, 1, 64, patch, 77, 49408, 64, 1, 1), name)
        if reads:
            self.source_projection = torch.randn(64, 16)


def disco(**values: Any) -> GuidedDiffusionParams:
    """What the real checkpoints start from, at 16 x 16 px."""
    real = {**CHECKPOINTS["guided-diffusion-256"].defaults, "checkpoint": "mini-diffusion", "style": None}
    start = {"init": "image" if values.get("init_image") else "noise"}
    small = {"prompt": "a castle", "seed": 1, "width": 16, "height": 16}
    return GuidedDiffusionParams(**{**real, **start, **small, **values})


class TargetGuided(GuidedDiffusion):
    """Guided by the squared distance to one picture in place of CLIP, which another program can compute as well."""

    SCALE = 0.01

    @staticmethod
    def target(x: Tensor) -> Tensor:
        return torch.linspace(-1, 1, x[0].numel()).view_as(x[:1])

    @classmethod
    def run(cls, unet: Denoiser, steps: int = 5, seed: int = 0) -> Tensor:
        """The picture (1, 3, 16, 16) at the end of a run with the settings of Disco Diffusion."""
        engine = cls(unet, [SmallClip()], precision=torch.float32)
        slot = engine.open(disco(steps=steps, seed=seed, cutn_batches=1))
        while not slot.done:
            engine.advance([slot])
        return slot.x

    def _cond_fn(self, denoised: Tensor, slots: Sequence[GuidedDiffusionSlot]) -> tuple[Tensor, Tensor, Tensor]:
        gradient = 2 * self.SCALE * (denoised - self.target(denoised))
        return torch.zeros(len(denoised), 5), torch.zeros(len(denoised)), gradient
