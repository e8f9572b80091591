"""Spanish noun phrases in English: "dos gatos negros en una casa roja" -> "two black cats in a red house"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from generator.wording.languages.lexicon import Lexicon, Word, plural_of


def _singulars(word: str) -> Iterator[tuple[str, bool]]:
    yield word, False
    if word.endswith("ces"):
        yield word[:-3] + "z", True
    if word.endswith("es"):
        yield word[:-2], True
    if word.endswith("s"):
        yield word[:-1], True


def stems(word: str) -> Iterator[tuple[str, bool, str]]:
    """'gatas' -> 'gatas', 'gata' (plural), 'gato' (plural)."""
    forms = list(_singulars(word))
    yield from ((form, plural, "") for form, plural in forms)
    for form, plural in forms:
        if form.endswith("a"):
            yield form[:-1] + "o", plural, ""
            if form[-2:-1] not in "aeiou":
                yield form[:-1], plural, ""  # leona
        if form.endswith(("ito", "ita")):
            yield form[:-3] + "o", plural, ""
            yield form[:-3] + "a", plural, ""


def base(word: str) -> str:
    """One form for singular and plural, masculine and feminine."""
    for end in ("es", "s"):
        if len(word) > 4 and word.endswith(end):
            word = word[: -len(end)]
            break
    return word[:-1] if len(word) > 3 and word[-1] in "aoe" else word


@cache
def lexicon() -> Lexicon:
    """The lists, read once."""
    return Lexicon("es", stems, base, phrase)


def phrase(words: Sequence[Word]) -> list[str]:
    """The words in English, adjectives before their noun."""
    out: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        noun = word.said_as("form") or word.said_as("noun")
        if word.said_as("function") or noun is None or (_adjective_of_next(words, at)):
            out.append(word.said_as("function") or word.said_as("adjective") or word.raw)
            at += 1
            continue
        after, at = _adjectives(words, at + 1)
        out += [*after, plural_of(noun) if word.plural else noun]
    return out


def _adjective_of_next(words: Sequence[Word], at: int) -> bool:
    """Whether a word that may be either is an adjective: "dulce perro"."""
    following = words[at + 1] if at + 1 < len(words) else None
    return (
        "adjective" in words[at].english
        and following is not None
        and "noun" in following.english
        and ("adjective" not in following.english)
    )


def _adjectives(words: Sequence[Word], at: int) -> tuple[list[str], int]:
    """The adjectives that follow a noun, in English order, and where they end: the last one said stands first."""
    groups: list[str] = []
    while at < len(words):
        said = words[at].said_as("adjective")
        joined = words[at].said_as("function") == "and" and groups and at + 1 < len(words)
        if joined and (second := words[at + 1].said_as("adjective")) and "noun" not in words[at + 1].english:
            groups[-1] = f"{groups[-1]} and {second}"
            at += 2
        elif said == "very" or (words[at].said_as("function") == "very" and at + 1 < len(words)):
            following = words[at + 1].said_as("adjective")
            if following is None:
                break
            groups.append(f"very {following}")
            at += 2
        elif said:
            groups.append(said)
            at += 1
        else:
            break
    return groups[::-1], at
