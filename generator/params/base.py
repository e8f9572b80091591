"""What every engine that draws can be told."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from characters.brief import Brief
from characters.seen import as_seen, is_noncharacter
from generator import registry
from generator.params.job import JobParams
from generator.params.worded import Worded
from generator.prompts import Prompt, PromptError, parse_pictures, parse_prompts
from generator.tiling import MAX_PX
from generator.tokens import PromptTooLong, check_length

MAX_PROMPT_CHARACTERS = 1000
RECORD = "record"  # the group of what is written by the program: no form, no flag


class BadParams(Brief, ValueError):
    """Parameters a job cannot run with; one readable sentence per problem."""


def Setting(default: Any = ..., *, group: str, unit: str = "", **constraints: Any) -> Any:
    """A Pydantic field with the group it is shown under ("main", "picture", "optimisation", ...) and its unit."""
    return Field(default, json_schema_extra={"group": group, "unit": unit}, **constraints)


# Starts in which nothing of the picture is to be seen yet: guidance towards a style comes before there is anything to
# draw in it, and fewer pictures show what was asked for. (A BigGAN draws something from its first step on.)
NOTHING_YET = ("components", "random", "gradient", "noise", "perlin")


class Params(JobParams):
    """What every engine that draws needs: what, how large, how long, from which seed, and which CLIP guides it."""

    prompt: str = Setting(
        group="main",
        description="What to draw. Several prompts with |, each text:weight:stop; a negative weight avoids. (word:1.3) "
        "weighs words, {red|blue} chooses: docs/prompts.md.",
    )
    checkpoint: str = Setting("mini", group="main", description="The generator's weights.")
    clip: tuple[str, ...] = Setting(
        ("mini",), group="guidance", min_length=1, max_length=4, description="CLIP models that guide, averaged."
    )
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
    style_weight: float = Setting(
        0.0, group="guidance", ge=0, le=10, description="Mini models: weight of the style asked for, where CLIP guides."
    )
    finish: float = Setting(
        0.0,
        group="output",
        ge=0,
        le=1,
        description="Mini models: how much edges are sharpened and areas cleaned in the hand of the style.",
    )
    upscale: Literal[1, 4] = Setting(4, group="output", description="Upscale the finished picture so many times.")
    upscaler: str = Setting(
        "mini-upscaler",
        group="output",
        max_length=140,
        description="What upscales it: mini-upscaler, swinir-l, or a file of the host's in the checkpoints folder.",
    )
    as_typed: bool = Setting(
        False,
        group="main",
        exclude_if=lambda as_typed: not as_typed,
        description="Mini models: take the prompt as it is typed. Emoji are not named, Spanish and Basque are not "
        "translated, no style is taken from the words.",
    )
    wording: dict[Literal["prompt", "negative_prompt"], Worded] = Setting(
        default_factory=dict,
        group=RECORD,
        exclude_if=lambda wording: not wording,
        description="Written by the program: texts as they were typed, and how they were read.",
    )

    @field_validator("prompt")
    @classmethod
    def _clean_prompt(cls, prompt: str) -> str:
        return clean_prompt(prompt)

    @field_validator("style")
    @classmethod
    def _clean_style(cls, style: str | None) -> str | None:
        return style and (clean_prompt(style) or None)

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_checkpoint(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        name = data.get("checkpoint", cls.model_fields["checkpoint"].default)
        try:
            spec = registry.checkpoint(name) if isinstance(name, str) else None
        except registry.UnknownName:
            spec = None  # said below, in the name of the setting
        return {**(spec.defaults if spec else {}), **data}

    @model_validator(mode="after")
    def _fits_the_checkpoint(self) -> Params:
        row = registry.checkpoint(self.checkpoint)
        for check in (
            self._check_names,
            self._check_style,
            self._check_unused,
            self._check_text,
            self._check_size,
            self._check_steps,
        ):
            check(row)
        self._check_length()
        return self

    def _check_length(self) -> None:
        for what, prompt in self.texts_read:
            check_text_length(what, prompt)

    @property
    def texts_read(self) -> Iterator[tuple[str, Prompt]]:
        """Every text that CLIP reads, and what it is called."""
        yield from (("prompt", prompt) for prompt in (parse_prompts(self.prompt) if self.prompt else ()))

    def _check_names(self, row: registry.Checkpoint) -> None:
        for name in self.clip:
            registry.clip_model(name)
        upscalers = registry.ENGINES["upscale"].checkpoints
        if self.upscaler not in upscalers and not re.fullmatch(registry.OWN_UPSCALER, self.upscaler):
            raise ValueError(
                f"upscaler = {self.upscaler!r}: choose one of {', '.join(upscalers)}, or write the name of a "
                ".safetensors or .pth file in the checkpoints folder, without a path."
            )

    def _check_style(self, row: registry.Checkpoint) -> None:
        if self.style is not None and (row.styled or not self.style_is_text):
            registry.lookup("style", registry.STYLES, self.style)
            if not row.styled:
                raise ValueError("style applies to the mini models only; write the style into the prompt instead.")
        for name in registry.STYLED_ONLY:
            if getattr(self, name) and not row.styled:
                raise ValueError(f"{name} applies to the mini models only; leave it out.")

    def _check_unused(self, row: registry.Checkpoint) -> None:
        for name in row.unused:
            if getattr(self, name) != row.defaults.get(name, type(self).model_fields[name].default):
                raise ValueError(f"{name} means nothing to {self.checkpoint}; leave it out.")

    def _check_text(self, row: registry.Checkpoint) -> None:
        try:
            if self.prompt:
                self._check_prompt()
        except PromptError as error:
            raise ValueError(f"The prompt {error}") from None

    def _check_size(self, row: registry.Checkpoint) -> None:
        if row.only_side and {self.width, self.height} != {row.only_side}:
            raise ValueError(
                f"size {self.width} x {self.height} px: {self.checkpoint} draws {row.only_side} x {row.only_side} px "
                "only; upscale the picture afterwards."
            )
        if max(self.width, self.height) > row.max_side:
            raise ValueError(
                f"size {self.width} x {self.height} px is too large for {self.checkpoint}: "
                f"at most {row.max_side} px a side."
            )
        if min(self.actual_size) < row.factor:
            raise ValueError(f"width and height must be at least {row.factor} px for {self.checkpoint}.")
        wide, high = self.actual_size
        if self.upscale > 1 and wide * high * self.upscale**2 > MAX_PX:
            side = int(MAX_PX**0.5 / self.upscale)
            raise ValueError(
                f"size {wide} x {high} px is too large to be upscaled {self.upscale} times: "
                f"at most {side} x {side} px. Draw it smaller, or set upscale to 1."
            )

    def _check_steps(self, row: registry.Checkpoint) -> None:
        if row.max_steps is not None and self.steps > row.max_steps:
            raise ValueError(f"steps = {self.steps}: at most {row.max_steps} for {self.checkpoint}.")

    def _check_prompt(self) -> None:
        parse_prompts(self.prompt)

    @property
    def title(self) -> str:
        return self.prompt

    @property
    def loads(self) -> tuple[str, tuple[str, ...]]:
        return self.checkpoint, self.clip

    @property
    def batch_key(self) -> str:
        """Jobs with the same key can share every forward and backward pass."""
        raise NotImplementedError

    @property
    def total_steps(self) -> int:
        """Steps a finished job has made, the start (step 0) not counted."""
        return self.steps

    @property
    def cutouts_per_step(self) -> int:
        """Pictures each CLIP sees in one step."""
        return 1

    @property
    def actual_size(self) -> tuple[int, int]:
        """(width, height) in px of the picture that is made: floored to the checkpoint's factor."""
        factor = registry.checkpoint(self.checkpoint).factor  # the finished picture is `upscale` times as large
        return self.width // factor * factor, self.height // factor * factor

    @property
    def sources(self) -> tuple[str, ...]:
        """The pictures to start from, to paint over and to resemble, where the engine takes any."""
        named = [name for field in ("init_image", "mask_image") if (name := getattr(self, field, None))]
        if pictures := getattr(self, "image_prompts", ""):
            named += [one.text for one in parse_pictures(pictures, negative_only=True)]
        return tuple(named)

    @property
    def pixels_at_once(self) -> int:
        width, height = self.actual_size
        return width * height

    @property
    def memory_advice(self) -> str:
        return "lower width and height or " + ("cutn" if "cutn" in type(self).model_fields else "candidates")

    def changed(self) -> dict[str, Any]:
        """The settings that differ from the defaults of the same checkpoint (prompt, its wording and seed left out)."""
        defaults = type(self)(prompt="a prompt", checkpoint=self.checkpoint, seed=self.seed).model_dump()
        return {
            k: v for k, v in self.model_dump().items() if k not in ("prompt", "wording") and v != defaults.get(k, False)
        }


def check_mask(mask_image: str | None, init_image: str | None) -> None:
    """Raises ValueError for a mask without the picture that it is of."""
    if mask_image and not init_image:
        raise ValueError("mask_image needs an init_image, the picture whose white parts are drawn anew.")


def in_one_line(text: str) -> str:
    """A text composed (NFC), its blanks as one, without what nobody sees of it."""
    return re.sub(r"\s+", " ", as_seen(unicodedata.normalize("NFC", text))).strip()


def clean_prompt(prompt: str) -> str:
    """The prompt in one line, as every engine reads it. Raises ValueError where it cannot be drawn."""
    refused = {c for c in prompt if unicodedata.category(c) in ("Cc", "Cs") or is_noncharacter(c)} - set("\n\t")
    bad = sorted(f"U+{ord(c):04X}" for c in refused)
    if bad:
        raise ValueError(f"contains characters that cannot be drawn: {', '.join(bad[:5])}. Remove them.")
    prompt = in_one_line(prompt)
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise ValueError(f"has {len(prompt)} characters; at most {MAX_PROMPT_CHARACTERS} are allowed.")
    return prompt


def check_text_length(what: str, prompt: Prompt) -> None:
    """Raises ValueError for a text that CLIP would not read to its end, with the words that fall off."""
    try:
        check_length(prompt.pieces, what)
    except PromptTooLong as error:
        raise ValueError(f"T{str(error)[1:]}.") from None


def check_pictures(prompt: str, image_prompts: str) -> None:
    """Raises ValueError where neither text nor picture says what to draw, or the pictures' list cannot be parsed."""
    if not prompt and not image_prompts:
        raise ValueError("The prompt is empty. Write what you want to see, for example: a red heart")
    try:
        if image_prompts:
            parse_pictures(image_prompts, negative_only=bool(prompt))
    except PromptError as error:
        raise ValueError(f"The image_prompts {error}") from None
