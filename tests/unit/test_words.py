"""A refused word is found however it is written, and nothing else is."""

from __future__ import annotations

import pytest

from db.rules.host_rules import words_of
from db.rules.word_filter import refused

WORDS = ("gore", "very bad", "Straße", "кровь", "血")


@pytest.mark.parametrize(
    "text",
    [
        "gore",
        "some GORE, please",
        "g\u00f3r\u00e9",
        "go\u0301re",
        "ｇｏｒｅ",
        "go\u200bre",
        "a\u200bgore",
        "\u202egore\u202c",
        "g\u00adore",
        "g\ufeffo\u2060re",
        "g\u3164ore",
        "g o r e",
        "a g o r e picture",
        "g.o.r.e",
        "g\u2003o\u2009r\u00a0e",
        "go re",
        "g-o_r*e",
        "gоrе",
        "ɡore",
        "g\u0336o\u0336r\u0336e",
        "𝐠𝐨𝐫𝐞",
        "ⓖⓞⓡⓔ",
        "<b>go</b>re gore",
        "VERY   bad",
        "very-bad",
        "verybad",
        "STRASSE",
        "Кровь!",
        "一滴血。",
    ],
)
def test_a_refused_word_is_found(text: str) -> None:
    assert refused(text, WORDS) is not None


@pytest.mark.parametrize("text", ["", "gored", "a gorey tale", "ogre", "very good", "bad", "category", "кров", "gor"])
def test_other_words_are_let_through(text: str) -> None:
    assert refused(text, WORDS) is None


def test_the_word_is_named_as_the_host_wrote_it() -> None:
    assert refused("a strasse", WORDS) == "Straße"
    assert refused("anything", ()) is None


def test_a_long_hostile_text_is_read_quickly() -> None:
    assert refused("g " * 5000 + "\u202e" * 5000, tuple(f"word {n}" for n in range(500))) is None


def test_a_typed_list_is_one_word_or_phrase_a_line_or_comma() -> None:
    assert words_of(" gore, very  bad\n\ngore,,Blood \r\n") == ("gore", "very bad", "Blood")
