"""The word lists of one language: es.txt and eu.txt are the project's own, es-emoji.txt and eu-emoji.txt are CLDR's
names for emoji beside the labels of the training data (`python -m generator.training.wording`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Word:
    """One word or set phrase. english: by kind, as many kinds as it may be of; empty for an unknown word, which stays.

    raw: as it was typed. plural: of its form. case: what its ending says in Basque: "with", "of", "in", or "".
    """

    raw: str
    english: dict[str, str]
    plural: bool = False
    case: str = ""

    def said_as(self, kind: str) -> str | None:
        """Its English as a word of that kind."""
        return self.english.get(kind)

    @property
    def content(self) -> bool:
        """Whether it says something that can be drawn."""
        return any(kind in self.english for kind in ("noun", "adjective", "form"))


def fold(text: str) -> str:
    """In small letters without accents: "Corazón" -> "corazon"."""
    spread = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in spread if not unicodedata.combining(c))


class Lexicon:
    """A language's words. stems: a folded word -> what it may be a form of, likeliest first, with plural and case;
    base: the form under which the words of a set phrase are kept; phrase: words in English order."""

    def __init__(
        self,
        code: str,
        stems: Callable[[str], Iterator[tuple[str, bool, str]]],
        base: Callable[[str], str],
        phrase: Callable[[Sequence[Word]], list[str]],
    ) -> None:
        self.stems, self.base = stems, base
        self.words: dict[str, dict[str, str]] = {}
        self.phrases: dict[tuple[str, ...], dict[str, str]] = {}
        self.longest = 1
        whole: list[tuple[str, list[str], str]] = []
        for kind, foreign, english in (
            line for name in (code, f"{code}-emoji") for line in _lines(FOLDER / f"{name}.txt")
        ):
            words = fold(foreign).replace("-", " ").split()
            if len(words) == 1:
                self.words.setdefault(words[0], {}).setdefault(kind, english)
            else:
                whole.append((kind, words, english))
        for kind, words, english in whole:  # those that say no more than their words do are left out: "gato negro"
            if " ".join(phrase(self.read(words))) != english:
                self.phrases.setdefault(tuple(map(base, words)), {}).setdefault(kind, english)
        self.longest = max(map(len, self.phrases), default=1)

    def read(self, words: Sequence[str]) -> list[Word]:
        """The words as the lists know them, set phrases first."""
        found: list[Word] = []
        at = 0
        folded = [fold(word) for word in words]
        while at < len(words):
            for length in range(min(self.longest, len(words) - at), 0, -1):
                word = self._word(words[at : at + length], folded[at : at + length])
                if word.english or length == 1:
                    found.append(word)
                    at += length
                    break
        return found

    def _word(self, raw: Sequence[str], folded: Sequence[str]) -> Word:
        """One word, or the set phrase that begins a text; without English where there is none."""
        said = " ".join(raw)
        before = tuple(map(self.base, folded[:-1]))
        for stem, plural, case in self.stems(folded[-1]):
            english = self.phrases.get((*before, self.base(stem))) if before else self.words.get(stem)
            if english:
                return Word(said, english, plural, case)
        return Word(said, {})


def _lines(file: Path) -> Iterator[tuple[str, str, str]]:
    """(kind, foreign word, English) of a list: `[kind]` begins a part, `word, word = english` is a line of it."""
    kind = "noun"
    for line in file.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            kind = match[1]
            continue
        foreign, _is, english = line.partition(" = ")
        for word in foreign.split(", "):
            yield kind, word, english


def plural_of(noun: str) -> str:
    """'cat' -> 'cats', 'cherry' -> 'cherries', 'slice of pizza' -> 'slices of pizza'."""
    head, of, rest = noun.partition(" of ")
    irregular = {
        "man": "men",
        "woman": "women",
        "child": "children",
        "person": "people",
        "mouse": "mice",
        "foot": "feet",
    }
    irregular |= {
        "tooth": "teeth",
        "wolf": "wolves",
        "leaf": "leaves",
        "sheep": "sheep",
        "fish": "fish",
        "deer": "deer",
    }
    before, space, last = head.rpartition(" ")
    if last in irregular:
        last = irregular[last]
    elif re.search(r"(?:[^s]s|people|teeth|feet)$", last) and not re.search(r"(?:us|is)$", last):
        pass  # it is one already
    elif re.search(r"[^aeiou]y$", last):
        last = last[:-1] + "ies"
    else:
        last += "es" if re.search(r"(?:s|x|z|ch|sh)$", last) else "s"
    return before + space + last + of + rest
