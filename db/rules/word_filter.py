"""Words that the host refuses, found however they are written.

Both the text and the list are reduced to letters and digits without case, accents, invisible characters and letters
borrowed from look-alike alphabets; then a word is found where it begins and ends at a gap between words. Gaps inside it
do not matter: "b a d", "b.a.d" and "ba d" are "bad", "badge" is not. (What is removed follows Unicode Technical
Standard 39, "Unicode security mechanisms", section 4; the table of look-alikes is a small part of its own.)
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

# Letters that look like a Latin one, after casefolding.
_LOOK_ALIKES = str.maketrans(
    dict(zip("авеёкмнорстухіїјѕԁһӏԛԝгᴀɑɡıɪłøđðħŧ", "abeekmhopctyxiijsdhlqwraagiiloddht", strict=True))
    | dict(zip("αβγεηικμνορτυχω", "abyenikmvoptuxw", strict=True))
    | {"æ": "ae", "œ": "oe", "þ": "th"}
)
# Nothing is seen of these, though Unicode calls them letters or symbols.
_BLANK_LETTERS = "\u115f\u1160\u3164\uffa0\u2800"
# Alphabets that set no gaps between words: there a word is found anywhere.
_NO_GAPS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


def refused(text: str, words: Sequence[str]) -> str | None:
    """The first of the host's words, as the host wrote it, that the text holds; None where it holds none."""
    if not words:
        return None
    # An invisible character may stand inside a word or between two: each reading counts.
    readings = [_reading(text, joint) for joint in ("", " ")]
    for word, letters in _reduced(tuple(words)):
        anywhere = _NO_GAPS.search(letters) is not None
        for joined, gaps in readings:
            if any(anywhere or (at in gaps and at + len(letters) in gaps) for at in _places(letters, joined)):
                return word
    return None


def letters_of(word: str) -> str:
    """A word as it is compared; empty where nothing of it can be."""
    return _reading(word, "")[0]


@lru_cache(maxsize=8)
def _reduced(words: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(word, letters) for word in words if (letters := letters_of(word))]


def _reading(text: str, joint: str) -> tuple[str, set[int]]:
    """The text's letters in one string, and where in it there is a gap between words, both ends included."""
    plain = []
    # Twice: some characters fall apart only after casefolding, and the other way round.
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    for character in folded:
        kind = unicodedata.category(character)
        if kind in ("Mn", "Me"):
            continue
        if kind == "Cf" or character in _BLANK_LETTERS:
            plain.append(joint)
        else:
            plain.append(character if character.isalnum() or kind == "Mc" else " ")
    parts = "".join(plain).translate(_LOOK_ALIKES).split()
    gaps, at = {0}, 0
    for part in parts:
        at += len(part)
        gaps.add(at)
    return "".join(parts), gaps


def _places(letters: str, joined: str) -> Iterator[int]:
    at = joined.find(letters)
    while at != -1:
        yield at
        at = joined.find(letters, at + 1)
