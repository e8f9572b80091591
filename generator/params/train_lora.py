"""The settings of a run that trains a LoRA of Stable Diffusion."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator, model_validator

from generator import registry
from generator.params.base import Setting, clean_prompt
from generator.params.learning import LearningParams

Trained = Literal["attention", "transformer", "all"]


class TrainLoraParams(LearningParams):
    """LoRA (Hu et al. 2021, arXiv:2106.09685) of Stable Diffusion 1.x or XL, from 5 to 5,000 captioned pictures."""

    checkpoint: str = Setting(
        "stable-diffusion-1-5",
        group="main",
        max_length=140,
        description="The model that is fine-tuned: stable-diffusion-1-5, stable-diffusion-xl or diffusers/NAME.",
    )
    trigger: str = Setting(
        "", group="main", max_length=80, description="A word that stands for what is learnt, put before each caption."
    )
    resolution: int = Setting(
        512,
        group="main",
        unit="px",
        ge=16,
        le=2048,
        multiple_of=8,
        description="Pictures are shown in about resolution x resolution px, each in its own shape; XL: 1024.",
    )
    bucket_step: int = Setting(
        64, group="data", unit="px", ge=8, le=256, multiple_of=8, description="Widths and heights are multiples of it."
    )
    max_ratio: float = Setting(
        2.0, group="data", ge=1, le=8, description="Longest side to shortest; what is longer is cropped. 1: squares."
    )
    cache_mb: int = Setting(
        2048,
        group="data",
        unit="MB",
        ge=0,
        le=200_000,
        description="For latents and read captions, so that each is made once; 0: made anew every time.",
    )
    caption_dropout: float = Setting(
        0.0,
        group="data",
        ge=0,
        le=0.9,
        description="How often a caption is kept back, so that cfg_scale keeps working.",
    )
    mirror: bool = Setting(
        False, group="data", description="Show pictures mirrored half of the time; not where sides matter."
    )
    rank: int = Setting(16, group="model", ge=1, le=256, description="Of the matrices that are learnt.")
    alpha: float = Setting(
        16.0, group="model", gt=0, le=1024, description="What is learnt counts alpha / rank; the rank or half of it."
    )
    trained: Trained = Setting(
        "attention",
        group="model",
        description="Layers of the UNet: attention alone, its whole transformer blocks, or convolutions as well.",
    )
    train_text: bool = Setting(False, group="model", description="Also the attention of the text encoders.")
    dropout: float = Setting(0.0, group="model", ge=0, le=0.5, description="Of what is learnt, while training.")
    batch_size: int = Setting(4, group="optimisation", ge=1, le=4096, description="Pictures per step.")
    steps: int = Setting(1500, group="main", ge=1, le=2_000_000, description="Steps of the optimiser.")
    validation_share: float = Setting(
        0.0, group="main", ge=0, le=0.5, description="Of the pictures, kept from training to measure what is learnt."
    )
    validation_samples: int = Setting(
        32, group="watching", ge=1, le=10_000, description="Pictures whose loss is measured at every interval, at most."
    )
    decay: Literal["constant", "cosine"] = Setting(
        "cosine", group="optimisation", description="Of the learning rate, after the warm-up."
    )
    text_learning_rate: float = Setting(
        5e-5, group="optimisation", gt=0, le=0.1, description="Of the text encoders, where they are trained."
    )
    snr_gamma: float = Setting(
        0.0,
        group="optimisation",
        ge=0,
        le=100,
        description="Weigh levels by min-SNR (arXiv:2303.09556), say 5; 0: not.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Setting(
        "auto", group="optimisation", description="Of the products; auto: bf16 where the device is good at it."
    )
    gradient_checkpointing: bool = Setting(
        False, group="optimisation", description="Compute activations twice: less memory, slower."
    )
    sample_steps: int = Setting(20, group="watching", ge=1, le=200, description="Noise levels of the samples.")
    cfg_scale: float = Setting(7.0, group="watching", ge=0, le=30, description="Scale of the caption in the samples.")
    sample_size: int = Setting(
        0,
        group="watching",
        unit="px",
        ge=0,
        le=2048,
        multiple_of=8,
        description="Width and height of the samples; 0: the resolution.",
    )

    @model_validator(mode="before")
    @classmethod
    def _for_xl(cls, data: Any) -> Any:
        xl = isinstance(data, dict) and data.get("checkpoint") == "stable-diffusion-xl"
        return {"resolution": 1024, **data} if xl else data

    @field_validator("trigger")
    @classmethod
    def _clean_trigger(cls, trigger: str) -> str:
        return clean_prompt(trigger)

    @model_validator(mode="after")
    def _consistent(self) -> TrainLoraParams:
        if self.checkpoint not in LORA_BASES and registry.own_kind(self.checkpoint) != "diffusers":
            raise ValueError(
                f"checkpoint = {self.checkpoint!r}: choose one of {', '.join(LORA_BASES)} or one of your own, "
                "diffusers/NAME."
            )
        if self.resolution % self.bucket_step:
            raise ValueError(
                f"resolution = {self.resolution} px is no multiple of bucket_step = {self.bucket_step} px; take "
                f"{self.resolution // self.bucket_step * self.bucket_step or self.bucket_step} px, or another step."
            )
        return self

    @property
    def makes(self) -> str:
        return f"lora/{self.name}"

    @property
    def pixels_at_once(self) -> int:
        return (self.micro_batch or self.batch_size) * self.resolution**2

    @property
    def memory_advice(self) -> str:
        return "set micro_batch to 1, gradient_checkpointing, or a smaller resolution"


LORA_BASES = ("stable-diffusion-1-5", "stable-diffusion-1-4", "stable-diffusion-xl")
