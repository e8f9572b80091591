"""LoRAs as a job names them: `name:0.8`, a file lora/NAME.safetensors of the checkpoints' folder and how strongly it
acts (Hu et al. 2021, arXiv:2106.09685)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LORA_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}"
MAX_LORAS = 8
MAX_WEIGHT = 4.0


@dataclass(frozen=True)
class LoraWeight:
    """One LoRA of a picture: the name of its file without .safetensors, and its weight in [-4, 4]."""

    name: str
    weight: float

    def __str__(self) -> str:
        return f"{self.name}:{self.weight:g}"


def parse_lora(text: str) -> LoraWeight:
    """`name` or `name:weight`. Raises ValueError."""
    name, colon, number = text.strip().partition(":")
    name = name.removesuffix(".safetensors")
    if not re.fullmatch(LORA_NAME, name):
        raise ValueError(
            f"{text[:80]!r} names no LoRA: write NAME:WEIGHT, where lora/NAME.safetensors lies in the checkpoints "
            "folder; a name has letters, digits, _, . and -."
        )
    if colon and not re.fullmatch(r"[+-]?(\d{1,3}(\.\d{0,6})?|\.\d{1,6})", number.strip()):
        raise ValueError(f"{text[:80]!r}: its weight {number[:40]!r} is no number; write for example {name}:0.8.")
    weight = float(number) if colon else 1.0
    if abs(weight) > MAX_WEIGHT:
        raise ValueError(f"{text[:80]!r}: a weight is from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}.")
    return LoraWeight(name, weight)


def parse_loras(texts: Sequence[str]) -> tuple[LoraWeight, ...]:
    """Several, each named once. Raises ValueError."""
    found = tuple(parse_lora(text) for text in texts)
    names = [one.name for one in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"names {twice} twice; give it once, with the weight it is to have.")
    return found


def in_list(given: Any) -> Any:
    """`a:0.8, b` as a list; what is none is left as it is."""
    return [part for part in (one.strip() for one in given.split(",")) if part] if isinstance(given, str) else given
