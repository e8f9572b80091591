"""Parts that a prompt is cut into where somebody may have meant otherwise: `100: a ruin`, `[red|blue] car`."""

from __future__ import annotations

import re

from generator.prompts import looks_like_stage, split
from generator.prompts.signs import braces_in, hide, written
from generator.prompts.weights import NUMBER
from generator.wording.reading import Notice, Reading

_ALTERNATIVES = re.compile(r"[(\[]([^()\[\]|]+(?:\|[^()\[\]|]+)+)[)\]]")
_WEIGHED = re.compile(rf"(.*?)(:\s*{NUMBER}\s*)?", re.S)


def tell(reading: Reading) -> Reading:
    """Says how such a part is read, and how it is written where it is to mean the other thing."""
    prompt = reading.texts.get("prompt")
    return reading.says(*_stages(reading.engine, prompt), *_alternatives(prompt)) if prompt else reading


def _stages(engine: str, prompt: str) -> list[Notice]:
    """What looks like a stage of guided diffusion in a prompt that has none."""
    found = looks_like_stage(prompt) if engine == "guided-diffusion" else None
    if found is None:
        return []
    return [
        Notice(
            "“{part}” is read as text. To draw it from step {step} on, begin the prompt with 0: for the first step.",
            part=found[0],
            step=found[1],
        )
    ]


def _alternatives(prompt: str) -> list[Notice]:
    """What AUTOMATIC1111 would draw in turns."""
    hidden = hide(prompt)
    match = None if braces_in(hidden) else _ALTERNATIVES.search(hidden)
    if match is None or len(split(prompt)) == 1:
        return []
    words, weight = _WEIGHED.fullmatch(written(match[1])).groups("")  # type: ignore[union-attr]
    choice = f"{{{words}}}"
    return [
        Notice(
            "“{part}” is cut at its |, which parts the whole prompt. To have one of these drawn, write {choice}.",
            part=written(match[0]),
            choice=f"({choice}{weight})" if weight else choice,
        )
    ]
