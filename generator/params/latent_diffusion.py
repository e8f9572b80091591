"""The settings of latent diffusion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import field_validator, model_validator

from generator import registry
from generator.params.base import Params, Setting, check_mask, clean_prompt
from generator.params.drafted import Drafted
from generator.params.lora import MAX_LORAS, LoraWeight, in_list, parse_loras
from generator.prompts import Prompt, parse_prompts, parse_text

Sampler = Literal["dpm-solver-2m", "ddim", "euler", "euler-ancestral", "pndm"]


class LatentDiffusionParams(Drafted, Params):
    """Latent diffusion (Rombach et al. 2022, arXiv:2112.10752): the embedded one, and Stable Diffusion."""

    checkpoint: str = Setting("mini-latent-diffusion", group="main", description="The generator's weights.")
    steps: int = Setting(
        24, group="main", ge=1, le=1000, description="Noise levels from noise to picture; Stable Diffusion: up to 500."
    )
    negative_prompt: str = Setting(
        "", group="guidance", max_length=1000, description="What to keep away from, as one text; empty: nothing."
    )
    cfg_scale: float = Setting(
        2.0, group="guidance", ge=0, le=30, description="Scale of the prompt; 1 as trained, 0 ignores it."
    )
    clip_guidance_scale: float = Setting(
        0.0, group="guidance", ge=0, le=1e6, description="Scale of CLIP's gradient beside it; 0: none."
    )
    candidates: int = Setting(
        4, group="start", ge=1, le=16, description="Pictures drawn side by side; CLIP picks the best."
    )
    variety: float = Setting(
        0.35, group="start", ge=0, le=2, description="How far the seed may bend what the prompt says; 0 not at all."
    )
    lora: tuple[str, ...] = Setting(
        (),
        group="guidance",
        max_length=MAX_LORAS,
        exclude_if=lambda lora: not lora,
        description="Stable Diffusion: LoRAs, files lora/NAME.safetensors of the checkpoints folder, each NAME:WEIGHT.",
    )
    init_image: str | None = Setting(None, group="start", description="The picture to start from.")
    mask_image: str | None = Setting(
        None, group="start", description="What of init_image is drawn anew: white yes, black no, greys mixed."
    )
    strength: float = Setting(
        0.6, group="start", gt=0, le=1, description="With a picture to start from: share of the way that is redone."
    )
    sampler: Sampler = Setting(
        "dpm-solver-2m",
        group="sampling",
        description="How a step moves: DPM-Solver++(2M), DDIM, Euler, Euler with fresh noise, or PNDM (PLMS).",
    )
    eta: float = Setting(
        0.0, group="sampling", ge=0, le=1, description="Noise drawn anew in each DDIM step: 0 none, 1 as much as DDPM."
    )
    memory: Literal["auto", "full", "low"] = Setting(
        "full",
        group="sampling",
        description="Stable Diffusion: low keeps only the network at work on the GPU, and takes longer (not measured "
        "how much); auto does so where the GPU has too little free.",
    )
    sprite_sheet: bool = Setting(
        False, group="output", description="Also keep the pictures on the way as one sheet of small pictures."
    )
    save_every: int = Setting(1, group="output", ge=1, le=1000, unit="steps", description="Steps between frames.")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_mask(cls, data: Any) -> Any:
        # What is to be drawn anew is drawn from pure noise, unless something else is said.
        return {"strength": 1.0, **data} if isinstance(data, dict) and data.get("mask_image") else data

    @field_validator("lora", mode="before")
    @classmethod
    def _listed_loras(cls, given: Any) -> Any:
        return in_list(given)

    @field_validator("lora")
    @classmethod
    def _clean_loras(cls, lora: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(str, parse_loras(lora)))

    @field_validator("negative_prompt")
    @classmethod
    def _clean_negative(cls, text: str) -> str:
        return clean_prompt(text)

    @model_validator(mode="after")
    def _consistent(self) -> LatentDiffusionParams:
        if not self.prompt:
            raise ValueError("The prompt is empty. Write what you want to see, for example: a red heart")
        if self.eta and self.sampler != "ddim":
            raise ValueError(f"eta = {self.eta:g} needs sampler=ddim; {self.sampler} takes none, so set eta to 0.")
        check_mask(self.mask_image, self.init_image)
        embedded = registry.checkpoint(self.checkpoint).embedded
        if embedded and self.sampler == "pndm":
            raise ValueError(f"sampler=pndm is for Stable Diffusion; {self.checkpoint} takes ddim or dpm-solver-2m.")
        return self

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """All texts with their weights; negative_prompt is one of weight -1."""
        negative = (parse_text(self.negative_prompt, -1.0),) if self.negative_prompt else ()
        return parse_prompts(self.prompt) + negative

    @property
    def texts_read(self) -> Iterator[tuple[str, Prompt]]:
        """Those of the prompt, and the negative prompt."""
        yield from super().texts_read
        if self.negative_prompt:
            yield "negative prompt", parse_text(self.negative_prompt)

    @property
    def loras(self) -> tuple[LoraWeight, ...]:
        """What `lora` names; those of weight 0 change nothing and are left out."""
        return tuple(one for one in parse_loras(self.lora) if one.weight)

    @property
    def fresh_noise(self) -> float:
        """DDIM's eta. Euler's two kinds are DDIM without and with all of the noise, at timesteps of their own."""
        return {"euler": 0.0, "euler-ancestral": 1.0}.get(self.sampler, self.eta)

    @property
    def levels_left(self) -> int:
        """Noise levels gone through: with a picture to start from only the last part of the way."""
        return max(1, round(self.steps * self.strength)) if self.init_image else self.steps

    @property
    def total_steps(self) -> int:
        """PNDM looks at its second level twice."""
        return self.levels_left + (self.sampler == "pndm" and self.levels_left > 1)

    @property
    def sparing(self) -> LatentDiffusionParams:
        return self.model_copy(update={"memory": "low"}) if self.memory == "auto" else self

    @property
    def memory_advice(self) -> str:
        sparing = registry.checkpoint(self.checkpoint).min_weight_bytes and self.memory == "full"
        return "lower width and height or candidates" + (", or set memory to low" if sparing else "")

    @property
    def cutouts_per_step(self) -> int:
        return self.candidates

    @property
    def batch_key(self) -> str:
        width, height = self.actual_size
        return f"latent-diffusion {self.checkpoint} {'+'.join(self.clip)} {width}x{height}"
