"""Things that the embedded models never saw, by the names of what looks most like them: "a walrus" -> "a seal".

Their text tower puts a word that was no name of a picture beside one that is spelled alike or said in the same breath:
a king was drawn as a letter, a yak as nothing. likenesses.txt is written by hand, a line for each name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from generator.wording.known_words import is_known
from generator.wording.languages.lexicon import plural_of
from generator.wording.scenes import colour_of, is_thing, names, singular, with_article

TABLE = Path(__file__).with_name("likenesses.txt")
MOST_WORDS = 4  # of what is looked up
# Not half of a compound, and not whose something is: of a king's crown the crown is drawn.
_WORD = re.compile(r"(?<![\w-])[a-z]+(?![\w-]|['’]\w)", re.IGNORECASE)


@dataclass(frozen=True)
class Likened:
    """A text in names of pictures. read: (what was typed, what it is read as), in order."""

    text: str
    read: tuple[tuple[str, str], ...] = ()


@cache
def table() -> dict[str, str]:
    """Names by what they stand for, all in small letters."""
    lines = (line.split(": ") for line in TABLE.read_text(encoding="utf-8").splitlines())
    return {word: name for name, words in lines for word in words.split(", ")}


def liken(text: str) -> Likened:
    """The text with the likenesses of what has one. A word is left where it is part of a name, as in "palm tree", or
    says of what follows what it is, as in "a king penguin" or "van Gogh"."""
    words = list(_WORD.finditer(text))
    made, read, end, at = [], [], 0, 0
    while at < len(words):
        said, name = _longest(text, words[at:])
        if name is None or _tells_of_next(text, words[at + said :], words[at + said - 1], name):
            at += max(said, 1)
            continue
        typed = text[words[at].start() : words[at + said - 1].end()]
        before = text[end : words[at].start()]
        if article := re.search(r"\b(an?) $", before, re.IGNORECASE):
            right = with_article(name).removesuffix(name)  # none before "gloves"
            before = before[: article.start(1)] + (right.capitalize() if article[1][0] == "A" else right)
        made += [before, name]
        read.append((typed, name))
        at += said
        if at < len(words) and _follows(text, words[at - 1], words[at]) and words[at][0].casefold() == name.split()[-1]:
            at += 1  # an oak tree is a deciduous tree, once
        end = words[at - 1].end()
    return Likened("".join([*made, text[end:]]), tuple(read))


def _longest(text: str, words: list[re.Match[str]]) -> tuple[int, str | None]:
    """How many words from here on are one name, or have a likeness, and which; (0, None): the first is neither."""
    run = 1
    while run < min(MOST_WORDS, len(words)) and _follows(text, words[run - 1], words[run]):
        run += 1
    for count in range(run, 0, -1):
        said = " ".join(word[0].casefold() for word in words[:count])
        if count > 1 and (said in names() or _one(said) in names()):
            return count, None
        if said in table():
            return count, table()[said]
        if _one(said) in table():
            return count, plural_of(table()[_one(said)])
    return 0, None


def _tells_of_next(text: str, following: list[re.Match[str]], last: re.Match[str], name: str) -> bool:
    """Whether a thing follows that it says more of, a colour ("emerald green"), or what is no word: "van Gogh"."""
    if not following or not _follows(text, last, following[0]):
        return False
    word = following[0][0].casefold()
    if word == name.split()[-1]:
        return False
    return colour_of(word) is not None or not is_known(word) or any(map(_is_drawn, (word, singular(word))))


def _is_drawn(word: str) -> bool:
    return is_thing(word) or word in table()


def _follows(text: str, word: re.Match[str], following: re.Match[str]) -> bool:
    return text[word.end() : following.start()] == " "


def _one(said: str) -> str:
    before, space, last = said.rpartition(" ")
    return before + space + singular(last, table())
