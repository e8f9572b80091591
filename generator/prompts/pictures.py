"""Pictures named with weights: `a.png:2 | "photo 3:4.png":-1`. A name is taken as it is: nothing in it is escaped.

A number after a name's last colon weighs it, and one after that is its stop. A name that ends so itself, or that has a
| in it, is written "quoted".
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from generator.prompts.parts import Prompt, PromptError, checked, something_to_draw
from generator.prompts.signs import split_hidden
from generator.prompts.weights import MAX_WEIGHT, NUMBER

_TAIL = re.compile(rf"(?P<name>.*?)\s*:\s*(?P<weight>{NUMBER})(?:\s*:\s*(?P<stop>{NUMBER}))?", re.S)
_ONE = re.compile(rf"(?P<name>.*)\s*:\s*(?P<weight>{NUMBER})(?P<stop>)", re.S)


def parse_pictures(pictures: str, *, negative_only: bool = False) -> tuple[Prompt, ...]:
    """`"a.png:2 | b.png:-1"` -> two Prompts whose texts are the names. Raises PromptError as `parse_prompts`."""
    parts = checked([part.strip() for part in split_hidden(pictures, braces=False)])
    return something_to_draw(tuple(_parsed(part) for part in parts), negative_only)


def quoted(name: str) -> str:
    """A name so written that all of it is read as the name. Raises PromptError for one that has quotes besides."""
    found = split_hidden(name, braces=False)
    if len(found) == 1 and name == name.strip() and _parsed(name) == Prompt(name):
        return name
    if '"' in name:
        raise PromptError(f"cannot hold the name {name!r}: with a | or a number at its end, it may have no quotes.")
    return f'"{name}"'


def with_files(pictures: str) -> str:
    """The same, names that files of this machine have as they are written in quotes, whatever signs are in them."""
    for whole in (pictures, *(match["name"] for form in (_TAIL, _ONE) if (match := form.fullmatch(pictures)))):
        if _is_file(whole):
            return quoted(whole) + pictures[len(whole) :]
    parts = [part.strip() for part in split_hidden(pictures, braces=False)]
    return " | ".join(quoted(part) if _is_file(part) else part for part in parts)


def with_another(pictures: str, name: str, other: str) -> str:
    """The same, another name in the place of one; weights and the other names stay as they are written."""
    parts = [part.strip() for part in split_hidden(pictures, braces=False)]
    return " | ".join(part.replace(name, other) if _parsed(part).text == name else part for part in parts)


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _parsed(part: str) -> Prompt:
    for form in (_TAIL, _ONE):
        match = form.fullmatch(part)
        if match is None or not match["name"].strip():
            continue
        weight, stop = float(match["weight"]), float(match["stop"] or -math.inf)
        if abs(weight) <= MAX_WEIGHT and (not match["stop"] or math.isfinite(stop)):
            return Prompt(_unquoted(match["name"].strip()), weight, stop)
    return Prompt(_unquoted(part))


def _unquoted(name: str) -> str:
    return name[1:-1] if len(name) > 2 and name[0] == name[-1] == '"' else name
