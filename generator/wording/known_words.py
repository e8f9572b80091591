"""Which words of a text the embedded models do not know.

Their text tower was distilled on captions of emoji and on words of WordNet; known_words.txt is what of these draws
something sensible (`python -m generator.training.known_words` says how that is told).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("known_words.txt")
# Words that tie others together, and those that prompts are full of: nothing is drawn for them, and nothing is amiss.
FUNCTION_WORDS = Path(__file__).with_name("function_words.txt")
# English words of Spanish or Basque look, which the models may not know: a mesa, a bale, a tartan, Medusa.
LOAN_WORDS = Path(__file__).with_name("loan_words.txt")
_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_ENDINGS = (
    ("'s", ""),
    ("ies", "y"),
    ("ves", "f"),
    ("ves", "fe"),
    ("es", ""),
    ("es", "e"),
    ("s", ""),
    ("ing", ""),
    ("ing", "e"),
    ("ied", "y"),
    ("ed", ""),
    ("ed", "e"),
    ("ier", "y"),
    ("er", ""),
    ("er", "e"),
    ("iest", "y"),
    ("est", ""),
    ("est", "e"),
    ("ily", "y"),
    ("ly", ""),
    ("y", ""),
    ("y", "e"),
    ("ish", ""),
    ("less", ""),
    ("ful", ""),
)
_SPELLINGS = (("colour", "color"), ("grey", "gray"), ("tyre", "tire"), ("moustache", "mustache"), ("yoghurt", "yogurt"))


@cache
def _list(file: Path) -> frozenset[str]:
    return frozenset(file.read_text(encoding="utf-8").split())


def is_known(word: str) -> bool:
    """Whether a word, or what it is a form of, is on the list; numbers and single letters are."""
    word = "".join(c for c in unicodedata.normalize("NFKD", word.casefold()) if not unicodedata.combining(c))
    word = word.replace("’", "'")
    if (len(word) == 1 and word.isascii()) or any(c.isdigit() for c in word):
        return True
    if "-" in word:
        return all(is_known(part) for part in word.split("-") if part)
    word = word.removeprefix("o'")
    return any(form in _list(file) for form in _forms(word) for file in (TABLE, FUNCTION_WORDS))


def is_function_word(word: str) -> bool:
    """Whether it is an English word that ties others together."""
    return word.casefold() in _list(FUNCTION_WORDS)


def is_loan_word(word: str) -> bool:
    """Whether it is English as well, though it is on another language's list and may not be known."""
    return word.casefold() in _list(LOAN_WORDS)


def unknown_words(text: str) -> list[str]:
    """The words of a text that are not known, as they were typed, each once."""
    return [word for word in dict.fromkeys(_TOKEN.findall(text)) if not is_known(word)]


def is_english(text: str) -> bool:
    """Whether one word at least that says something is English; a text of one or two Latin words is taken to be: names
    are such."""
    words = [word for word in _TOKEN.findall(text) if not any(c.isdigit() for c in word)]
    if any(not _latin(word) for word in words):
        return any(_latin(word) and is_known(word) for word in words)
    said = [word for word in words if not is_function_word(word)]
    return len(said) < 3 or any(is_known(word) for word in said)


def _latin(word: str) -> bool:
    return all("LATIN" in unicodedata.name(c, "") or not c.isalpha() for c in word)


def _forms(word: str) -> Iterator[str]:
    yield word
    for british, american in _SPELLINGS:
        if british in word or american in word:
            yield word.replace(british, american)
            yield word.replace(american, british)
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 2:
            stem = word[: -len(ending)]
            yield stem + instead
            if not instead and len(stem) > 3 and stem[-1] == stem[-2]:
                yield stem[:-1]  # running
