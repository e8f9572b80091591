"""Whether a number after a colon is a weight.

It is one where it lies between -100 and 100, what stands before the colon does not end in a digit, and no other reading
is likelier: `a cat:2`, `fog:-1` and `a cat : 2` weigh; `John 3:16`, `scale 1:87`, `10:30` and `:3` do not.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from generator.prompts.signs import HIDDEN_COLON

MAX_WEIGHT = 100.0
MAX_LENGTH = 6000  # characters; longer ones are refused whatever they say
MAX_STOP = 5.0  # half the square of pi, and a little: no spherical distance is greater
NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"

_ONE = re.compile(rf"(?P<text>.*?)(?P<before>\s*):(?P<after>\s*)(?P<weight>{NUMBER})\s*", re.S)
_TWO = re.compile(rf"(?P<text>.*?)(?P<before>\s*):(?P<after>\s*)(?P<weight>{NUMBER})\s*:\s*(?P<stop>{NUMBER})\s*", re.S)
_QUOTED = re.compile(r'\s*"[^"]*"')
# What is said to have a number, or to be one: `ISBN:978`, `seed:5`, `ratio:16:9`.
_NUMBERED = re.compile(
    r"(?:isbn|issn|ean|id|no|nr|page|chapter|verse|psalm|vol|volume|episode|season|version|scale|ratio|score|seed|format)"
    r"\.?",
    re.I,
)
_HOST = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://|www\.)[^\s/]+|localhost|[^\s@]+@[^\s@]+", re.I
)  # what follows it is a port
_ADDRESS = re.compile(r"[0-9a-f]*(?::[0-9a-f]*){4,}", re.I)  # of IPv6, or of a network card
_FACE = re.compile(r"-?[03]")  # after eyes: :3 :0


@dataclass(frozen=True)
class Tail:
    """A part without its numbers, and these: as they were written, empty where there is none."""

    text: str
    weight: str = ""
    stop: str = ""


def tail_of(part: str, *, alone: bool = False) -> Tail:
    """What a part, escaped signs hidden, is without the weight and the stop at its end.

    alone: it is the whole prompt, in which `Apollo: 13` is a name, since there is nothing to weigh it against.
    """
    for form in (_TWO, _ONE) if len(part) <= MAX_LENGTH else ():
        match = form.fullmatch(part)
        if match and _is_weight(match, alone):
            groups = match.groupdict()
            return Tail(match["text"].strip(), groups["weight"], groups.get("stop") or "")
    return Tail(part.strip())


def weight_in_brackets(before: str, number: str) -> float | None:
    """The number of `(before:number)`; None where it is text as well, `(16:9)`. A decimal weighs: `(R2-D2:1.3)`."""
    if not number.isdigit() and before.strip() and _within(number, MAX_WEIGHT):
        return float(number)
    match = _ONE.fullmatch(f"{before}:{number}")
    return float(number) if match and _is_weight(match, alone=False) else None


def _is_weight(match: re.Match[str], alone: bool) -> bool:
    text, weight = match["text"].strip(), match["weight"]
    stop = match.groupdict().get("stop")
    if not text or not _within(weight, MAX_WEIGHT) or (stop and not _within(stop, MAX_STOP)):
        return False
    if _QUOTED.fullmatch(text) or HIDDEN_COLON in text:  # whoever writes so says which colon is which
        return True
    return not text[-1].isdigit() and not _reads_otherwise(match, text, weight, stop, alone)


def _within(number: str, most: float) -> bool:
    return math.isfinite(float(number)) and abs(float(number)) <= most


def _reads_otherwise(match: re.Match[str], text: str, weight: str, stop: str | None, alone: bool) -> bool:
    """Whether another reading of the numbers is likelier than that they weigh the text."""
    word = text.split()[-1]
    punctuation = bool(match["after"]) and not match["before"]  # `Title: 2`
    whole = weight.isdigit()
    if word[-1] == ":" or "::" in word or word == ">" or _NUMBERED.fullmatch(word):
        return True
    if stop is None and match["before"] and not match["after"] and _FACE.fullmatch(weight):
        return True
    if whole and _HOST.fullmatch(word):
        return True
    if whole and (stop is None or stop.isdigit()) and _ADDRESS.fullmatch(f"{word}:{weight}"):
        return True
    if stop is not None:
        return whole and stop.isdigit() and punctuation  # `Departure: 10:30`, `Result: 2:1`
    return weight.lstrip("+-").isdigit() and punctuation and alone  # `Apollo: 13`, `Temperature: -5`
