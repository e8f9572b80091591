"""Weighted prompts: `text:weight:stop`, several separated by `|` (VQGAN+CLIP notebook syntax, Crowson 2021).

Where prompts may change during a run, `0: a castle | fog:-1 | 100: a ruin` draws another one from step 100 on.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

MAX_PROMPTS = 16
MAX_WEIGHT = 100.0
_STAGE = re.compile(r"(\d{1,5})\s*:\s*(.+)")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


class PromptError(ValueError):
    """A prompt that cannot be parsed; the message shows the part and what is allowed."""


@dataclass(frozen=True)
class Prompt:
    """One text (or picture reference), its weight (negative avoids) and its stop.

    stop: a spherical distance below which this prompt no longer guides (-inf: never).
    """

    text: str
    weight: float = 1.0
    stop: float = -math.inf


def parse_prompts(prompts: str, *, negative_only: bool = False) -> tuple[Prompt, ...]:
    """`"a red heart:2 | blurry:-1"` -> two Prompts.

    A colon belongs to the text unless what follows it looks like a number or nothing but a number was meant
    ("ratio 16:9 poster" is all text; "a cat:abc" is an error, since a weight was plainly meant).
    negative_only permits a list in which nothing has a weight above 0. Raises PromptError.
    """
    parts = [part.strip() for part in prompts.split("|")]
    if any(not part for part in parts):
        raise PromptError("has an empty part next to a |. Write text on both sides of each |.")
    if len(parts) > MAX_PROMPTS:
        raise PromptError(f"has {len(parts)} parts; at most {MAX_PROMPTS} are allowed.")
    parsed = tuple(_parse_one(part) for part in parts)
    if not negative_only and all(p.weight <= 0 for p in parsed):
        raise PromptError("has no part with a weight above 0, so there is nothing to draw.")
    return parsed


@dataclass(frozen=True)
class Stage:
    """The prompts, as `parse_prompts` reads them, that hold from a step on."""

    step: int
    prompts: str


def parse_stages(prompts: str) -> tuple[Stage, ...]:
    """`"0: a castle | fog:-1 | 100: a ruin"` -> two Stages; prompts that do not begin with `0:` are one, from step 0.

    A part that begins with a step begins a stage, the parts after it belong to it. Raises PromptError.
    """
    stages: list[tuple[int, list[str]]] = []
    for part in (part.strip() for part in prompts.split("|")):
        match = _STAGE.fullmatch(part)
        if match is None or all(_NUMBER.fullmatch(field.strip()) for field in match[2].split(":")):
            stages[-1:] = [(stages[-1][0], [*stages[-1][1], part])] if stages else [(-1, [part])]
            continue
        step = int(match[1])
        if not stages and step:
            stages = [(-1, [part])]  # "2001: a space odyssey" is a text
        elif stages and stages[0][0] < 0:
            raise PromptError(
                f"has a part {part!r}, which begins at step {step}, but does not say from which step the parts before "
                f"it hold. Begin with 0: {prompts.partition('|')[0].strip()}"
            )
        elif stages and step <= stages[-1][0]:
            raise PromptError(f"part {part!r} begins at step {step}, which does not come after step {stages[-1][0]}.")
        else:
            stages.append((step, [match[2]]))
    return tuple(Stage(max(step, 0), " | ".join(parts)) for step, parts in stages)


def append_words(prompts: str, words: str) -> str:
    """`words` added to the first part's text: ("a tree:2 | fog:-1", "in oil") -> "a tree,in oil:2 | fog:-1"."""
    first, *others = prompts.split("|")
    fields = first.strip().split(":")
    numbers: list[str] = []
    while len(fields) > 1 and len(numbers) < 2 and _NUMBER.fullmatch(fields[-1].strip()):
        numbers.insert(0, fields.pop())
    text = ":".join(fields).rstrip(" ,.，。")
    return " | ".join([":".join([f"{text},{words}", *numbers]), *(other.strip() for other in others)])


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
