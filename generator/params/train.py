"""The settings of a run that trains a text-to-image model of one's own."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from generator import registry
from generator.params.base import Setting
from generator.params.learning import LearningParams
from generator.params.train_presets import PRESETS, Preset


class TrainParams(LearningParams):
    """Text-conditional diffusion (Ho et al. 2020, arXiv:2006.11239; Rombach et al. 2022, arXiv:2112.10752) from noise.

    A UNet with cross-attention on a caption encoder that learns with it; with a base, in the latents of its VAE and
    read by its own text encoder, both as they are.
    """

    preset: Preset = Setting("tiny", group="main", description="Where all other settings start from.")
    base: str = Setting(
        "",
        group="model",
        max_length=140,
        description="A Stable Diffusion checkpoint whose VAE and text encoder are used, frozen; empty: pixels, and "
        "an encoder that learns along.",
    )
    size: int = Setting(
        32, group="model", unit="px", ge=16, le=1024, multiple_of=8, description="Width and height of the pictures."
    )
    channels: tuple[int, ...] = Setting(
        (32, 64, 96), group="model", min_length=2, max_length=6, description="Of the UNet, at each halving of the size."
    )
    layers_per_block: int = Setting(1, group="model", ge=1, le=4, description="Residual blocks at each size.")
    attention_up_to: int = Setting(
        16,
        group="model",
        unit="positions",
        ge=1,
        le=128,
        description="Cross-attention to the caption where the picture has at most so many positions a side.",
    )
    head_width: int = Setting(
        32, group="model", ge=8, le=256, multiple_of=8, description="Channels per attention head."
    )
    dropout: float = Setting(0.0, group="model", ge=0, lt=1, description="Inside the residual blocks.")
    stochastic_depth: float = Setting(
        0.0, group="model", ge=0, lt=1, description="How often a residual block is left out (arXiv:1603.09382)."
    )
    text_width: int = Setting(128, group="model", ge=32, le=1024, multiple_of=32, description="Of the caption encoder.")
    text_layers: int = Setting(2, group="model", ge=1, le=24, description="Of the caption encoder.")
    time_width: int = Setting(
        512,
        group="model",
        ge=0,
        le=2048,
        multiple_of=8,
        description="Of the noise level and the caption as a whole, which every residual block is told; 0: the caption "
        "is read by cross-attention alone.",
    )
    caption_tokens: int = Setting(
        24, group="model", ge=4, le=77, description="Of a caption that are read; what follows falls off."
    )
    vocabulary: int = Setting(
        2048, group="model", ge=600, le=49_408, description="Tokens at most, learnt from the captions (BPE)."
    )
    min_frequency: int = Setting(
        2, group="model", ge=1, le=1000, description="How often parts must meet to become one token."
    )
    setup_samples: int = Setting(
        16_384, group="model", ge=3, le=1_000_000, description="Captions the vocabulary is learnt from, at most."
    )
    validation_samples: int = Setting(
        256,
        group="watching",
        ge=1,
        le=100_000,
        description="Pictures whose loss is measured at every interval, at most.",
    )
    mirror: bool = Setting(
        False, group="optimisation", description="Show pictures mirrored half of the time; not where sides matter."
    )
    prediction: Literal["v", "epsilon"] = Setting(
        "v", group="diffusion", description="What the network says: v (arXiv:2202.00512) or the noise."
    )
    timesteps: int = Setting(1000, group="diffusion", ge=10, le=4000, description="Noise levels.")
    schedule: Literal["squaredcos_cap_v2", "scaled_linear", "linear"] = Setting(
        "squaredcos_cap_v2", group="diffusion", description="Of the noise levels."
    )
    zero_terminal_snr: bool = Setting(
        False, group="diffusion", description="The last level is noise alone (arXiv:2305.08891); needs prediction=v."
    )
    time_shift: float = Setting(
        1.0,
        group="diffusion",
        ge=0.1,
        le=20,
        description="Above 1, noisy levels are trained on more often, below 1 clear ones (arXiv:2403.03206, eq. 23).",
    )
    snr_gamma: float = Setting(
        0.0, group="diffusion", ge=0, le=100, description="Weigh levels by min-SNR (arXiv:2303.09556); 0: as they are."
    )
    caption_dropout: float = Setting(
        0.1, group="diffusion", ge=0, le=0.9, description="How often the caption is kept back, for cfg_scale to work."
    )
    ema: float = Setting(
        0.995,
        group="optimisation",
        ge=0,
        lt=1,
        description="Moving average of the weights that draw; 0: the last ones.",
    )
    decay: Literal["constant", "cosine"] = Setting(
        "constant", group="optimisation", description="Of the learning rate, after the warm-up."
    )
    plateau_patience: int = Setting(
        0,
        group="optimisation",
        ge=0,
        le=1000,
        unit="intervals",
        description="Without a better validation loss before the learning rate is divided by 10; 0: never.",
    )
    stop_patience: int = Setting(
        0,
        group="optimisation",
        ge=0,
        le=1000,
        unit="intervals",
        description="Without a better validation loss before the run ends; 0: never.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Setting(
        "auto", group="optimisation", description="Of the products; auto: bf16 where the GPU or the CPU has it."
    )
    compile: bool = Setting(False, group="optimisation", description="torch.compile: slow to start, then faster.")
    sampler: Literal["dpm-solver-2m", "ddim", "euler", "euler-ancestral"] = Setting(
        "dpm-solver-2m", group="watching", description="Of the samples."
    )
    sample_steps: int = Setting(24, group="watching", ge=1, le=1000, description="Noise levels of the samples.")
    cfg_scale: float = Setting(3.0, group="watching", ge=0, le=30, description="Scale of the caption in the samples.")
    eta: float = Setting(0.0, group="watching", ge=0, le=1, description="Noise drawn anew in each DDIM step.")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_preset(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        preset = data.get("preset", cls.model_fields["preset"].default)
        return {**(PRESETS.get(preset, {}) if isinstance(preset, str) else {}), **data}

    @model_validator(mode="after")
    def _consistent(self) -> TrainParams:
        for check in (self._check_network, self._check_diffusion, self._check_base):
            check()
        return self

    def _check_network(self) -> None:
        if any(not 8 <= wide <= 2048 or wide % 8 for wide in self.channels):
            raise ValueError(f"channels = {self.channels}: each is a multiple of 8, from 8 to 2048.")
        halvings = len(self.channels) - 1
        if self.size % (self.factor * 2**halvings):
            raise ValueError(
                f"size = {self.size} px cannot be halved {halvings} times: give fewer channels, or a size that is a "
                f"multiple of {self.factor * 2**halvings}."
            )
        if (smallest := self.positions // 2**halvings) > self.attention_up_to:
            raise ValueError(
                f"attention_up_to = {self.attention_up_to}: the smallest size in the network has {smallest} positions "
                "a side, so nothing would read the caption."
            )

    def _check_diffusion(self) -> None:
        if self.zero_terminal_snr and self.prediction != "v":
            raise ValueError("zero_terminal_snr needs prediction=v: in noise alone, the noise says nothing.")
        if self.eta and self.sampler != "ddim":
            raise ValueError(f"eta = {self.eta:g} needs sampler=ddim; {self.sampler} takes none, so set eta to 0.")
        if self.sample_steps > self.timesteps:
            raise ValueError(f"sample_steps = {self.sample_steps}: at most the {self.timesteps} timesteps.")

    def _check_base(self) -> None:
        if self.base and not registry.has_latents(self.base):
            raise ValueError(
                f"base = {self.base!r}: choose stable-diffusion-1-5, stable-diffusion-1-4 or one of your own, "
                "diffusers/NAME; or leave it empty."
            )
        if self.base:
            registry.checkpoint(self.base)

    @property
    def factor(self) -> int:
        """px per position of what the network sees: 8 in the latents of a VAE, else 1."""
        return 8 if self.base else 1

    @property
    def positions(self) -> int:
        """Positions a side of what the network sees."""
        return self.size // self.factor

    @property
    def actual_size(self) -> tuple[int, int]:
        return self.size, self.size

    @property
    def pixels_at_once(self) -> int:
        return (self.micro_batch or self.batch_size) * self.size**2

    def changed(self) -> dict[str, Any]:
        """The settings that differ from those of the preset."""
        base = type(self)(data=self.data, name=self.name, preset=self.preset, seed=self.seed).model_dump()
        return {name: value for name, value in self.model_dump().items() if value != base[name]}
