"""The settings of VQGAN + CLIP."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from generator import registry
from generator.params.base import NOTHING_YET, Params, Setting, check_mask, check_pictures
from generator.params.drafted import Drafted
from generator.params.optimised import Optimised

TRIAL = 20  # steps after which the best of several random starts goes on alone
# Where nothing is known of the picture yet, what guides must not be satisfied by noise, nor lead far from any picture.
COMPONENTS = {"clip": ("mini-robust", "mini"), "steps": 120, "learning_rate": 0.1, "cutn": 2, "init_weight": 0.6}


class VqganClipParams(Drafted, Optimised, Params):
    """VQGAN + CLIP (Crowson et al. 2022, arXiv:2204.08583)."""

    init: Literal["prior", "components", "random", "image", "gradient"] = Setting(
        "prior",
        group="start",
        description="Start from codes drawn from the text, random amounts of what pictures are composed of (mini: "
        "these are optimised, not the codes), random codes, a picture or a gradient.",
    )
    init_image: str | None = Setting(None, group="start", description="The picture to start from.")
    mask_image: str | None = Setting(
        None,
        group="start",
        description="What of init_image is drawn anew: white yes, from what init says, black no, greys mixed.",
    )
    init_strength: float = Setting(
        1.0, group="start", ge=0, le=1, description="1 starts from the picture itself, 0 from random codes."
    )
    init_weight: float = Setting(6.0, group="start", ge=0, le=100, description="Weight of z's distance from the start.")
    init_weight_decay: float = Setting(
        0.0, group="start", ge=0, le=1, description="Share of init_weight lost per step; 0 keeps it."
    )
    candidates: int = Setting(
        4,
        group="start",
        ge=1,
        le=16,
        description="Drafts drawn by the prior, or random amounts of the components tried side by side for "
        f"{TRIAL} steps; CLIP picks which goes on.",
    )
    coarse: float = Setting(
        0.0,
        group="optimisation",
        ge=0,
        le=0.9,
        description="Share of the steps, the first ones, that draw at half the size: sooner done, and larger shapes. "
        "For starts from random codes or a gradient.",
    )
    tv_weight: float = Setting(0.0, group="optimisation", ge=0, le=100, description="Total variation of the picture.")
    checkpoint_activations: bool = Setting(
        False, group="optimisation", description="Compute the decoder twice to need less memory."
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_start(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        merged = dict(data)
        if data.get("init_image") and not data.get("mask_image") and "init" not in data:
            merged["init"] = "image"  # with a mask it stays where nothing is drawn anew
        name = data.get("checkpoint", cls.model_fields["checkpoint"].default)
        spec = registry.CHECKPOINTS.get(name) if isinstance(name, str) else None
        init = merged.get("init", spec.defaults.get("init") if spec else "prior")
        if init == "prior" and "init" not in merged and data.get("image_prompts") and not data.get("prompt"):
            merged["init"] = init = "random"  # nothing to draw codes from
        if init in NOTHING_YET:
            merged.setdefault("style_weight", 0.0)
        if init == "components":
            return {**COMPONENTS, **merged}
        if init != "prior" and "init_weight" not in data:
            merged["init_weight"] = 0.0  # only a draft of the prior is worth holding on to by default
        return merged

    @model_validator(mode="after")
    def _consistent(self) -> VqganClipParams:
        embedded = registry.checkpoint(self.checkpoint).embedded
        if self.init == "prior" and not embedded:
            raise ValueError("init=prior needs the mini checkpoint; use random, gradient or image here.")
        if self.init == "components" and (not embedded or self.actual_size != (64, 64)):
            raise ValueError("init=components needs the mini checkpoint at 64 x 64 px; use random or gradient here.")
        if self.init == "image" and not self.init_image:
            raise ValueError("init=image needs an init_image.")
        check_mask(self.mask_image, self.init_image)
        if self.init == "components" and self.mask_image:
            raise ValueError(
                "init=components composes the whole picture and can keep no part of one; use prior, random, gradient "
                "or image with mask_image."
            )
        if self.coarse and (self.init not in ("random", "gradient") or self.mask_image):
            raise ValueError(
                "coarse is for pictures that begin with random codes or a gradient: half the size would lose what they "
                "begin with. Set it to 0, or init to random or gradient, without a mask_image."
            )
        check_pictures(self.prompt, self.image_prompts)
        if not self.prompt and self.init == "prior":
            raise ValueError("init=prior draws from text, and the prompt is empty. Write one or use random or image.")
        return self

    @property
    def coarse_steps(self) -> int:
        """Steps made at half the size; the last is not one of them."""
        return max(0, min(round(self.coarse * self.total_steps), self.total_steps - 1))

    @property
    def starts(self) -> int:
        """Pictures optimised side by side in the first steps."""
        return self.candidates if self.init == "components" else 1

    @property
    def cutouts_per_step(self) -> int:
        return self.starts * super().cutouts_per_step

    @property
    def pixels_at_once(self) -> int:
        return self.starts * super().pixels_at_once

    @property
    def memory_advice(self) -> str:
        return "lower candidates or cutn" if self.starts > 1 else super().memory_advice

    @property
    def batch_key(self) -> str:
        """Jobs with the same key can share forward and backward passes: all but those in which starts are tried."""
        width, height = self.actual_size
        return f"vqgan-clip {self.checkpoint} {'+'.join(self.clip)} {width}x{height}"
