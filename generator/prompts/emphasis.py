r"""Words weighed inside a text, as AUTOMATIC1111 reads it (modules/prompt_parser.py, parse_prompt_attention).

`(word)` weighs 1.1, `[word]` 1 / 1.1, `(word:1.3)` 1.3; nested ones multiply; `\(` is a bracket to be drawn. Otherwise
than there a bracket without its other is text, and so are faces `:)` and a number that is no weight, `(16:9)`.
"""

from __future__ import annotations

import re

from generator.prompts.signs import plain
from generator.prompts.weights import NUMBER, weight_in_brackets

ROUND, SQUARE = 1.1, 1 / 1.1

Fragment = tuple[str, float]  # a piece of a text and its weight

_FACE = r"(?<!\S)(?:>?[:;=8][-'^o]?[()\[\]]+|[()]+[-'^o]?[:;=])(?=$|[\s,.!?])"
_TOKEN = re.compile(rf"(?P<face>{_FACE})|:\s*(?P<weight>{NUMBER})\s*\)|[()\[\]]")
_OTHER = {")": "(", "]": "["}


def fragments_of(text: str) -> tuple[Fragment, ...]:
    """The pieces of a text, escaped signs hidden, in order, neighbours of like weight as one; as they are read.

    One piece of weight 1 where nothing is weighed.
    """
    found: list[list[str | float]] = []
    at, factors = 0, [1.0]
    for start, end, factor in _brackets(text):
        _add(found, text[at:start], factors[-1])
        at = end
        if factor is None:
            factors.pop()
        else:
            factors.append(factors[-1] * factor)
    _add(found, text[at:], factors[-1])
    return _tidied([(str(piece), float(weight)) for piece, weight in found])


def _brackets(text: str) -> list[tuple[int, int, float | None]]:
    """Where brackets that weigh begin and end, in order: an opening one with its factor, a closing one with None."""
    opened: dict[str, list[re.Match[str]]] = {"(": [], "[": []}
    found: list[tuple[int, int, float | None]] = []
    for token in _TOKEN.finditer(text):
        sign = text[token.end() - 1]
        if token["face"]:
            continue
        if sign in opened:
            opened[sign].append(token)
            continue
        if not opened[_OTHER[sign]]:
            continue
        first = opened[_OTHER[sign]].pop()
        inside = text[first.end() : token.start()]
        weight = weight_in_brackets(inside, token["weight"]) if token["weight"] else None
        if weight is None and not text[first.end() : token.end() - 1].strip():
            continue  # nothing is in them
        close = token.start() if weight is not None else token.end() - 1
        factor = (ROUND if sign == ")" else SQUARE) if weight is None else weight
        found += [(first.start(), first.end(), factor), (close, token.end(), None)]
    return _nested(found)


def _nested(found: list[tuple[int, int, float | None]]) -> list[tuple[int, int, float | None]]:
    """In order of their place, without pairs that cross another: `(a [b) c]` has one pair."""
    pairs = [(found[n], found[n + 1]) for n in range(0, len(found), 2)]
    kept: list[tuple[tuple[int, int, float | None], tuple[int, int, float | None]]] = []
    for first, last in pairs:
        if not any(a[0] < first[0] < b[0] < last[0] or first[0] < a[0] < last[0] < b[0] for a, b in kept):
            kept.append((first, last))
    return sorted(one for pair in kept for one in pair)


def _add(found: list[list[str | float]], piece: str, weight: float) -> None:
    if not piece:
        return
    if found and found[-1][1] == weight:  # a bracket was between
        found[-1][0] = _joined(str(found[-1][0]), piece)
    else:
        found.append([piece, weight])


def _tidied(found: list[Fragment]) -> tuple[Fragment, ...]:
    """Without blanks around the whole, and with one between words that only a bracket parted."""
    made: list[Fragment] = []
    for number, (piece, weight) in enumerate(found):
        read = plain(piece)
        read = read.lstrip() if number == 0 else read
        read = read.rstrip() if number == len(found) - 1 else read
        if made:
            read = _joined(made[-1][0], read)[len(made[-1][0]) :]
        if read:
            made.append((read, weight))
    return tuple(made)


def _joined(before: str, after: str) -> str:
    """Both, with a blank between words that only a bracket parted."""
    return f"{before} {after}" if before[-1:].isalnum() and after[:1].isalnum() else before + after
