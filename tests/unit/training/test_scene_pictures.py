"""Scenes composed for training: true captions, never those that are held out, the same from the same number."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from generator.training import dataset, scenes
from generator.wording.scene_words import DRAWN_AS
from generator.wording.scenes import Thing, read_scene


def test_the_held_out_compositions_are_two_hundred_that_prompts_can_tell() -> None:
    captions = scenes.held_out()
    told = [read_scene(caption) for caption in captions]
    assert len(set(captions)) == 200 and all(scene is not None for scene in told)
    assert len({scenes.key_of(scene) for scene in told if scene}) == 200
    assert {scene.relations for scene in told[:60] if scene} == {(relation,) for relation in scenes.PAIRS}


def test_training_never_shows_a_composition_that_is_held_out() -> None:
    keys = {scenes.key_of(scene) for caption in scenes.held_out() if (scene := read_scene(caption))}
    drawn = [scenes.key_of(scenes.scene(number)) for number in range(3000)]
    assert not keys.intersection(drawn)
    free = [scenes.key_of(scenes.scene(number, held_out_too=True)) for number in range(3000)]
    assert keys.intersection(free), "or the test would tell nothing"


def test_every_caption_is_read_as_the_scene_that_it_was_made_for() -> None:
    for number in range(1500):
        made = scenes.scene(number)
        assert read_scene(scenes.caption(made)) == made, scenes.caption(made)


@pytest.fixture
def art(pictures: dataset.Pictures) -> scenes.Art:
    """The few pictures of the tests, under the names of things that scenes tell of."""
    made = scenes.Art.of(pictures)
    rows = sorted(made.rows.values())
    nouns = {noun for pair in scenes.PAIRS.values() for side in pair for noun in side}
    names = sorted({DRAWN_AS.get(noun, noun) for noun in nouns} | {f"{noun} face" for noun in nouns})
    every = {
        (name, style): rows[n % len(rows)] for n, name in enumerate(names) for style in pictures.styles if style != "fx"
    }
    return dataclasses.replace(made, rows=every)


def test_a_picture_is_the_same_from_the_same_number_and_has_any_side(art: scenes.Art) -> None:
    for number in range(6):
        first, words, style = scenes.example(number, art, 64)
        again = scenes.example(number, art, 64)
        assert torch.equal(first, again[0]) and (words, style) == again[1:]
        large, same_words, _ = scenes.example(number, art, 128)
        assert large.shape == (3, 128, 128) and same_words == words
        small = torch.nn.functional.interpolate(large[None], (64, 64), mode="area")[0]
        assert (small - first).abs().mean() < 0.1, "the same scene, only larger"


def test_a_style_without_colours_shows_no_scene_that_has_some(art: scenes.Art) -> None:
    red = read_scene("a red apple on a chair")
    assert red is not None and scenes.picture(red, art, "silhouette", 64, 0) is None
    assert scenes.picture(red, art, "noto", 64, 0) is not None


def test_only_pictures_that_are_trained_on_are_used(pictures: dataset.Pictures) -> None:
    rows = scenes.Art.of(pictures).rows.values()
    assert rows and all(bool(pictures.train[row]) for row in rows)
    assert scenes.Art.of(pictures).row(Thing("zeppelin", "zeppelin"), "noto") is None
