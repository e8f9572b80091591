"""Which language a text is in, and the text in English."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from generator.wording.known_words import is_function_word, is_known, is_loan_word
from generator.wording.languages import basque, spanish
from generator.wording.languages.lexicon import Lexicon, Word, fold

_WORDS = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_TAG = re.compile(r"<[^<>]*>")  # `<lora:name:0.8>`
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
    these are words of that language and one of them names something to draw. In one that has English words besides,
    only the phrases of that language are read: "a cat on una mesa roja", but not "a mesa in the desert". Weights,
    brackets and numbers stay.
    """
    text = unicodedata.normalize("NFC", text)
    words = _WORDS.findall(_TAG.sub(" ", text))
    foreign = [word for word in words if not (is_known(word) and word.isascii()) and not _by_inflection(word)]
    if not foreign:
        return Translated(text)
    best, language = max(((_found(one, foreign, words), one) for one in LANGUAGES), key=lambda pair: pair[0])
    if best[0] * 2 <= len(foreign):
        return Translated(text)
    read = _phrases if _has_english(language, words) else _segment
    made = _SEGMENT.sub(lambda match: read(language, match[0]), text)
    return Translated(made, language.name) if made != text else Translated(text)


def _by_inflection(word: str) -> bool:
    """Whether a word is English, and another language's only in some inflection: Basque could say so "in a cake"."""
    return is_loan_word(word) and not any(one.lexicon().words.get(fold(word)) for one in LANGUAGES)


def _has_english(language: Language, words: Sequence[str]) -> bool:
    """Whether a text has words that are English and not of the language; "a", which is Spanish too, is where it begins
    a text, but for "a la playa"."""
    known = language.lexicon().words
    article = words[0].casefold() == "a" and not any("function" in known.get(fold(word), {}) for word in words[1:2])
    return article or any(_only_english(language, word) for word in words)


def _only_english(language: Language, word: str) -> bool:
    if is_function_word(word) or is_loan_word(word):
        return not language.lexicon().words.get(fold(word))
    return len(word) > 1 and word.isalpha() and is_known(word) and not language.lexicon().read([word])[0].english


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
    one = any(word.english.get("function") == "a" and word.raw in foreign for word in read)
    if not drawn & set(foreign) and not (drawn and one and all(word.english for word in read)):  # but for "un piano"
        return 0, 0
    return sum(part in had for part in foreign), len(had)


def _capital(word: str) -> bool:
    return word[0].isupper() and not word.isupper()


def _phrases(language: Language, text: str) -> str:
    """One piece of a text that has English in it, the phrases of the language in English; what may be either stays."""
    made: list[str] = []
    phrase: list[str] = []

    def close() -> None:
        made.append(_segment(language, "".join(phrase)) if _is_foreign(language, phrase) else "".join(phrase))
        phrase.clear()

    for word in re.findall(r"\s*\S+\s*|\s+", text):
        bare = word.strip()
        if not bare or is_function_word(bare) or not language.lexicon().read(bare.replace("-", " ").split())[0].english:
            close()
            made.append(word)
        else:
            phrase.append(word)
    close()
    return "".join(made)


def _is_foreign(language: Language, phrase: Sequence[str]) -> bool:
    """Whether words that a language has are meant as its own: one that English lacks is among them, and one that can
    be drawn."""
    words = [word.strip() for word in phrase]
    read = language.lexicon().read(words)
    own = any(not is_known(word) and not is_loan_word(word) for word in words)
    tied = len(words) > 1 and any("function" in word.english and len(word.raw) > 1 for word in read)  # "mesa con"
    return (own or tied) and any(word.content for word in read)


def _segment(language: Language, text: str) -> str:
    """One piece without punctuation; what stands around its words stays."""
    words = re.sub(r"(?<=\w)-(?=\w)", " ", text).split()
    read = language.lexicon().read(words)
    if not any(word.english for word in read):
        return text
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    said = re.sub(r"\b[aA](?= [aeiou])", "an", " ".join(language.phrase(read)))
    return before + said + after
