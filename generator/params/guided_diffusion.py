"""The settings of CLIP-guided diffusion."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from generator.params.base import Params, Setting, check_pictures
from generator.params.cutouts import Cutouts


class GuidedDiffusionParams(Cutouts, Params):
    """CLIP-guided diffusion (Crowson 2021; Dhariwal and Nichol 2021, arXiv:2105.05233, algorithm 2).

    The names are those of the notebooks and of Disco Diffusion.
    """

    checkpoint: str = Setting("mini-diffusion", group="main", description="The generator's weights.")
    steps: int = Setting(40, group="main", ge=1, le=1000, description="Noise levels from noise to picture.")
    sampler: Literal["ddim", "dpm-solver-2m"] = Setting(
        "ddim", group="sampling", description="How a step moves: DDIM, or DPM-Solver++(2M), which needs fewer steps."
    )
    eta: float = Setting(
        0.0, group="sampling", ge=0, le=1, description="Noise drawn anew in each DDIM step: 0 none, 1 as much as DDPM."
    )
    init: Literal["noise", "image"] = Setting("noise", group="start", description="Start from noise or a picture.")
    init_image: str | None = Setting(None, group="start", description="The picture to start from.")
    skip_steps: int = Setting(
        20, group="start", ge=0, le=999, description="Of a start picture: noisy steps left out, so that it is kept."
    )
    init_scale: float = Setting(
        0.0, group="start", ge=0, le=1e6, description="Of a start picture: pull towards it in every step."
    )
    image_prompts: str = Setting(
        "", group="guidance", max_length=2000, description="Pictures to resemble: reference:weight, several with |."
    )
    clip_guidance_scale: float = Setting(
        1000.0, group="guidance", ge=0, le=1e6, description="How hard CLIP pulls; 0 leaves the picture to chance."
    )
    loss: Literal["spherical", "cosine"] = Setting(
        "spherical", group="guidance", description="Distance between picture and prompt embeddings."
    )
    grad_through: Literal["unet", "x0"] = Setting(
        "unet",
        group="guidance",
        description="unet: changes the network can draw; x0: changes of its guess, in a third of the time.",
    )
    clamp_max: float = Setting(
        0.15, group="guidance", gt=0, le=100, description="Greatest root mean square of the gradient."
    )
    tv_scale: float = Setting(0.0, group="guidance", ge=0, le=1e6, description="Pull towards smoothness.")
    range_scale: float = Setting(150.0, group="guidance", ge=0, le=1e6, description="Pull of colours into range.")
    sat_scale: float = Setting(0.0, group="guidance", ge=0, le=1e6, description="Pull away from extreme colours.")
    cutn_batches: int = Setting(
        1, group="cutouts", ge=1, le=64, description="Times per step that cutn cutouts are drawn, one after the other."
    )
    save_every: int = Setting(1, group="output", ge=1, le=1000, unit="steps", description="Steps between frames.")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_start(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        merged = dict(data)
        if data.get("init_image") and "init" not in data:
            merged["init"] = "image"
        return merged

    @model_validator(mode="after")
    def _consistent(self) -> GuidedDiffusionParams:
        if self.init == "image" and not self.init_image:
            raise ValueError("init=image needs an init_image.")
        if self.skipped >= self.steps:
            raise ValueError(
                f"skip_steps = {self.skip_steps} leaves none of {self.steps} steps; at most {self.steps - 1} allowed."
            )
        if self.eta and self.sampler != "ddim":
            raise ValueError(f"eta = {self.eta:g} needs sampler=ddim; {self.sampler} draws no noise, so set eta to 0.")
        check_pictures(self.prompt, self.image_prompts)
        return self

    @property
    def skipped(self) -> int:
        """Steps left out at the noisy end: there are some where a picture is started from."""
        return self.skip_steps if self.init == "image" else 0

    @property
    def through_unet(self) -> bool:
        """Whether gradients are carried through the network: only where CLIP has something to say."""
        return self.grad_through == "unet" and self.clip_guidance_scale > 0

    @property
    def total_steps(self) -> int:
        """Steps that are made: those skipped are not among them."""
        return self.steps - self.skipped

    @property
    def batch_key(self) -> str:
        """Jobs with the same key can share every forward and backward pass."""
        width, height = self.actual_size
        return f"guided-diffusion {self.checkpoint} {'+'.join(self.clip)} {width}x{height}"

    @property
    def cutouts_per_step(self) -> int:
        return self.cutn
