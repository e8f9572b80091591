"""Weighted prompts: `text:weight:stop`, several separated by `|` (VQGAN+CLIP notebook syntax, Crowson 2021)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

MAX_PROMPTS = 16
MAX_WEIGHT = 100.0
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


class PromptError(ValueError):
    """A prompt that cannot be parsed; the message shows the part and what is allowed."""


@dataclass(frozen=True)
class Prompt:
    """One text (or picture reference), its weight (negative avoids) and its stop.

    stop: a spherical distance below which this prompt no longer pulls (-inf: never).
    """

    text: str
    weight: float = 1.0
    stop: float = -math.inf


def parse_prompts(prompts: str, *, avoid_only: bool = False) -> tuple[Prompt, ...]:
    """`"a red heart:2 | blurry:-1"` -> two Prompts.

    A colon belongs to the text unless what follows it looks like a number or nothing but a number was meant
    ("ratio 16:9 poster" is all text; "a cat:abc" is an error, since a weight was plainly meant).
    avoid_only permits a list in which nothing has a weight above 0. Raises PromptError.
    """
    parts = [part.strip() for part in prompts.split("|")]
    if any(not part for part in parts):
        raise PromptError("has an empty part next to a |. Write text on both sides of each |.")
    if len(parts) > MAX_PROMPTS:
        raise PromptError(f"has {len(parts)} parts; at most {MAX_PROMPTS} are allowed.")
    parsed = tuple(_parse_one(part) for part in parts)
    if not avoid_only and all(p.weight <= 0 for p in parsed):
        raise PromptError("has no part with a weight above 0, so there is nothing to draw.")
    return parsed


def _parse_one(part: str) -> Prompt:
    fields = part.split(":")
    numbers: list[float] = []
    while len(fields) > 1 and len(numbers) < 2 and _NUMBER.fullmatch(fields[-1].strip()):
        numbers.insert(0, float(fields.pop()))
    text = ":".join(fields).strip()
    if not text:
        raise PromptError(f"part {part!r} has a weight but no text.")
    if len(fields) > 1 and not fields[-1].startswith((" ", "//")) and not numbers and " " not in fields[-1]:
        raise PromptError(
            f"part {part!r}: the weight {fields[-1]!r} is not a number. Write text:weight, for example {fields[0]}:2"
        )
    weight = numbers[0] if numbers else 1.0
    if not math.isfinite(weight) or abs(weight) > MAX_WEIGHT:
        raise PromptError(f"part {part!r}: weight {weight:g} must lie between -{MAX_WEIGHT:g} and {MAX_WEIGHT:g}.")
    return Prompt(text, weight, numbers[1] if len(numbers) > 1 else -math.inf)
