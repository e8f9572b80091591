"""What can be set, declared once: the form, the CLI flags, the tables in the docs and the metadata in a
picture are all derived from these frozen classes. Importing this module does not import torch."""

from __future__ import annotations

import re
import secrets
import unicodedata
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from generator import registry
from generator.prompts import PromptError, parse_prompts

MAX_PROMPT_CHARACTERS = 1000
OPTIMISERS = ("Adam", "AdamW", "RAdam", "NAdam", "Adamax", "RMSprop", "SGD")


class BadParams(ValueError):
    """Parameters a job cannot run with; one readable sentence per problem."""


def Setting(default: Any = ..., *, group: str, unit: str = "", **constraints: Any) -> Any:
    """A Pydantic field with the group it is shown under ("main", "picture", "optimisation", ...) and its unit."""
    return Field(default, json_schema_extra={"group": group, "unit": unit}, **constraints)


class Params(BaseModel):
    """What every CLIP-guided engine needs: what to draw, how large, how long, from which seed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str = Setting(
        group="main",
        description="What to draw. Several prompts with |, each text:weight:stop; a negative weight avoids.",
    )
    checkpoint: str = Setting("mini", group="main", description="The generator's weights.")
    style: str | None = Setting(None, group="main", description="A style the mini models know; empty: any.")
    seed: int = Setting(
        default_factory=lambda: secrets.randbelow(2**32),
        group="main",
        ge=0,
        le=2**32 - 1,
        description="Same seed, settings and device: same picture.",
    )
    width: int = Setting(64, group="main", unit="px", ge=16, le=4096, description="Floored to the model's factor.")
    height: int = Setting(64, group="main", unit="px", ge=16, le=4096, description="Floored to the model's factor.")
    steps: int = Setting(24, group="main", ge=0, le=20_000, description="Optimisation steps.")

    @field_validator("prompt")
    @classmethod
    def _clean_prompt(cls, prompt: str) -> str:
        prompt = unicodedata.normalize("NFC", prompt)
        refused = {c for c in prompt if unicodedata.category(c) in ("Cc", "Cs", "Cn")} - set("\n\t")
        bad = sorted(f"U+{ord(c):04X}" for c in refused)
        if bad:
            raise ValueError(f"contains characters that cannot be drawn: {', '.join(bad[:5])}. Remove them.")
        prompt = re.sub(r"\s+", " ", prompt).strip()
        if len(prompt) > MAX_PROMPT_CHARACTERS:
            raise ValueError(f"has {len(prompt)} characters; at most {MAX_PROMPT_CHARACTERS} are allowed.")
        return prompt

    @property
    def actual_size(self) -> tuple[int, int]:
        """(width, height) in px of the picture that is made: floored to the checkpoint's factor."""
        factor = registry.CHECKPOINTS[self.checkpoint].factor
        return self.width // factor * factor, self.height // factor * factor

    def changed(self) -> dict[str, Any]:
        """The settings that differ from the defaults of the same checkpoint (prompt and seed left out)."""
        defaults = type(self)(prompt=self.prompt, checkpoint=self.checkpoint, seed=self.seed).model_dump()
        return {k: v for k, v in self.model_dump().items() if v != defaults[k]}


class VqganClipParams(Params):
    """VQGAN + CLIP (Crowson et al. 2022, arXiv:2204.08583)."""

    clip: tuple[str, ...] = Setting(
        ("mini",), group="guidance", min_length=1, max_length=4, description="CLIP models that guide, averaged."
    )
    init: Literal["prior", "random", "image", "gradient"] = Setting(
        "prior",
        group="start",
        description="Start from codes drawn from the text, random codes, a picture or a gradient.",
    )
    init_image: str | None = Setting(None, group="start", description="The picture to start from.")
    init_strength: float = Setting(
        1.0, group="start", ge=0, le=1, description="1 starts from the picture itself, 0 from random codes."
    )
    init_weight: float = Setting(6.0, group="start", ge=0, le=100, description="Pull of z towards the start.")
    init_weight_decay: float = Setting(
        0.0, group="start", ge=0, le=1, description="Share of the pull lost per step; 0 keeps it."
    )
    candidates: int = Setting(
        4, group="start", ge=1, le=16, description="Drafts drawn by the prior; CLIP picks the best to go on with."
    )
    image_prompts: str = Setting(
        "", group="guidance", max_length=2000, description="Pictures to resemble: reference:weight, several with |."
    )
    learning_rate: float = Setting(0.05, group="optimisation", gt=0, le=10, description="Step size of the optimiser.")
    optimiser: Literal[OPTIMISERS] = Setting("Adam", group="optimisation", description="torch.optim class.")  # type: ignore[valid-type]
    loss: Literal["spherical", "cosine"] = Setting(
        "spherical", group="guidance", description="Distance between picture and prompt embeddings."
    )
    cutn: int = Setting(8, group="cutouts", ge=1, le=512, description="Cutouts CLIP sees per step.")
    cut_pow: float = Setting(1.0, group="cutouts", gt=0, le=10, description="Above 1 favours small cutouts.")
    augment: bool = Setting(True, group="cutouts", description="Flip, turn, shear, recolour and blur the cutouts.")
    augment_strength: float = Setting(
        1.0, group="cutouts", ge=0, le=2, description="1 is the reference strength, 0 none."
    )
    noise: float = Setting(0.1, group="cutouts", ge=0, le=1, description="Greatest noise added to a cutout.")
    tv_weight: float = Setting(0.0, group="optimisation", ge=0, le=100, description="Total variation of the picture.")
    ema: float = Setting(
        0.0, group="optimisation", ge=0, lt=1, description="Decay of the moving average of z that is shown; 0 off."
    )
    patience: int = Setting(
        0,
        group="optimisation",
        ge=0,
        le=20_000,
        unit="steps",
        description="Stop when the score has not risen for so many steps; 0 off.",
    )
    save_every: int = Setting(1, group="output", ge=1, le=1000, unit="steps", description="Steps between frames.")
    checkpoint_activations: bool = Setting(
        False, group="optimisation", description="Compute the decoder twice to need less memory."
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_checkpoint(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        name = data.get("checkpoint", "mini")
        spec = registry.CHECKPOINTS.get(name) if isinstance(name, str) else None
        merged = {**(spec.defaults if spec else {}), **data}
        if data.get("init_image") and "init" not in data:
            merged["init"] = "image"
        if merged.get("init", "prior") != "prior" and "init_weight" not in data:
            merged["init_weight"] = 0.0  # only a draft of the prior is worth holding on to by default
        return merged

    @model_validator(mode="after")
    def _consistent(self) -> VqganClipParams:
        registry.lookup("checkpoint", registry.CHECKPOINTS, self.checkpoint)
        for name in self.clip:
            registry.lookup("CLIP model", registry.CLIP_MODELS, name)
        if self.style is not None:
            registry.lookup("style", registry.STYLES, self.style)
            if self.checkpoint != "mini":
                raise ValueError("style applies to the mini checkpoint only; write the style into the prompt instead.")
        if self.init == "prior" and self.checkpoint != "mini":
            raise ValueError("init=prior needs the mini checkpoint; use random, gradient or image here.")
        if self.init == "image" and not self.init_image:
            raise ValueError("init=image needs an init_image.")
        if not self.prompt and not self.image_prompts:
            raise ValueError("The prompt is empty. Write what you want to see, for example: a red heart")
        if not self.prompt and self.init == "prior":
            raise ValueError("init=prior draws from text, and the prompt is empty. Write one or use random or image.")
        for name, value in (("prompt", self.prompt), ("image_prompts", self.image_prompts)):
            try:
                if value:
                    parse_prompts(value, avoid_only=name == "image_prompts" and bool(self.prompt))
            except PromptError as error:
                raise ValueError(f"The {name} {error}") from None
        spec = registry.CHECKPOINTS[self.checkpoint]
        if max(self.width, self.height) > spec.max_side:
            raise ValueError(
                f"size {self.width} x {self.height} px is too large for {self.checkpoint}: "
                f"at most {spec.max_side} px a side."
            )
        if min(self.actual_size) < spec.factor:
            raise ValueError(f"width and height must be at least {spec.factor} px for {self.checkpoint}.")
        return self

    @property
    def batch_key(self) -> str:
        """Jobs with the same key can share every forward and backward pass."""
        width, height = self.actual_size
        return f"vqgan-clip {self.checkpoint} {'+'.join(self.clip)} {width}x{height}"

    @property
    def total_steps(self) -> int:
        """Steps a finished job has made, the start (step 0) not counted."""
        return self.steps


def validate(engine: str, values: dict[str, Any]) -> VqganClipParams:
    """Parameters of an engine from plain values.

    Raises registry.UnknownName for the engine, BadParams naming each setting, its value and what is allowed.
    """
    cls: Any = registry.params_class(engine)
    try:
        return cls(**values)
    except ValidationError as error:
        raise BadParams(" ".join(_sentence(e, cls) for e in error.errors())) from None


def _sentence(error: Any, cls: type[Params]) -> str:
    name = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"Unknown setting {name!r}. Settings: {', '.join(cls.model_fields)}."
    if error["type"] == "missing":
        return f"The {name} is missing."
    if error["type"] == "value_error":
        return f"The {name} {message}" if name else message
    value = error.get("input")
    return f"{name} = {str(value)[:80]!r}: {message[0].lower()}{message[1:]}."
