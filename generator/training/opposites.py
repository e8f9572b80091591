"""Hard negatives for a CLIP: a caption with its colours, numbers, things or relation exchanged (NegCLIP, Yuksekgonul et
al. 2023, arXiv:2210.01936), which a bag of words cannot tell from the caption itself.

What tells of a scene is read, changed and told again; any other text is changed word by word.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import lru_cache
from itertools import combinations
from typing import Any

from generator.training.captions import COLOURS, STYLE_WORDS
from generator.training.scenes import COUNTS, HUES, PAIRS, WORDINGS, caption, is_held_out
from generator.wording.scene_words import PLACES, RAMPS, WEATHER
from generator.wording.scenes import Scene, read_scene

RELATIONS = ("on", "in", "under", "behind", "above", "below", "wearing", "holding", "riding", "left of", "right of")
ALIKE = 80  # of 255 in every channel: colours nearer than that might both be true
MUTUAL = "next to"  # a relation that is true either way, and nearly so of what holds or stands behind
SPATIAL = ("on", "in", "under", "above", "behind")  # in which anything may stand to anything
# Relations, and places, of which two may be true at once.
NEAR = ({"on", "riding"}, {"holding", "behind"}, {"wearing", "under"}, {"wearing", "in"})
SURROUNDINGS = ({"night", "moonlight", "space", "moon", "sky"}, {"sea", "underwater", "beach"}, {"snow", "mountains"})


def opposite(text: str, draw: random.Random) -> str | None:
    """The caption of another picture in nearly the same words; None where there is nothing to exchange."""
    said, comma, rest = text.partition(", ")
    told = _read(said)
    if told is not None and (kinds := others(told)):
        words_of = {relation: _word(relation, said) for relation in told.relations}
        return caption(draw.choice(draw.choice(kinds)), words_of) + comma + rest
    words = said.split()
    coloured = [place for place, word in enumerate(words) if word in COLOURS]
    if len({words[place] for place in coloured}) > 1:
        first, second = coloured[0], next(at for at in coloured if words[at] != words[coloured[0]])
        words[first], words[second] = words[second], words[first]
        return _with_articles(words, first, second) + comma + rest
    if told is None and "background" not in words:
        for relation in RELATIONS:
            before, between, after = said.partition(f" {relation} ")
            if between and before != after:
                return f"{after}{between}{before}{comma}{rest}"
    if coloured:
        words[coloured[0]] = draw.choice([colour for colour in COLOURS if colour != words[coloured[0]]])
        return _with_articles(words, coloured[0]) + comma + rest
    if rest in STYLE_WORDS.values():
        return f"{said}, {draw.choice([style for style in STYLE_WORDS.values() if style != rest])}"
    return None


def others(of: Scene) -> list[list[Scene]]:
    """Scenes that are told in nearly the same words and are not to be seen in pictures of this one, by what they differ
    in. None of them is held out."""
    kinds = [_exchanged(of), _related(of), _recoloured(of), _counted(of), _elsewhere(of)]
    free = [[scene for scene in kind if not is_held_out(scene)] for kind in kinds]
    return [kind for kind in free if kind]


def _exchanged(of: Scene) -> list[Scene]:
    """Colours or numbers of two things exchanged, or the two things of a relation."""
    made = []
    for (first, one), (second, other) in combinations(enumerate(of.things), 2):
        if one.colour and other.colour and not _alike(one.colour, other.colour):
            made.append(_with(_with(of, first, colour=other.colour), second, colour=one.colour))
        if one.count != other.count:
            made.append(_with(_with(of, first, count=other.count), second, count=one.count))
    if len(of.things) == 2 and of.relations[0] != MUTUAL:
        made.append(replace(of, things=of.things[::-1]))
    return made


def _related(of: Scene) -> list[Scene]:
    """Two things in another relation. Of these a text alone betrays nothing, as it does of a hat that wears a cat."""
    if len(of.things) != 2:
        return []
    own, nouns = of.relations[0], [thing.noun for thing in of.things]
    drawn = [name for name, sides in PAIRS.items() if all(n in side for n, side in zip(nouns, sides, strict=True))]
    known = dict.fromkeys([*drawn, *SPATIAL])
    return [replace(of, relations=(name,)) for name in known if name not in (own, MUTUAL) and {name, own} not in NEAR]


def _recoloured(of: Scene) -> list[Scene]:
    return [
        _with(of, at, colour=hue)
        for at, thing in enumerate(of.things)
        for hue in HUES
        if thing.colour and not _alike(hue, thing.colour)
    ]


def _counted(of: Scene) -> list[Scene]:
    return [
        _with(of, at, count=count)
        for at, thing in enumerate(of.things)
        for count in COUNTS
        if thing.count > 1 and thing.count != count
    ]


def _elsewhere(of: Scene) -> list[Scene]:
    """In another place, before another colour, or in other weather."""
    if of.place in PLACES:
        near = next((group for group in SURROUNDINGS if of.place in group), {of.place})
        return [replace(of, place=place) for place in PLACES if place not in near]
    if of.place is not None:
        return [replace(of, place=hue) for hue in HUES if not _alike(hue, of.place)]
    return [replace(of, weather=weather) for weather in WEATHER if of.weather not in (None, weather)]


def _with(of: Scene, at: int, **changes: Any) -> Scene:
    """The scene with one of its things changed."""
    return replace(of, things=(*of.things[:at], replace(of.things[at], **changes), *of.things[at + 1 :]))


# A caption and the same with its style come one after the other.
_read = lru_cache(maxsize=64)(read_scene)


def _alike(one: str, other: str) -> bool:
    return max(abs(a - b) for a, b in zip(RAMPS[one][1], RAMPS[other][1], strict=True)) <= ALIKE


def _word(relation: str, said: str) -> str:
    """In which words a text tells a relation; the usual ones where it is told in none of them."""
    found = (word for word in sorted(WORDINGS[relation], key=len, reverse=True) if f" {word} " in said)
    return next(found, WORDINGS[relation][0])


def _with_articles(words: list[str], *places: int) -> str:
    """The words as a text, with "a" and "an" as the words at these places have them."""
    for place in places:
        if place and words[place - 1] in ("a", "an"):
            words[place - 1] = "an" if words[place][0] in "aeiou" else "a"
    return " ".join(words)
