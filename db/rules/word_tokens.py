"""A text cut into tokens, in every way that it can be read; see db/rules/word_filter.py."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from characters.display_order import as_displayed
from characters.look_alikes import Shape, shapes
from characters.seen import holds_order_controls, is_order_control, shows_nothing

# Marks that are letters of their scripts, not ornaments: vowels of India and of South-East Asia.
_VOWELS = re.compile(r"[\u0900-\u109f\u1780-\u17ff\u1a00-\u1cff\ua800-\uabff]")
# #a55 is a colour; #bad is none.
_COLOUR = re.compile(r"#(?=[a-f]*[0-9])(?:[0-9a-f]{8}|[0-9a-f]{6}|[0-9a-f]{3,4})(?![0-9A-Za-z])", re.IGNORECASE)
# What stands between words of a sentence or an address without a blank, as in x-ray and and/or.
_IN_SENTENCES = frozenset("-‐‑‒–—/\\.,:;!?&+_…|·•@=#%$")
# And these join words that are whole (he'll), or open and close what stands beside one (book(s)).
_AROUND_WORDS = frozenset("'’‘`´ʼʻ\"“”„«»‹›()[]{}<>")
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
# A capital i among small letters looks like an l: kiII.
_CAPITAL_I = Shape("i", frozenset("i"), frozenset("il"), "LATIN", "", "", False)
_I_MAY_BE_L = re.compile("I.*[a-z]|[a-z].*I")
_VIETNAMESE = re.compile("[\u01a0\u01a1\u01af\u01b0\u0102\u0103\u0110\u0111\u1ea0-\u1ef9]")
_CHUNKS = re.compile("([A-Za-z]+)|.", re.DOTALL)
# How two tokens are parted: by nothing, by a sign that no sentence has there, by one that it has, by a blank, by one
# that only whole words have.
JOINED, ODD, TIGHT, APART, AROUND = range(5)


@dataclass(frozen=True, slots=True)
class Token:
    """Characters between two gaps. before: how it is parted from the token before it.

    letters: its own, whatever else they may be read as; script: the one it is written in, signs left out, empty where
    there is none or another too; accents: how many of its letters have one, as words of some languages do; many where
    marks have been heaped on them; is_vietnamese: whether it has an accent that only Vietnamese has.
    """

    shapes: tuple[Shape, ...]
    letters: str
    script: str
    before: int
    accents: int
    is_vietnamese: bool

    @property
    def is_plain(self) -> bool:
        """Whether each of its characters is a letter of a to z and nothing else."""
        return (
            self.script == "LATIN"
            and _CAPITAL_I not in self.shapes
            and self.letters.isascii()
            and self.letters.isalpha()
            and len(self.letters) == len(self.shapes)
        )


def letters_of(text: str) -> str:
    """A text as it is compared: letters and digits, without case, accents and look-alikes."""
    return "".join(shape.own for shape in shapes_of(text) if shape.own)


def shapes_of(text: str) -> Iterator[Shape]:
    """The characters of a text that may be letters."""
    for character in text:
        if not _is_mark(character) and not shows_nothing(character):
            yield from shapes(character)


def has_accents(text: str) -> bool:
    """Whether a letter in there has an accent."""
    return any(map(_is_accented, unicodedata.normalize("NFC", text)))


def readings(text: str) -> list[list[Token]]:
    """Every way to cut the text into tokens and to read them, the plainest first."""
    seen = [text]
    if holds_order_controls(text):
        shown = ("\n".join(as_displayed(line, base) for line in text.splitlines()) for base in (0, 1))
        seen = list(dict.fromkeys([text, *map(_bare, [text, *shown])]))
    made = []
    for one in seen:
        one = _COLOUR.sub(" ", one)
        kept = {c for c in set(one) if not (c.isascii() and c.isalnum())}
        hidden = any(shows_nothing(c) and not c.isspace() for c in kept)
        signs = {c for c in kept for shape in shapes(c) if shape.sign in ("ascii", "symbol")}
        ways = ["none", *(["ascii"] if any(map(str.isascii, signs)) else []), *(["all"] if signs else [])]
        made += [_tokens(one, apart, way) for apart in ((False, True) if hidden else (False,)) for way in ways]
    turned = [_turned(tokens) for tokens in made if any(s.only_turned for token in tokens for s in token.shapes)]
    return made + turned


def _bare(text: str) -> str:
    return "".join(c for c in text if not is_order_control(c))


def _tokens(text: str, apart: bool, signs: str) -> list[Token]:
    """apart: whether what shows nothing parts words. signs: which signs are letters: "none", "ascii" or "all"."""
    made: list[Token] = []
    now: list[Shape] = []
    gap, accents, vietnamese, before = APART, 0, False, " "
    for found in _CHUNKS.finditer(unicodedata.normalize("NFC", text)):
        chunk = found[0]
        read = (
            _plain(chunk if _I_MAY_BE_L.search(chunk) else chunk.lower())
            if found[1]
            else _letters_in(chunk, apart, signs)
        )
        if read is None:
            accents += 2 * _is_mark(chunk)
        elif read:
            now += read
            if not found[1]:
                accents += _is_accented(chunk)
                vietnamese = vietnamese or _VIETNAMESE.match(chunk) is not None
        else:
            if now:
                made.append(_token(now, gap, accents, vietnamese))
                now, gap, accents, vietnamese = [], JOINED, 0, False
            # Brackets back to back, as in (ba)(d), part nothing in a sentence.
            gap = ODD if chunk in _OPENING and before in _CLOSING else max(gap, _width(chunk))
        before = chunk
    if now:
        made.append(_token(now, gap, accents, vietnamese))
    return made


def _token(now: list[Shape], gap: int, accents: int = 0, vietnamese: bool = False) -> Token:
    scripts = {shape.script for shape in now if not shape.sign}
    letters = "".join(shape.own for shape in now)
    return Token(tuple(now), letters, scripts.pop() if len(scripts) == 1 else "", gap, accents, vietnamese)


@lru_cache(maxsize=8192)
def _plain(word: str) -> tuple[Shape, ...]:
    return tuple(_CAPITAL_I if letter == "I" else shapes(letter.lower())[0] for letter in word)


def _letters_in(character: str, apart: bool, signs: str) -> tuple[Shape, ...] | None:
    """What a character is read as: nothing for a gap, None for what is passed over."""
    if _is_mark(character):
        return None
    if shows_nothing(character):
        # A soft hyphen and joiners are inside words that people write; others may stand between two.
        passed = not character.isspace() and (not apart or character in "\u00ad\u200c\u200d\ufe0e\ufe0f")
        return None if passed else ()
    read = shapes(character)
    is_sign = bool(read) and read[0].sign in ("ascii", "symbol")
    return () if is_sign and (signs == "none" or (signs == "ascii" and read[0].sign == "symbol")) else read


@lru_cache(maxsize=4096)
def _is_accented(character: str) -> bool:
    return not character.isascii() and any(map(unicodedata.combining, unicodedata.normalize("NFD", character)))


def _width(character: str) -> int:
    if character in _AROUND_WORDS:
        return AROUND
    if character.isspace() or shows_nothing(character):
        return APART
    return TIGHT if character in _IN_SENTENCES else ODD


def _turned(tokens: list[Token]) -> list[Token]:
    """What is upside down, from the text's end: each letter is the one it is when turned."""
    made = (token for token in reversed(tokens) if any(shape.only_turned for shape in token.shapes))
    return [_token([*map(_turn, reversed(token.shapes))], APART) for token in made]


@lru_cache(maxsize=1024)
def _turn(shape: Shape) -> Shape:
    letter = shape.turned or shape.own
    return Shape(letter, frozenset(), frozenset({letter}), "LATIN", "", "", False)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Me") and not _VOWELS.match(character)
