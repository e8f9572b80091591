"""The one reading of what is written into a prompt: parts with weights, words with weights, steps. See docs/prompts.md.

`a red heart:2 | fog:-1` are two parts, `(word:1.3)` and `[word]` weigh words inside a text, `0: a castle | 100: a ruin`
draws another text from step 100 on. Text stays text unless it is clearly one of these. Imports no torch.
"""

from generator.prompts.parts import (
    MAX_PROMPTS,
    Prompt,
    PromptError,
    append_words,
    as_text,
    main_prompt,
    parse_prompts,
    parse_text,
    weighed,
)
from generator.prompts.pictures import parse_pictures, quoted, with_another, with_files
from generator.prompts.signs import escaped, split
from generator.prompts.stages import Stage, looks_like_stage, parse_stages
from generator.prompts.weights import MAX_WEIGHT

__all__ = [
    "MAX_PROMPTS",
    "MAX_WEIGHT",
    "Prompt",
    "PromptError",
    "Stage",
    "append_words",
    "as_text",
    "escaped",
    "looks_like_stage",
    "main_prompt",
    "parse_pictures",
    "parse_prompts",
    "parse_stages",
    "parse_text",
    "quoted",
    "split",
    "weighed",
    "with_another",
    "with_files",
]
