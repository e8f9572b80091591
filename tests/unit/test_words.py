"""A refused word is found however it is written, and nothing else is."""

from __future__ import annotations

import pytest

from characters.display_order import as_displayed
from characters.seen import as_seen
from db.rules.host_rules import words_of
from db.rules.word_filter import refused
from scripts.measure_word_filter import is_innocent, own_texts, refused_words
from scripts.word_disguises import KINDS, WORDS, differs, disguises

LISTED = ("gore", "very bad", "Straße", "кровь", "血", "cock", "ass", "bad", "scheisse", "weapon", "kill")


@pytest.mark.parametrize(
    "text",
    [
        "some GORE, please",
        "g\u00f3r\u00e9",
        "ｇｏｒｅ",
        "go\u200bre",
        "a\u200bgore",
        "\u202egore\u202c",
        "\u202eerog\u202c",
        "a \u202eerog\u202c picture",
        "g\u202ero\u202ce",
        "\u2067\u2066e\u2069\u2066r\u2069\u2066o\u2069\u2066g\u2069\u2069",
        "g\u00adore",
        "g\ufeffo\u2060re",
        "g\u3164ore",
        "a g o r e picture",
        "g.o.r.e",
        "g\u2003o\u2009r\u00a0e",
        "go re",
        "g-o_r*e",
        "go🔥re",
        "(go)(re)",
        "[go](re)",
        "g 🔥 o 🔥 r 🔥 e",
        "gоrе",
        "g\u0336o\u0336r\u0336e",
        "<b>go</b>re gore",
        "gore🇺🇸",
        "gore™",
        "gore2!",
        "#gore",
        "gooooore, gorrrre, GGORE",
        "VERY   bad",
        "very-bad",
        "verybad",
        "v e r y b a d",
        "STRASSE",
        "Scheiße",
        "Кровь!",
        "кpoвь",
        "一滴血。",
        "ba d",
        "b4d",
        "#bad",
        "🅱🅰🅳",
        "🅱 🅰 🅳!",
        "ᏴᎪᎠ",
        "ꓐꓮꓓ",
        "pɐq",
        "ßad",
        "@$$!",
        "vveapon",
        "kiII, I said",
        "Góre Kíng",
        "b 4 d",
    ],
)
def test_a_refused_word_is_found(text: str) -> None:
    assert refused(text, LISTED) is not None


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_word_is_found_in_disguise(kind: str) -> None:
    tried = [(word, text) for its_kind, word, text in disguises() if its_kind == kind]
    assert [text for word, text in tried if refused(text, WORDS) != word] == []
    assert kind.endswith(("capital", "capitals")) or all(differs(word, text) for word, text in tried[:3]), kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gored",
        "a gorey tale",
        "ogre",
        "very good",
        "badge",
        "category",
        "кров",
        "gor",
        "go re-read it",
        "er aß",
        "f(go) (re)",
        "(gor)(y)",
    ],
)
def test_other_words_are_let_through(text: str) -> None:
    assert refused(text, ("gore", "very bad", "Straße", "кровь", "ass", "bad", "cat")) is None


def test_innocent_prompts_of_many_languages_are_let_through() -> None:
    words = refused_words()
    folded = frozenset(word.casefold() for word in words)
    texts = [text for _, text in own_texts() if is_innocent(text, folded)]
    assert len(texts) > 2000
    assert [(word, text) for text in texts if (word := refused(text, words))] == []


def test_the_word_is_named_as_the_host_wrote_it() -> None:
    assert refused("a strasse", LISTED) == "Straße"
    assert refused("anything", ()) is None


@pytest.mark.parametrize(
    "text", ["g " * 500, "\u202e" * 500 + "g" * 500, "@$" * 500, "🅰" * 1000, "a-aa.a" * 160, "!" * 999]
)
def test_a_hostile_text_is_read_to_its_end(text: str) -> None:
    words = (*(f"word {n}" for n in range(500)), "ab" * 40, "s" * 40 + "x", "iiiii t")
    assert refused(text, words) is None


def test_a_lone_surrogate_is_read_like_any_other_sign() -> None:
    assert refused("\ud800 gore \udfff", LISTED) == "gore"
    assert refused("\ud800", LISTED) is None


def test_a_typed_list_is_one_word_or_phrase_a_line_or_comma() -> None:
    assert words_of(" gore, very  bad\n\ngore,,Blood \r\n\u200b\n\u202etod\u202c") == (
        "gore",
        "very bad",
        "Blood",
        "tod",
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a red heart", "a red heart"),
        ("\u202ea red\u202c heart", "a red heart"),
        ("go\u200bre\u00ad", "gore"),
        ("קָט \u2067חתול\u2069", "קָט חתול"),
        ("👩\u200d🚀 ❤\ufe0f", "👩\u200d🚀 ❤\ufe0f"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("🏴\U000e0067\U000e0062\U000e007f", "🏴\U000e0067\U000e0062\U000e007f"),
        ("cat\U000e0063\U000e0061", "cat"),
        *(
            (blank, "")
            for blank in ("\u200b", " \u3164 ", "\u2800", "\ufe0f\u200d", "\u115f\uffa0", "\u034f", "\u202e \u202c")
        ),
        ("", ""),
    ],
)
def test_a_text_is_what_is_seen_of_it(text: str, shown: str) -> None:
    assert as_seen(text) == shown


def test_an_override_turns_letters_round_and_isolates_put_theirs_from_the_right() -> None:
    assert as_displayed("a \u202edab\u202c cat") == "a bad cat"
    assert as_displayed("אב 12 cat", 1) == "cat 12 בא"
    assert as_displayed("car אב 1") == "car 1 בא"
