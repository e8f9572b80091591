"""Scenes composed from the licensed art, each with captions that are true; generator.training.scene_sheet shows some.

Two or three things in a relation, several of a kind, other colours and materials, places and weather, at any side and
without end: number n is always the same scene. The grammar is the one that prompts are read by and the placing the one
that drafts are put together by. The 200 compositions of held_out_scenes.txt are never drawn as such.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from generator.starts.backdrops import backdrop
from generator.starts.figures import dark_part, has_colour, recoloured, trimmed
from generator.starts.placing import composed, mirrored, placed
from generator.training import dataset
from generator.training.captions import STYLE_WORDS, names_of
from generator.wording.scene_words import (
    COLOURLESS,
    DRAWN_AS,
    HAVE_FACES,
    NUMBERS,
    PLACES,
    RELATIONS,
    SIZES,
    WEATHER,
)
from generator.wording.scenes import Scene, Thing, read_scene, with_article

HELD_OUT = Path(__file__).with_name("held_out_scenes.txt")
_ANIMALS = [
    "cat",
    "dog",
    "lion",
    "tiger",
    "fox",
    "bear",
    "panda",
    "rabbit",
    "mouse",
    "pig",
    "cow",
    "horse",
    "monkey",
    "elephant",
    "frog",
    "penguin",
    "owl",
    "duck",
    "chicken",
    "turtle",
    "snail",
    "crab",
    "octopus",
    "hedgehog",
    "sheep",
    "unicorn",
    "dragon",
    "robot",
    "ghost",
    "snowman",
    "alien",
]
_FOOD = [
    "apple",
    "banana",
    "strawberry",
    "lemon",
    "carrot",
    "pear",
    "orange",
    "peach",
    "tomato",
    "pizza",
    "hamburger",
    "doughnut",
    "cookie",
    "cake",
    "egg",
]
_OBJECTS = [
    "book",
    "key",
    "bell",
    "candle",
    "camera",
    "guitar",
    "trumpet",
    "drum",
    "hammer",
    "umbrella",
    "balloon",
    "gift",
    "telephone",
    "clock",
]
_FLOWERS = ["rose", "tulip", "sunflower", "mushroom", "cactus"]
_VEHICLES = ["car", "bus", "rocket", "airplane", "bicycle", "sailboat", "tractor", "truck"]
_SMALL = [*_ANIMALS, *_FOOD, *_OBJECTS, *_FLOWERS]
# Who stands to whom in which relation.
PAIRS: dict[str, tuple[list[str], list[str]]] = {
    "wearing": (_ANIMALS, ["hat", "crown", "glasses", "sunglasses", "helmet", "headphones"]),
    "holding": (_ANIMALS, [*_FLOWERS[:3], *_OBJECTS[:11], "carrot", "banana", "apple", "lollipop", "trophy"]),
    "riding": (_ANIMALS[:25],
               ["bicycle", "horse", "motorcycle", "skateboard", "elephant", "camel", "turtle", "tractor"]),
    "on": ([*_ANIMALS, *_FOOD, "book", "bell"],
           ["bed", "chair", "book", "box", "mushroom", "drum", "cake", "skateboard", "cheese"]),
    "in": (_ANIMALS, ["box", "basket", "bathtub", "bucket", "cup", "car", "sailboat"]),
    "under": ([*_ANIMALS, *_FOOD[:5], "gift", "book"], ["umbrella", "tree", "palm tree", "mushroom"]),
    "above": (["rocket", "airplane", "butterfly", "bird", "star", "moon", "sun", "balloon", "bee", "cloud"],
              ["house", "castle", "tree", "car", "ship", "mountain", "cactus", "sunflower"]),
    "behind": (_ANIMALS, ["tree", "car", "house", "box", "cactus", "pumpkin", "sunflower"]),
    "next to": ([*_SMALL, *_VEHICLES], [*_SMALL, *_VEHICLES, "house", "tree", "castle"]),
}  # fmt: skip
# Things of one hue, that a child would colour.
_COLOURABLE = frozenset([*_FOOD[:10], *_VEHICLES[:2], "truck", "rose", "tulip", "balloon", "gift", "book", "umbrella",
                         "hat", "crown", "house", "frog", "dragon", "pig", "cat", "bear", "chair"])  # fmt: skip
HUES = ["red", "orange", "yellow", "green", "blue", "purple", "pink"]
COUNTS = (2, 3, 4, 5)
_MATERIALS = ["golden", "silver", "wooden", "icy", "white", "black", "brown"]
_ALIASES = {"pumpkin": "jack o lantern", "house": "house", "truck": "delivery truck", "cake": "birthday cake",
            "clock": "mantelpiece clock", "orange": "tangerine"}  # fmt: skip
# All words that are true of a relation as it is composed, the first the one in which a caption tells it.
WORDINGS: dict[str, tuple[str, ...]] = {
    **RELATIONS,
    "next to": (*RELATIONS["next to"], "and"),
    "wearing": ("wearing", "with"),
    "holding": ("holding", "carrying", "with"),
    "riding": ("riding on", "riding"),
}
_STANDS = ("grass", "city", "forest", "desert", "beach", "snow", "mountains", "table", "moon", "sunset")


@dataclass
class Art:
    """What scenes are made of: rows of pictures by name and style, those that are trained on."""

    pictures: dataset.Pictures
    rows: dict[tuple[str, str], int]

    @classmethod
    def of(cls, pictures: dataset.Pictures) -> Art:
        by_name: dict[str, int] = {}
        for number, concept in reversed(list(enumerate(pictures.concepts))):
            names = names_of(concept)
            for name in (*names[1:], names[0].replace("’", "'")):
                if name == names[0] or name not in by_name:
                    by_name[name] = number
        rows: dict[tuple[str, str], int] = {}
        numbers = {(int(pictures.concept[row]), pictures.styles[pictures.style[row]]): int(row)
                   for row in np.flatnonzero(pictures.train)}  # fmt: skip
        for name, concept_number in by_name.items():
            for style in pictures.styles:
                if (concept_number, style) in numbers:
                    rows[name, style] = numbers[concept_number, style]
        return cls(pictures, rows)

    def row(self, thing: Thing, style: str) -> int | None:
        """The picture of a thing in a style; None where there is none to train on."""
        for name in (thing.name, _ALIASES.get(thing.noun), thing.noun):
            if name is not None and (name, style) in self.rows:
                return self.rows[name, style]
        return None


def key_of(scene: Scene) -> tuple[object, ...]:
    """What makes a composition the same: of several things which they are and how they stand, of one thing all that is
    said of it."""
    nouns = tuple(thing.noun for thing in scene.things)
    if len(nouns) > 1:
        return nouns, scene.relations
    only = scene.things[0]
    return nouns, only.count, only.colour, scene.place, scene.weather


@cache
def held_out() -> tuple[str, ...]:
    """The captions that training never shows."""
    return tuple(HELD_OUT.read_text(encoding="utf-8").splitlines())


@cache
def _held_out_keys() -> frozenset[tuple[object, ...]]:
    read = [read_scene(caption) for caption in held_out()]
    return frozenset(key_of(scene) for scene in read if scene is not None)


def is_held_out(of: Scene) -> bool:
    """Whether it is one of the compositions that training never shows."""
    return key_of(of) in _held_out_keys()


def scene(number: int, held_out_too: bool = False) -> Scene:
    """Scene number n; never one that is held out, unless that is asked for."""
    draw = random.Random(number)
    while True:
        made = _any_scene(draw)
        if held_out_too or not is_held_out(made):
            return made


def _any_scene(draw: random.Random) -> Scene:
    kind = draw.random()
    if kind < 0.62:
        relation = draw.choice(list(PAIRS))
        firsts, seconds = PAIRS[relation]
        first, second = draw.choice(firsts), draw.choice(seconds)
        if first == second:
            return _any_scene(draw)
        things = [_thing(first, draw), _thing(second, draw)]
        if relation == "wearing" and things[1].worn_on in ("head", "eyes", "ears") and first in HAVE_FACES:
            things[0] = Thing(first, f"{first} face", colour=things[0].colour)
        relations = [relation]
        if relation == "next to" and draw.random() < 0.25:
            third = draw.choice(_SMALL)
            if third in (first, second):
                return _any_scene(draw)
            things.append(_thing(third, draw))
            relations.append("next to")
        if relation == "next to" and len(things) == 2 and draw.random() < 0.3:
            things[0] = _counted(things[0], draw)
        place = draw.choice(_STANDS) if draw.random() < 0.25 else None
        return Scene(tuple(things), tuple(relations), place, _weather(draw, place))
    noun = draw.choice([*_SMALL, *_VEHICLES])
    thing = _thing(noun, draw)
    if kind < 0.8:
        return Scene((_counted(thing, draw),), (), draw.choice(_STANDS) if draw.random() < 0.2 else None)
    place = draw.choice([*PLACES, *(colour for colour in HUES if colour != thing.colour)])
    return Scene((thing,), (), place, _weather(draw, place))


def _thing(noun: str, draw: random.Random) -> Thing:
    colour = None
    if noun in _COLOURABLE and draw.random() < 0.5:
        colour = draw.choice(HUES if draw.random() < 0.75 else _MATERIALS)
        colour = None if colour == noun else colour
    size = draw.choice(("small", "big", "tiny", "huge")) if draw.random() < 0.08 else None
    return Thing(noun, DRAWN_AS.get(noun, noun), 1, colour, SIZES[size] if size else 1.0)


def _counted(thing: Thing, draw: random.Random) -> Thing:
    return Thing(thing.noun, thing.name, draw.choice((2, 2, 2, 3, 3, 4, 5)), thing.colour)


def _weather(draw: random.Random, place: str | None) -> str | None:
    fits = place in ("grass", "city", "forest", "mountains", "sea", None)
    return draw.choice(list(WEATHER)) if fits and draw.random() < 0.1 else None


def caption(of: Scene, words: Mapping[str, str] | None = None) -> str:
    """What the scene shows, in words that `read_scene` reads as this scene; words: by which relations are told, where
    not by the first of WORDINGS."""
    chosen = {relation: wordings[0] for relation, wordings in WORDINGS.items()} | dict(words or {})
    said = _named(of.things[0])
    for relation, thing in zip(of.relations, of.things[1:], strict=True):
        said += f" {chosen[relation]} {_named(thing)}"
    for what in (of.weather and WEATHER[of.weather][0], of.place and _place(of.place)):
        said += f" {what}" if what else ""
    return said


def captions(of: Scene, style: str, draw: random.Random) -> list[str]:
    """Several that are true of it drawn in a style: the plain one first, one in other words for the relation where
    there are any that `read_scene` reads alike, and one that names the style."""
    plain = caption(of)
    others = {caption(of, {relation: word}) for relation in of.relations[:1] for word in WORDINGS[relation]} - {plain}
    alike = sorted(said for said in others if read_scene(said) == of)
    return [plain, *([draw.choice(alike)] if alike else []), f"{plain}, {STYLE_WORDS[style]}"]


def _place(place: str) -> str:
    return PLACES[place][0] if place in PLACES else f"on {with_article(place)} background"


def _named(thing: Thing) -> str:
    size = next((word for word, size in SIZES.items() if size == thing.size and word != "mini"), "")
    words = " ".join(word for word in (size, thing.colour or "", thing.noun) if word)
    if thing.count == 1:
        return with_article(words)
    number = next(word for word, count in NUMBERS.items() if count == thing.count)
    return f"{number} {words if words.endswith(('glasses', 'sheep', 'fish')) else plural(words)}"


def plural(words: str) -> str:
    """'red apple' -> 'red apples'."""
    special = {"mouse": "mice", "snowman": "snowmen", "tomato": "tomatoes"}
    head, _, last = words.rpartition(" ")
    if last.endswith("y") and last[-2] not in "aeiou":
        special[last] = last[:-1] + "ies"
    made = special.get(last) or (last + "es" if last.endswith(("s", "x", "ch", "sh")) else last + "s")
    return f"{head} {made}".strip()


def figure(of: Scene, art: Art, style: str, side: int, seed: int) -> torch.Tensor | None:
    """A scene as one figure (4, side, side) in [0, 1], its colours multiplied by its alpha: 1 all over where there is a
    place or weather, else that of the things. None where the style has no art of a thing, or no colours for what is
    said of it."""
    if style in COLOURLESS and (of.place or of.weather or any(thing.colour for thing in of.things)):
        return None
    figures = []
    for thing in of.things:
        row = art.row(thing, style)
        if row is None:
            return None
        rgba = torch.from_numpy(art.pictures.rgba[row]).permute(2, 0, 1).float() / 255
        one = trimmed(torch.cat([rgba[:3] * rgba[3:], rgba[3:]]))
        if thing.worn_on == "eyes":
            one = dark_part(one)
        if thing.colour and not has_colour(one, thing.colour):
            one = recoloured(one, thing.colour)
        figures.append([mirrored(one) if number % 2 else one for number in range(thing.count)])
    behind = torch.zeros(4, side, side)
    if of.place or of.weather:
        behind = torch.cat([backdrop(of.place, of.weather, side, side, seed), torch.ones(1, side, side)])
    return composed(placed(of, figures, side, side, seed), behind)


def picture(of: Scene, art: Art, style: str, side: int, seed: int) -> torch.Tensor | None:
    """The same as a picture (3, side, side) in [0, 1], on white paper where it has no background."""
    made = figure(of, art, style, side, seed)
    return None if made is None else on_paper(made)


def on_paper(made: torch.Tensor) -> torch.Tensor:
    """A figure (4, H, W) on white: (3, H, W)."""
    return (made[:3] + 1 - made[3:]).clamp(0, 1)


def composition(number: int, art: Art, side: int) -> tuple[torch.Tensor, Scene, str]:
    """Figure number n of as many as there are whole numbers, as `figure` makes it, with its scene and its style."""
    draw = random.Random(f"style {number}")
    for attempt in range(1000):
        made = scene(number * 1000 + attempt)
        style = draw.choice(art.pictures.styles)
        drawn = figure(made, art, style, side, number)
        if drawn is not None:
            return drawn, made, style
    raise ValueError(f"no scene can be made of this art: {len(art.pictures.concepts)} concepts are too few.")


def example(number: int, art: Art, side: int) -> tuple[torch.Tensor, str, str]:
    """Picture number n with its caption and its style."""
    made, of, style = composition(number, art, side)
    return on_paper(made), caption(of), style
