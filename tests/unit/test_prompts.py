"""Weighted prompts: text:weight:stop, several with |."""

import math

import pytest

from generator.prompts import Prompt, PromptError, parse_prompts


@pytest.mark.parametrize(
    ("written", "understood"),
    [
        ("a red heart", [Prompt("a red heart")]),
        ("a cat:2", [Prompt("a cat", 2.0)]),
        ("a cat : 2.5 : .3", [Prompt("a cat", 2.5, 0.3)]),
        ("a red heart:2 | blurry:-1", [Prompt("a red heart", 2.0), Prompt("blurry", -1.0)]),
        ("a|b|c", [Prompt("a"), Prompt("b"), Prompt("c")]),
        ("a cat:1e-1", [Prompt("a cat", 0.1)]),
        ("Alien: the movie", [Prompt("Alien: the movie")]),
        ("ratio 16:9 poster", [Prompt("ratio 16:9 poster")]),
        ("https://example.org/a.png:2", [Prompt("https://example.org/a.png", 2.0)]),
        ("ein Fuß im Schnee:1", [Prompt("ein Fuß im Schnee", 1.0)]),
        ("心:2", [Prompt("心", 2.0)]),
    ],
)
def test_what_is_written_is_what_is_understood(written, understood):
    assert list(parse_prompts(written)) == understood


def test_a_prompt_without_stop_never_lets_go():
    assert parse_prompts("a cat")[0].stop == -math.inf


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("a cat |", "empty part"),
        ("| a cat", "empty part"),
        ("", "empty part"),
        ("a cat:abc", "'abc' is not a number"),
        ("a cat:1:abc", "'abc' is not a number"),
        ("a cat:nan", "not a number"),
        ("a cat:1e9", "between -100 and 100"),
        ("a cat:1e999", "between -100 and 100"),
        (":2", "no text"),
        ("a cat:-1", "nothing to draw"),
        ("a cat:0", "nothing to draw"),
        ("|".join("abcdefghijklmnopq"), "at most 16"),
    ],
)
def test_bad_prompts_are_refused_with_the_part_and_what_is_allowed(written, says):
    with pytest.raises(PromptError, match=says):
        parse_prompts(written)


def test_a_list_of_things_to_avoid_is_allowed_where_something_else_is_drawn():
    assert parse_prompts("a.png:-1", negative_only=True) == (Prompt("a.png", -1.0),)
