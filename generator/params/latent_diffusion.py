"""The settings of latent diffusion."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from generator.params.base import Params, Setting


class LatentDiffusionParams(Params):
    """Latent diffusion (Rombach et al. 2022, arXiv:2112.10752)."""

    checkpoint: str = Setting("mini-latent-diffusion", group="main", description="The generator's weights.")
    cfg_scale: float = Setting(
        2.0, group="guidance", ge=0, le=30, description="Pull of the prompt; 1 as trained, 0 ignores it."
    )
    candidates: int = Setting(
        4, group="start", ge=1, le=16, description="Pictures drawn side by side; CLIP picks the best."
    )
    variety: float = Setting(
        0.35, group="start", ge=0, le=2, description="How far the seed may bend what the prompt says; 0 not at all."
    )
    init_image: str | None = Setting(None, group="start", description="The picture to start from.")
    strength: float = Setting(
        0.6, group="start", gt=0, le=1, description="With a picture to start from: share of the way that is redone."
    )
    sampler: Literal["dpm-solver-2m", "ddim"] = Setting(
        "dpm-solver-2m", group="sampling", description="How a step moves: DPM-Solver++(2M), or DDIM."
    )
    eta: float = Setting(
        0.0, group="sampling", ge=0, le=1, description="Noise drawn anew in each DDIM step: 0 none, 1 as much as DDPM."
    )
    save_every: int = Setting(1, group="output", ge=1, le=1000, unit="steps", description="Steps between frames.")

    @model_validator(mode="after")
    def _consistent(self) -> LatentDiffusionParams:
        if not self.prompt:
            raise ValueError("The prompt is empty. Write what you want to see, for example: a red heart")
        if self.steps < 1:
            raise ValueError("steps must be at least 1 for latent diffusion.")
        if self.eta and self.sampler != "ddim":
            raise ValueError(f"eta = {self.eta:g} needs sampler=ddim; {self.sampler} draws no noise, so set eta to 0.")
        return self

    @property
    def total_steps(self) -> int:
        """With a picture to start from only the last part of the way is gone."""
        return max(1, round(self.steps * self.strength)) if self.init_image else self.steps

    @property
    def cutouts_per_step(self) -> int:
        return self.candidates

    @property
    def batch_key(self) -> str:
        return f"latent-diffusion {self.checkpoint} {'+'.join(self.clip)} {self.width}x{self.height}"
