"""A prompt that tells of several things, or of a place, is drawn thing by thing; any other as it always was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from generator.prompts import parse_text
from generator.starts.backdrops import DRAWN, backdrop
from generator.starts.figures import cut_out, has_colour, recoloured
from generator.starts.placing import boxes_of, composed, placed
from generator.wording.scene_words import PLACES, RAMPS
from generator.wording.scenes import read_scene

SIDE = 64


def disc(colour: tuple[float, float, float], hole: bool = False, radius: float = 20.0) -> Tensor:
    """A disc on white paper, (3, 64, 64); hole: white within."""
    at = torch.arange(SIDE).float() - 31.5
    far = (at[:, None].square() + at[None].square()).sqrt()
    inside = (far < radius) & ~((far < 8) & hole)
    return torch.where(inside[None], torch.tensor(colour)[:, None, None], torch.ones(3, SIDE, SIDE))


@pytest.mark.parametrize(
    ("prompt", "things", "relations", "place"),
    [
        ("a cat wearing a hat", [("cat", 1, None), ("hat", 1, None)], ("wearing",), None),
        ("a cup on a table", [("cup", 1, None)], (), "table"),
        ("Two red apples under a tree at night!", [("apple", 2, "red"), ("tree", 1, None)], ("under",), "night"),
        ("a cat and a dog", [("cat", 1, None), ("dog", 1, None)], ("next to",), None),
        ("a cat, a dog and a bird", [(noun, 1, None) for noun in ("cat", "dog", "bird")], ("next to",) * 2, None),
        ("three buses", [("bus", 3, None)], (), None),
        ("5 mice", [("mouse", 5, None)], (), None),
        ("penguins", [("penguin", 3, None)], (), None),
        ("the wolves", [("wolf", 3, None)], (), None),
        ("lots of stars at night", [("star", 5, None)], (), "night"),
        ("a few green apples", [("apple", 3, "green")], (), None),
        ("cats and dogs", [("cat", 3, None), ("dog", 3, None)], ("next to",), None),
        ("a girl with a balloon", [("girl", 1, None), ("balloon", 1, None)], ("holding",), None),
        ("a dog with sunglasses", None, None, None),
        ("a dog with a scarf", [("dog", 1, None), ("scarf", 1, None)], ("wearing",), None),
        ("a penguin riding a green bicycle", [("penguin", 1, None), ("bicycle", 1, "green")], ("riding",), None),
        ("a gray mouse behind a cheese", [("mouse", 1, "grey"), ("cheese", 1, None)], ("behind",), None),
        ("a bird flying over a castle", [("bird", 1, None), ("castle", 1, None)], ("above",), None),
        ("an old man reading a book", [("old man", 1, None), ("book", 1, None)], ("holding",), None),
        ("a red car on a plain blue background", [("car", 1, "red")], (), "blue"),
        ("a tiny yellow bird", [("bird", 1, "yellow")], (), None),
        ("a green strawberry", [("strawberry", 1, "green")], (), None),
        ("a wooden chair", [("chair", 1, "wooden")], (), None),
        ("a rocket in front of the moon", [("rocket", 1, None)], (), "moonlight"),
    ],
)
def test_things_counts_colours_relation_and_place_are_read(
    prompt: str, things: Any, relations: Any, place: str | None
) -> None:
    scene = read_scene(prompt)
    if things is None:
        assert scene is None
        return
    assert scene is not None
    assert [(thing.noun, thing.count, thing.colour) for thing in scene.things] == things
    assert (scene.relations, scene.place) == (relations, place)


@pytest.mark.parametrize(
    "prompt",
    [
        "a red heart",  # one emoji, and so is a black cat
        "a black cat",
        "a glass of red wine",  # no red glass
        "a very angry red face",
        "a smiling face with sunglasses",  # one emoji
        "a cat with tears of joy",
        "a bow and arrow",
        "knife and fork",
        "a glass of milk",
        "a pair of glasses",  # one picture, as grapes are
        "beans",
        "clapping hands",
        "a bunch of flowers",
        "a house with a garden",
        "a dragon with big teeth",
        "a pizza with mushrooms",
        "sunset over the mountains",
        "two hands holding",
        "a blorf on a zweeb",
        "the meaning of life in the age of machines",
        "un gato en una mesa",
        "a cat (wearing a hat)",
        "a cat wearing",
        "",
        "🐱 on a 🛹",
        "ten thousand apples",
        "a cat on a dog on a cow on a horse",
    ],
)
def test_what_is_not_understood_wholly_is_drawn_as_before(prompt: str) -> None:
    assert read_scene(parse_text(prompt) if prompt else prompt) is None


def test_every_place_is_read_as_it_is_told_and_has_a_background() -> None:
    assert PLACES.keys() == DRAWN.keys()
    for place, told in PLACES.items():
        scene = read_scene(f"a dog {told[0]}")
        assert scene is not None and scene.place == place
        made = backdrop(place, None, 48, 32, 1)
        assert made.shape == (3, 32, 48) and made.std() > 0.01
        assert torch.equal(made, backdrop(place, None, 48, 32, 1))


def test_a_thing_is_cut_out_with_the_white_that_it_encloses() -> None:
    figure = cut_out(disc((0.1, 0.2, 0.8), hole=True))
    assert abs(figure.shape[1] - 40) <= 2 and abs(figure.shape[2] - 40) <= 2
    middle = figure[:, figure.shape[1] // 2, figure.shape[2] // 2]
    assert torch.allclose(middle, torch.ones(4)), "the hole is white and its own"
    assert float(figure[3, 0, 0]) == 0.0


def test_an_island_far_from_the_thing_is_left_out() -> None:
    picture = disc((0.8, 0.1, 0.1))
    picture[:, 2:5, 2:5] = 0.0
    assert cut_out(picture).shape[1] < 45


@pytest.mark.parametrize("colour", RAMPS)
def test_a_thing_gets_the_colour_that_was_asked_for(colour: str) -> None:
    picture = disc((0.85, 0.2, 0.2))
    picture[:, 31:, 31:] -= 0.15 * (picture[:, 31:, 31:] < 0.99)
    assert has_colour(recoloured(cut_out(picture.clamp(0, 1)), colour), colour)


def middles(prompt: str) -> list[tuple[float, float]]:
    """Of each thing, (x, y) with y downwards, where all are discs."""
    scene = read_scene(prompt)
    assert scene is not None
    figure = cut_out(disc((0.9, 0.5, 0.1)))
    group = placed(scene, [[figure] * thing.count for thing in scene.things], 100, 100, 3)
    left, top, right, bottom = (
        min(one.left for one in group),
        min(one.top for one in group),
        max(one.right for one in group),
        max(one.bottom for one in group),
    )
    assert left >= -5 and top >= -5 and right <= 105 and bottom <= 105
    return [(x + w / 2, y + h / 2) for x, y, w, h in boxes_of(group, len(scene.things))]


def test_things_stand_as_they_are_told_to() -> None:
    for above in ("a cat on a box", "a cat riding a horse", "a bird above a house", "a cat in a box"):
        (_, first), (_, second) = middles(above)
        assert first < second - 10, above
    (_, first), (_, second) = middles("a frog under an umbrella")
    assert first > second
    (x, first), (other, second) = middles("a cat and a dog")
    assert other > x + 30 and abs(first - second) < 5
    (x, first), (other, second) = middles("a cat wearing a hat")
    assert abs(other - x) < 5 and second < first - 10
    (x, _), (other, _) = middles("a robot holding a flower")
    assert abs(other - x) > 15


def test_so_many_are_drawn_as_were_asked_for() -> None:
    figure = cut_out(disc((0.1, 0.6, 0.2)))
    for count in range(2, 10):
        scene = read_scene(f"{count} apples")
        assert scene is not None
        picture = composed(placed(scene, [[figure] * count], 128, 128, 0), torch.ones(3, 128, 128))
        seen, islands = picture.amin(dim=0) < 0.6, 0
        while bool(seen.any()):
            islands += 1
            y, x = divmod(int(seen.view(-1).int().argmax()), 128)
            stack = [(y, x)]
            while stack:
                y, x = stack.pop()
                if 0 <= y < 128 and 0 <= x < 128 and seen[y, x]:
                    seen[y, x] = False
                    stack += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        assert islands == count
