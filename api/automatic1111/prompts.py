"""Prompts as A1111's users write them, for the studio's one parser.

Words in brackets, `(a red heart:1.3)`, are read as there. Otherwise a colon is text there, and `|` a sign like others,
but between braces, where both choose: what divides a prompt into weighted parts here is not known to this dialect, and
its prompts are one part. (The studio's own syntax is there in `studio_params`.)
"""

from __future__ import annotations

import unicodedata

from generator.params import BadParams
from generator.prompts import as_text, parse_prompts, split, weighed

MAX_READ = 10_000  # characters; what is longer is refused by the engines anyway


def readable(prompt: str) -> str:
    """The same words as one part of a prompt."""
    return prompt if len(prompt) > MAX_READ else as_text(prompt)


def avoiding(prompt: str, negative: str) -> str:
    """The prompt with a part of weight -1, for engines without a setting of their own for what to keep away from."""
    if len(negative) > MAX_READ:
        return f"{prompt} | {negative}"
    words = ", ".join(part for part in split(" ".join(negative.split())) if part)
    return f"{prompt} | {weighed(words, -1)}" if words else prompt


def apart(prompt: str) -> tuple[str, str]:
    """The two of what `avoiding` made of them, which was understood since."""
    *wanted, avoided = split(prompt)
    words = parse_prompts(avoided, negative_only=True)[0].weight == -1
    if not wanted or not words:
        return prompt, ""
    return " | ".join(wanted), avoided.rpartition(":")[0].strip('"')


def check_negative(text: str) -> str:
    """The text as given. Raises BadParams for characters that cannot be kept."""
    bad = {f"U+{ord(c):04X}" for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\r\t"}
    if bad:
        raise BadParams(f"negative_prompt contains characters that cannot be drawn: {', '.join(sorted(bad)[:5])}.")
    return text
