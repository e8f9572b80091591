"""Prompts that change during a run: `0: a castle | fog:-1 | 100: a ruin` draws another one from step 100 on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from generator.prompts.parts import PromptError
from generator.prompts.signs import hide, split_hidden, written
from generator.prompts.weights import NUMBER

MAX_STEP = 999  # the last step there can be
# `16:9 poster` is no stage: what follows the colon is text, or there is a blank between.
_STAGE = re.compile(r"(\d{1,3})\s*:(?=\s|\D)\s*(.+)", re.S)
_NUMBERS = re.compile(rf"\s*{NUMBER}\s*(:\s*{NUMBER}\s*)*")


@dataclass(frozen=True)
class Stage:
    """The prompts, as `parse_prompts` reads them, that hold from a step on."""

    step: int
    prompts: str


def parse_stages(prompts: str) -> tuple[Stage, ...]:
    """`"0: a castle | fog:-1 | 100: a ruin"` -> two Stages; prompts that do not begin with `0:` are one, from step 0.

    A part that begins with a step begins a stage, the parts after it belong to it. Raises PromptError.
    """
    parts = [part.strip() for part in split_hidden(hide(prompts))]
    first = _stage(parts[0])
    if first is None or first[0]:
        return (Stage(0, " | ".join(map(written, parts))),)
    stages: list[tuple[int, list[str]]] = []
    for part in parts:
        stage = _stage(part)
        if stage is None:
            stages[-1][1].append(part)
        elif stages and stage[0] <= stages[-1][0]:
            raise PromptError(
                f"part {written(part)!r} begins at step {stage[0]}, which does not come after step {stages[-1][0]}. "
                rf"Where that is text, write {stage[0]}\: for it."
            )
        else:
            stages.append((stage[0], [stage[1]]))
    return tuple(Stage(step, " | ".join(map(written, some))) for step, some in stages)


def looks_like_stage(prompts: str) -> tuple[str, int] | None:
    """The first part that would begin a stage, and its step, where the prompt does not begin with `0:`."""
    parts = [part.strip() for part in split_hidden(hide(prompts))]
    if (first := _stage(parts[0])) and not first[0]:
        return None
    return next(((written(part), stage[0]) for part in parts[1:] if (stage := _stage(part))), None)


def _stage(part: str) -> tuple[int, str] | None:
    match = _STAGE.fullmatch(part)
    if match is None or int(match[1]) > MAX_STEP or _NUMBERS.fullmatch(match[2]):
        return None
    return int(match[1]), match[2]
