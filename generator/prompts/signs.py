r"""Signs that mean something in a prompt, and `\` before one that is to mean nothing; where prompts are parted."""

from __future__ import annotations

import re

_SIGNS = ':|()[]{}"_\\'
# While a text is taken apart an escaped sign is one of Unicode's noncharacters, which no prompt holds.
_HIDDEN = {sign: chr(0xFDD0 + number) for number, sign in enumerate(_SIGNS)}
_PLAIN = str.maketrans({hidden: sign for sign, hidden in _HIDDEN.items()})
_WRITTEN = str.maketrans({hidden: f"\\{sign}" for sign, hidden in _HIDDEN.items()})
_ESCAPED = re.compile(rf"\\([{re.escape(_SIGNS)}])")
_BAR, _BRACE = re.compile(r"\|"), re.compile(r"[{}]")
_QUOTED = re.compile(r'(?:^|\|)\s*("[^"]*")\s*(?=[|:]|$)')
HIDDEN_COLON = _HIDDEN[":"]


def hide(text: str) -> str:
    r"""Escaped signs out of the way: `3\:16` has no colon then."""
    return _ESCAPED.sub(lambda match: _HIDDEN[match[1]], text)


def escaped(text: str) -> str:
    r"""A text that is read as it is written: each sign that means something has a `\\` before it."""
    return re.sub(rf"([{re.escape(_SIGNS)}])", r"\\\1", text)


def plain(hidden: str) -> str:
    """A hidden text as it is read: the signs without what escaped them."""
    return hidden.translate(_PLAIN)


def written(hidden: str) -> str:
    """A hidden text as it was written."""
    return hidden.translate(_WRITTEN)


def split(prompts: str) -> list[str]:
    r"""The parts between |, as they were written, without the blanks around them.

    No such mark is a | that is escaped, inside a pair of braces, or in a part that is "quoted".
    """
    return [written(part).strip() for part in split_hidden(hide(prompts))]


def split_hidden(text: str, *, braces: bool = True) -> list[str]:
    """The same of a hidden text, blanks and all."""
    return cut(text, [*(braces_in(text) if braces else ()), *_quotes(text)])


def cut(text: str, kept: list[tuple[int, int]]) -> list[str]:
    """The pieces of a text between |, but for those between one of these places and another."""
    pieces, last, end = [], 0, -1
    waiting = iter(sorted(kept))
    start, stop = next(waiting, (len(text), len(text)))
    for match in _BAR.finditer(text):
        at = match.start()
        while start < at:
            end = max(end, stop)
            start, stop = next(waiting, (len(text), len(text)))
        if at > end:
            pieces.append(text[last:at])
            last = at + 1
    return [*pieces, text[last:]]


def braces_in(text: str) -> list[tuple[int, int]]:
    """Where pairs of braces that are in no other begin and end, in order; one without its other is text."""
    opened: list[int] = []
    found: list[tuple[int, int]] = []
    for match in _BRACE.finditer(text):
        if match[0] == "{":
            opened.append(match.start())
        elif opened:
            start = opened.pop()
            while found and found[-1][0] > start:
                found.pop()  # it is in this one
            found.append((start, match.start()))
    return found


def _quotes(text: str) -> list[tuple[int, int]]:
    """Where quotes that are around a whole part begin and end."""
    return [match.span(1) for match in _QUOTED.finditer(text)]
