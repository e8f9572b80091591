"""Scenes in prompts: "two red apples under a tree at night" is things, counts, colours, a relation and a place.

A small grammar over words that are known; what it does not understand wholly it does not read at all, so that such a
prompt is drawn as one picture, as ever.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cache

from generator.prompts import Prompt
from generator.wording.emoji import TABLE
from generator.wording.known_words import is_function_word, is_known
from generator.wording.scene_words import (
    ACTS,
    ARTICLES,
    BEINGS,
    DRAWN_AS,
    FEATURES,
    HAVE_FACES,
    HOLDS,
    NUMBERS,
    PLACES,
    QUANTITIES,
    RAMPS,
    RELATIONS,
    SAME_COLOUR,
    SCENERY,
    SEVERAL,
    SIZES,
    WEATHER,
    WORN,
)

MAX_THINGS, MAX_COUNT, MAX_WORDS = 3, 9, 5  # of a scene, of one thing, and of what one thing is called
_PARTICIPLE = (
    r"(?:(?!king\b|ring\b|wing\b|string\b|building\b|painting\b|pudding\b)\w{2,}ing |seated |perched |hidden )"
)
_FORMS = (
    ("ses", "s"),
    ("men", "man"),
    ("ves", "f"),
    ("ies", "y"),
    ("oes", "o"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("xes", "x"),
    ("sses", "ss"),
)
_SINGULAR = {"mice": "mouse", "geese": "goose", "men": "man", "women": "woman", "people": "person", "wolves": "wolf",
             "children": "child", "knives": "knife", "sheep": "sheep", "fish": "fish", "dice": "die"}  # fmt: skip
_NEVER_ONE = frozenset(
    [
        "glasses",
        "sunglasses",
        "scissors",
        "jeans",
        "headphones",
        "grapes",
        "cherries",
        "fries",
        "goggles",
        "shorts",
        "skis",
    ]
)
_TIES = re.compile(r"\b(?:with|and|on|in|of|under|over|behind|at|from|without|holding|wearing)\b")


@dataclass(frozen=True)
class Thing:
    """One kind of thing in a scene. noun: in the singular, as it was said; name: what the embedded models draw it best
    by; colour: a row of RAMPS; size: 1 for the usual."""

    noun: str
    name: str
    count: int = 1
    colour: str | None = None
    size: float = 1.0

    @property
    def drawn_from(self) -> str:
        """The caption of one of them without its colour, which is given to what is drawn."""
        return with_article(self.name)

    @property
    def caption(self) -> str:
        """The caption of one of them."""
        return with_article(f"{self.colour} {self.name}" if self.colour else self.name)

    @property
    def worn_on(self) -> str | None:
        """Where this is worn: a row of WORN; None where it is nothing to wear."""
        words = self.noun.split()
        return next((spot for spot, nouns in WORN.items() if words and words[-1] in nouns), None)


@dataclass(frozen=True)
class Scene:
    """relations: how each thing but the first stands to all before it; place and weather: rows of PLACES and WEATHER,
    or a colour of RAMPS for a plain background."""

    things: tuple[Thing, ...]
    relations: tuple[str, ...] = ()
    place: str | None = None
    weather: str | None = None


def read_scene(prompt: Prompt | str) -> Scene | None:
    """The scene that a prompt tells; None where it is not understood wholly, or tells of one thing alone that pictures
    are of as it is said: "a red apple" is, "a blue apple" is not."""
    if isinstance(prompt, Prompt):
        if prompt.fragments:
            return None  # words weighed against each other are for CLIP to weigh
        prompt = prompt.text
    text = re.sub(r"\s+", " ", prompt.casefold().replace("’", "'")).strip(" .!,")
    if len(text) > 160 or re.search(r"[^a-z0-9 ,'-]", text) or _bare(text) in names():
        return None
    text, place, weather = _surroundings(text)
    pieces = _ties().split(text)
    phrases, relations = pieces[::2], [_relation_of(tie) for tie in pieces[1::2]]
    if not 1 <= len(phrases) <= MAX_THINGS:
        return None
    things = [_thing(phrase.strip(" ,")) for phrase in phrases]
    if any(thing is None for thing in things):
        return None
    found = tuple(thing for thing in things if thing is not None)
    made = _understood(Scene(found, tuple(relations), place, weather), phrases)
    if made is None or len(made.things) > 1 or made.things[0].count > 1 or place or weather:
        return made
    return _of_another_colour(made.things[0])


def _understood(scene: Scene, phrases: list[str]) -> Scene | None:
    """The scene with what its words leave open decided; None where they may mean something else."""
    relations = list(scene.relations)
    things = list(scene.things)
    strange = [thing for thing in things if not is_thing(thing.noun) and thing.noun not in DRAWN_AS]
    if things[0].noun.split()[-1] in FEATURES | SCENERY or len(strange) > max(1, len(things) / 2):
        return None
    for number, relation in enumerate(relations):
        first, second = things[0], things[number + 1]
        if {word for noun in (first.noun, second.noun) for word in noun.split()[-1:]} & FEATURES:
            return None
        article = re.match(rf"(?:{'|'.join(ARTICLES)}|{'|'.join(NUMBERS)}|\d) ", phrases[number + 1].strip(" ,"))
        told = article is not None or second.count > 1
        if relation in ("and", "with") and not (told and is_thing(second.noun) and is_thing(first.noun)):
            return None
        if relation == "and":
            relations[number] = "next to"
        if relation == "in" and second.worn_on and _is_being(first.noun):
            relations[number] = "wearing"
        if relation == "with":
            if not _is_being(first.noun):
                return None
            relations[number] = "wearing" if second.worn_on else "holding"
        if relations[number] == "wearing":
            if second.worn_on is None:
                return None
            if second.worn_on in ("head", "eyes", "ears") and first.noun in HAVE_FACES:
                things[0] = replace(first, name=f"{first.name} face")
    return replace(scene, things=tuple(things), relations=tuple(relations))


def _of_another_colour(thing: Thing) -> Scene | None:
    """One thing alone, as large as things are, where its colour is asked for and not in its name. What something holds
    has its own: a glass of red wine is no red glass."""
    if thing.colour is None or not is_thing(thing.noun) or "of" in thing.noun.split():
        return None
    return None if f"{thing.colour} {thing.noun}" in names() else Scene((replace(thing, size=1.0),))


@cache
def names() -> frozenset[str]:
    """What single pictures are called, without signs, in small letters."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return frozenset(re.sub(r"[:“”-]", " ", line.split("\t")[1].casefold()).replace("’", "'") for line in lines)


@cache
def _nouns() -> frozenset[str]:
    """Their last words, where nothing ties several together."""
    return frozenset(name.split()[-1] for name in names() if name.split() and not _TIES.search(name)) | BEINGS


def is_thing(noun: str) -> bool:
    """Whether it is what a picture is called, or such a thing with words before it that say more of it."""
    words = noun.split()
    return noun in names() or (bool(words) and words[-1] in _nouns() and words[-1] not in FEATURES)


def _is_being(noun: str) -> bool:
    return noun.split()[-1] in BEINGS or noun.endswith(" face")


def _bare(text: str) -> str:
    return re.sub(r"^(?:a|an|the) ", "", text).replace("-", " ")


@cache
def _around() -> tuple[tuple[re.Pattern[str], str, str], ...]:
    """Patterns of places and weather, the longest first, with what they say and which of the two it is."""
    rows = [
        (phrase, name, kind)
        for kind, table in (("place", PLACES), ("weather", WEATHER))
        for name, phrases in table.items()
        for phrase in phrases
    ]
    colours = "|".join([*RAMPS, *SAME_COLOUR])
    plain = rf"(?:on|with|against|in front of) (?:a |an )?(?:plain |solid |bright |light |dark )*({colours}) background"
    patterns = [(rf"[ ,]+{phrase}(?=$|[ ,])", name, kind) for phrase, name, kind in rows]
    patterns.sort(key=lambda row: -len(row[0]))
    made = tuple((re.compile(pattern), name, kind) for pattern, name, kind in patterns)
    return ((re.compile(rf"[ ,]+{plain}$"), "", "colour"), *made)


def _surroundings(text: str) -> tuple[str, str | None, str | None]:
    """The text without the place and the weather that it tells at its end, and these."""
    found: dict[str, str] = {}
    for _ in range(2):
        for pattern, name, kind in _around():
            match = pattern.search(text)
            what = "place" if kind == "colour" else kind
            # In the middle of a prompt it belongs to the thing before it, or is one itself.
            if match is None or match.end() != len(text) or what in found:
                continue
            found[what] = name or colour_of(match[1]) or match[1]
            text = re.sub(rf" {_PARTICIPLE.strip().replace(' |', '|').replace(' )', ')')}$", "", text[: match.start()])
            break
    return text, found.get("place"), found.get("weather")


@cache
def _ties() -> re.Pattern[str]:
    """What stands between two things; one group, for re.split."""
    acts = sorted({verb for verbs in ACTS.values() for verb in verbs}, key=len, reverse=True)
    ways = sorted({word for words in RELATIONS.values() for word in words}, key=len, reverse=True)
    return re.compile(
        rf"((?<=[a-z,]) (?:(?:that |which |who )?(?:is |are )?(?:{'|'.join(acts)})"
        rf"|(?:that |which |who )?(?:is |are )?{_PARTICIPLE}?(?:{'|'.join(ways)})|with|and)(?= )|,(?= ))"
    )


def _relation_of(tie: str) -> str:
    tie = re.sub(r"^(?:that |which |who )?(?:is |are )?", "", tie.strip())
    if tie in ("with", "and", ","):
        return "with" if tie == "with" else "and"
    for relation, verbs in ACTS.items():
        if tie in verbs:
            return relation
    tie = re.sub(rf"^{_PARTICIPLE}", "", tie)
    return next(relation for relation, words in RELATIONS.items() if tie in words)


def colour_of(word: str) -> str | None:
    """The row of RAMPS that a word names; None: it names none."""
    word = SAME_COLOUR.get(word, word)
    return word if word in RAMPS else None


def singular(word: str, others: Collection[str] = ()) -> str:
    """'apples' -> 'apple'; a word that is none in the plural stays. others: nouns that are not of pictures."""
    if word in _SINGULAR:
        return _SINGULAR[word]
    if word in _NEVER_ONE:
        return word
    for ending, instead in _FORMS:
        if word.endswith(ending) and ((one := word[: -len(ending)] + instead) in _nouns() or one in others):
            return one
    return word if not word.endswith("s") or word.endswith(("ss", "us")) else word[:-1]


def _thing(phrase: str) -> Thing | None:
    """What one phrase names; None where it has a word that is not known, or too many."""
    phrase = re.sub(rf" {_PARTICIPLE.strip().replace(' |', '|').replace(' )', ')')}$", "", phrase)
    words = phrase.split()
    count, told = 1, False
    quantity = next((said for said in QUANTITIES if phrase.startswith(f"{said} ")), None)
    rest = words[len(quantity.split()) :] if quantity else []
    if quantity and _are_several(rest):
        count, words, told = QUANTITIES[quantity], rest, True
    elif words and words[0] in ARTICLES:
        words, told = words[1:], True
    elif words and (words[0] in NUMBERS or re.fullmatch(r"[2-9]", words[0])):
        count, words, told = NUMBERS.get(words[0]) or int(words[0]), words[1:], True
    if not 1 <= len(words) <= MAX_WORDS or any(not re.fullmatch("[a-z][a-z-]*", word) for word in words):
        return None
    if not all(is_known(word) or is_known(singular(word)) or _bare(" ".join(words)) in names() for word in words):
        return None
    if any(is_function_word(word) and word != "of" and colour_of(word) is None for word in words):
        return None
    if "of" in words and (words[0] == "of" or words[words.index("of") - 1] not in HOLDS):
        return None
    if count == 1 and _are_several(words):
        count, told = SEVERAL, True
    if count > 1:
        head = words.index("of") - 1 if "of" in words[1:] else len(words) - 1
        words[head] = singular(words[head])
    size = next((SIZES[word] for word in words[:-1] if word in SIZES), 1.0)
    colour = next((colour_of(word) for word in words[:-1] if colour_of(word)), None)
    noun = " ".join(word for word in words if word not in SIZES and not (colour_of(word) and word != words[-1]))
    noun = noun or words[-1]
    if not told and noun.split()[-1] not in _NEVER_ONE and not is_thing(noun) and not is_thing(singular(noun)):
        return None
    return Thing(noun, DRAWN_AS.get(noun, noun), count, colour, size)


def _are_several(words: list[str]) -> bool:
    """Whether these words name things in the plural; grapes and glasses are called so where there is one picture."""
    if not words or "of" in words or words[-1] in _NEVER_ONE:
        return False
    one = singular(words[-1])
    return one != words[-1] and not any(" ".join(words[n:]) in names() for n in range(len(words))) and is_thing(one)


def with_article(words: str) -> str:
    """'apple' -> 'an apple'; what is in the plural stays bare."""
    last = words.split()[-1]
    if last in _NEVER_ONE or (last.endswith("s") and not last.endswith(("ss", "us")) and singular(last) != last):
        return words
    return ("an " if re.match(r"[aeiou](?!ni|se|ne\b)", words) else "a ") + words
