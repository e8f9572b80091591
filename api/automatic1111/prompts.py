"""Prompts as A1111's users write them, for the studio's one parser.

Words in brackets, `(a red heart:1.3)`, are read as there. LoRAs are named there
by `<lora:NAME:WEIGHT>`, for models that take them. Otherwise a colon is text there, and `|` a sign like others,
but between braces, where both choose: what divides a prompt into weighted parts here is not known to this dialect, and
its prompts are one part. (The studio's own syntax is there in `studio_params`.)
"""

from __future__ import annotations

import re
import unicodedata

from generator.params import BadParams
from generator.prompts import as_text, parse_prompts, split, weighed

_LORA = re.compile(r"<lora:([^:<>]{1,200})(?::([^<>]{0,100}))?>")
MAX_READ = 10_000  # characters; what is longer is refused by the engines anyway


def readable(prompt: str) -> str:
    """The same words as one part of a prompt."""
    return prompt if len(prompt) > MAX_READ else as_text(prompt)


def loras(prompt: str) -> tuple[str, tuple[str, ...]]:
    """The prompt without `<lora:NAME:WEIGHT>`, and those as the studio's setting `lora` writes them.

    Raises BadParams where text encoders and UNet are to have other weights, which the studio does not know.
    """
    found = tuple(_LORA.finditer(prompt[:MAX_READ]))
    for one in found:
        if ":" in (one[2] or "") or "=" in (one[2] or ""):
            raise BadParams(f"{one[0][:80]}: a LoRA has one weight here, as in <lora:{one[1][:40]}:0.8>.")
    named = tuple(one[1].strip() + (f":{one[2].strip()}" if one[2] else "") for one in found)
    return (" ".join(_LORA.sub(" ", prompt[:MAX_READ]).split()) + prompt[MAX_READ:] if found else prompt), named


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
