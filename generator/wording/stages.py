"""A part that looks like a stage of guided diffusion, `100: a ruin`, in a prompt that has none."""

from __future__ import annotations

from generator.prompts import looks_like_stage
from generator.wording.reading import Notice, Reading


def tell(reading: Reading) -> Reading:
    """Says that it is read as text, and how it is written as a stage."""
    prompt = reading.texts.get("prompt")
    found = looks_like_stage(prompt) if prompt and reading.engine == "guided-diffusion" else None
    if found is None:
        return reading
    return reading.says(
        Notice(
            "“{part}” is read as text. To draw it from step {step} on, begin the prompt with 0: for the first step.",
            part=found[0],
            step=found[1],
        )
    )
