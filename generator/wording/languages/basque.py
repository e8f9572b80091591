"""Basque noun phrases in English: "katu beltz bat etxe gorri batean" -> "a black cat in a red house"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from generator.wording.languages.lexicon import Lexicon, Word, plural_of

# Endings with what they say, longest first; "" is the article.
_ENDINGS = (
    ("arekin", False, "with"),
    ("rekin", False, "with"),
    ("ekin", True, "with"),
    ("aren", False, "of"),
    ("ren", False, "of"),
    ("etan", True, "in"),
    ("etako", True, "of"),
    ("eko", False, "of"),
    ("ko", False, "of"),
    ("ean", False, "in"),
    ("an", False, "in"),
    ("n", False, "in"),
    ("en", True, "of"),
    ("ak", True, ""),
    ("ek", True, ""),
    ("a", False, ""),
)
_HAVING = ("duen", "dituen", "daraman", "daramatzan", "duten", "dituzten")  # "txapela duen katua": with a hat
_PLACES = ("on", "under", "next to", "behind", "in front of", "in", "without", "in the style of")


def stems(word: str) -> Iterator[tuple[str, bool, str]]:
    """'gorriak' -> 'gorriak', 'gorri' (plural), 'gorria'; a doubled r before an ending is one."""
    yield word, False, ""
    for ending, plural, case in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 2:
            stem = word[: -len(ending)]
            yield stem, plural, case
            if stem.endswith("rr"):
                yield stem[:-1], plural, case
            yield stem + "a", plural, case  # words that end in -a, and names that are listed with their article


def base(word: str) -> str:
    """One form with and without the article."""
    if len(word) > 3 and word.endswith("a"):
        word = word[:-1]
    return word[:-1] if word.endswith("rr") else word


@cache
def lexicon() -> Lexicon:
    """The lists, read once; a name that is listed with its article counts without it too."""
    read = Lexicon("eu", stems, base, phrase)
    for word in [word for word in read.words if base(word) != word]:
        read.words.setdefault(base(word), read.words[word])
    return read


@dataclass
class _Chunk:
    """One noun with what belongs to it."""

    noun: str = ""
    article: str = ""
    numbers: list[str] = field(default_factory=list)
    adjectives: list[str] = field(default_factory=list)
    plural: bool = False
    relation: str = ""  # "with", "on" and so on: what stands before it in English
    having: bool = False

    def said(self) -> list[str]:
        """In English."""
        noun = plural_of(self.noun) if self.noun and (self.plural or self.numbers) else self.noun
        words = [self.relation, self.article, *self.numbers, *self.adjectives[::-1], noun]
        return [word for word in words if word]


def phrase(words: Sequence[Word]) -> list[str]:
    """The words in English: what follows a noun before it, endings and postpositions as prepositions."""
    chunks: list[_Chunk | str] = []
    now = _Chunk()

    def close() -> None:
        nonlocal now
        if now.said():
            chunks.append(now)
        now = _Chunk()

    for word in words:
        function = _function(word)
        if word.raw.casefold() in _HAVING and now.noun:
            now.relation, now.having = "with", True
            close()
        elif function in _PLACES:
            now.relation = function
            close()
        elif function in ("and", "or") or not (word.english or function):
            close()
            chunks.append(function or word.raw)
        elif function == "a":
            now.article, now.relation = "a", {"of": ""}.get(word.case, word.case) or now.relation
            if now.relation:
                close()
        elif function:
            (now.numbers if function not in ("this", "very", "not") else now.adjectives).append(function)
        else:
            if _begins(word, now):
                close()
            _join(word, now)
            if word.case in ("with", "in") and now.noun:
                now.relation = word.case
                close()
    close()
    return _ordered(chunks)


def _function(word: Word) -> str | None:
    """Its English as a function word; "batean" is "bat" with an ending."""
    return word.said_as("function")


def _begins(word: Word, now: _Chunk) -> bool:
    """Whether a word begins another noun's phrase."""
    if not now.noun:
        return False
    return bool(now.article) or "adjective" not in word.english


def _join(word: Word, now: _Chunk) -> None:
    adjective, noun = word.said_as("adjective"), word.said_as("form") or word.said_as("noun")
    if adjective and (now.noun or not noun):
        now.adjectives.append(adjective)
    elif noun:
        now.noun = noun
    now.plural = now.plural or word.plural


def _ordered(chunks: Sequence[_Chunk | str]) -> list[str]:
    """All in English; what somebody has ("txapela duen") follows them."""
    out: list[str] = []
    waiting: list[str] = []
    for chunk in chunks:
        if isinstance(chunk, str):
            out += [*waiting, chunk]
            waiting = []
        elif chunk.having:
            waiting += chunk.said()
        else:
            out += [*chunk.said(), *waiting]
            waiting = []
    return out + waiting
