"""Prompts as A1111's users write them, in words that every engine here reads.

There a colon weighs words in brackets, `(a red heart:1.3)`, or stands in `<lora:name:0.8>`, in `:3`, anywhere; and `|`
is a sign like others. Here both divide a prompt into weighted parts, `a red heart:2 | fog:-1`, which this dialect does
not know: its prompts are one part. (The studio's own syntax is there in `studio_params`.)
"""

from __future__ import annotations

import re
import unicodedata

from generator.params import BadParams

MAX_READ = 10_000  # characters; what is longer is refused by the engines anyway
_WEIGHT = re.compile(r":\s{0,3}[+-]?[\d.]{1,8}\s{0,3}(?=\))")


def readable(prompt: str) -> str:
    """The same words as one part of a prompt, without the weights of some of them."""
    if len(prompt) > MAX_READ:
        return prompt
    prompt = _WEIGHT.sub("", prompt).replace("|", ",").strip()
    # A last colon with but one word after it is read as the mark of a weight.
    while ":" in prompt and not re.search(r"\s", prompt.rpartition(":")[2].strip()):
        before, _, after = prompt.rpartition(":")
        prompt = f"{before.rstrip()} {after.lstrip()}".strip()
    return prompt


def avoiding(prompt: str, negative: str) -> str:
    """The prompt with a part of weight -1, for engines without a setting of their own for what to keep away from."""
    words = " ".join(readable(negative).replace(":", " ").split())
    return f"{prompt} | {words}:-1" if words else prompt


def check_negative(text: str) -> str:
    """The text as given. Raises BadParams for characters that cannot be kept."""
    bad = {f"U+{ord(c):04X}" for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\r\t"}
    if bad:
        raise BadParams(f"negative_prompt contains characters that cannot be drawn: {', '.join(sorted(bad)[:5])}.")
    return text
