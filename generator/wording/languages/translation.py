"""Which language a text is in, and the text in English."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from generator.wording.known_words import is_known
from generator.wording.languages import basque, spanish
from generator.wording.languages.lexicon import Lexicon, Word

_WORDS = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_SEGMENT = re.compile(r"[^|,;:.!?¿¡()\[\]{}\"“”«»\n\\/]+")


@dataclass(frozen=True)
class Language:
    """One that is translated. name: in English, for notices."""

    name: str
    lexicon: Callable[[], Lexicon]
    phrase: Callable[[Sequence[Word]], list[str]]


LANGUAGES = (
    Language("Spanish", spanish.lexicon, spanish.phrase),
    Language("Basque", basque.lexicon, basque.phrase),
)


@dataclass(frozen=True)
class Translated:
    """language: the one the text was in, None where it stays as it is."""

    text: str
    language: str | None = None


def translate(text: str) -> Translated:
    """A text in English, where it is Spanish or Basque and most of its words are on the lists.

    English goes first: a text is read as another language's where it has words that are not English, more than half of
    these are words of that language and one of them names something to draw. Weights, brackets and numbers stay.
    """
    text = unicodedata.normalize("NFC", text)
    words = _WORDS.findall(text)
    foreign = [word for word in words if not is_known(word) or "ñ" in word.casefold()]
    if not foreign:
        return Translated(text)
    best, language = max(((_found(one, foreign, words), one) for one in LANGUAGES), key=lambda pair: pair[0])
    if best[0] * 2 <= len(foreign):
        return Translated(text)
    return Translated(_SEGMENT.sub(lambda match: _segment(language, match[0]), text), language.name)


def _found(language: Language, foreign: Sequence[str], words: Sequence[str]) -> tuple[int, int]:
    """How many of the words that are not English the language has, and of all; 0 where none of them can be drawn.

    Names stay: "Mona Lisa", and what has a capital amidst small letters.
    """
    read = language.lexicon().read(words)
    names = {word for word in words[1:] if word[0].isupper()} if any(word.islower() for word in words) else set()
    if len(words) > 1 and all(map(_capital, words)) and not any("function" in word.english for word in read):
        names = set(words)
    had = [part for word in read if word.english for part in word.raw.split() if part not in names]
    drawn = {part for word in read if word.content for part in word.raw.split()} - names
    if not drawn & set(foreign):
        return 0, 0
    return sum(part in had for part in foreign), len(had)


def _capital(word: str) -> bool:
    return word[0].isupper() and not word.isupper()


def _segment(language: Language, text: str) -> str:
    """One piece without punctuation; what stands around its words stays."""
    words = re.sub(r"(?<=\w)-(?=\w)", " ", text).split()
    read = language.lexicon().read(words)
    if not any(word.english for word in read):
        return text
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    said = re.sub(r"\b[aA](?= [aeiou])", "an", " ".join(language.phrase(read)))
    return before + said + after
