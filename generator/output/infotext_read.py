"""The settings of a picture as A1111 wrote them, taken apart: prompt, negative prompt, `Key: value` pairs."""

from __future__ import annotations

import json
import re

MAX_LINE = 20_000  # characters of the last line that are taken apart
_KEY = re.compile(r"\w[\w \-/]{1,100}")
_NEGATIVE = "Negative prompt:"
_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")


def parsed(text: str) -> dict[str, str]:
    """The parts of such a text by name, as A1111's infotext_utils.parse_generation_parameters; {} for no such text."""
    if not text.strip():
        return {}
    *lines, last = [line.strip() for line in text.strip().split("\n")]
    pairs = _pairs(last)
    if len(pairs) < 3:
        lines, pairs = [*lines, last], {}
    begins = next((n for n, line in enumerate(lines) if line.startswith(_NEGATIVE)), len(lines))
    negative = "\n".join(lines[begins:]).removeprefix(_NEGATIVE)
    return {**pairs, "Prompt": "\n".join(lines[:begins]), "Negative prompt": negative.strip()}


def _pairs(line: str) -> dict[str, str]:
    """`Key: value` pairs; a size 64x32 as Key-1 and Key-2."""
    line, found, at = line[:MAX_LINE], dict[str, str](), 0
    while (colon := line.find(":", at)) >= 0:
        key, start = line[at:colon].strip(), colon + 1
        while start < len(line) and line[start] == " ":
            start += 1
        value, at = _value(line, start)
        if _KEY.fullmatch(key):
            size = _SIZE.fullmatch(value)
            found |= {f"{key}-1": size[1], f"{key}-2": size[2]} if size else {key: value}
    return found


def _value(line: str, start: int) -> tuple[str, int]:
    """The value that starts there, and where the next key starts; in quotes it is a JSON string."""
    if line.startswith('"', start):
        try:
            value, end = json.JSONDecoder().raw_decode(line, start)
            if isinstance(value, str) and line[end : end + 1] in ("", ","):
                return value, end + 1
        except ValueError:
            pass
    end = line.find(",", start)
    end = len(line) if end < 0 else end
    return line[start:end].strip(), end + 1
