"""Every sentence of the pages is there in Spanish and Basque, and a browser gets the language it asks for."""

from __future__ import annotations

from pathlib import Path
from string import Formatter

import pytest

from db.queue import statuses
from pages.shared import po_file
from pages.shared.language import LANGUAGES, LOCALE, preferred
from scripts.update_translations import messages, written

TRANSLATED = [code for code in LANGUAGES if code != "en"]


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("code", TRANSLATED)
def test_every_sentence_of_the_pages_is_translated_and_none_is_left_over(code: str) -> None:
    path, found = LOCALE / f"{code}.po", messages()
    translated = po_file.entries(path)
    translated.pop(("",))
    assert len(found) > 300
    assert list(translated) == list(found), "run python scripts/update_translations.py"
    assert [message for message, strings in translated.items() if not all(strings)] == []
    assert written(code, found, translated) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("code", TRANSLATED)
def test_a_translation_fills_in_what_the_sentence_fills_in(code: str) -> None:
    for message, strings in po_file.entries(LOCALE / f"{code}.po").items():
        if message != ("",):
            assert len(strings) == len(message), message
            for english, translated in zip(message, strings, strict=True):
                expected = placeholders(message[-1]) if len(message) > 1 and "{n}" in translated else None
                assert placeholders(translated) == (expected or placeholders(english)), message


def test_whatever_an_executor_says_it_does_is_translated_and_read_again() -> None:
    assert {(sentence,) for sentence in statuses.SENTENCES} <= set(messages())
    for sentence in statuses.SENTENCES:
        values = {name: "7" for name in placeholders(sentence)}
        assert statuses.parts_of(sentence.format(**values)) == [(sentence, values)]


def test_one_and_many_are_told_apart_by_the_rules_of_the_file() -> None:
    basque = po_file.translations(LOCALE / "eu.po")
    assert basque.gettext("Queue") == "Ilara"
    assert basque.ngettext("{n} vote", "{n} votes", 1) == "boto {n}"
    assert basque.ngettext("{n} vote", "{n} votes", 2) == "{n} boto"
    assert basque.gettext("not in the file") == "not in the file"


def test_a_file_that_is_not_one_of_translations_is_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "xx.po"
    path.write_text('msgid "a"\nmsgstr "b"\nmsgctxt "c"\n')
    with pytest.raises(ValueError, match=r"xx\.po, line 3"):
        po_file.entries(path)


def test_what_is_not_translated_yet_is_english(tmp_path: Path) -> None:
    path = tmp_path / "xx.po"
    path.write_text('msgid "Queue"\nmsgstr ""\n\n# by hand\nmsgid "Wall"\nmsgstr "M"\n"ur"\n')
    catalogue = po_file.translations(path)
    assert (catalogue.gettext("Queue"), catalogue.gettext("Wall")) == ("Queue", "Mur")


@pytest.mark.parametrize(
    ("accepted", "shown"),
    [
        ("eu-ES,eu;q=0.9,es;q=0.8,en;q=0.7", "eu"),
        ("es-MX", "es"),
        ("en-GB,en;q=0.9,es;q=0.8", "en"),
        ("es;q=0.4, eu;q=0.9", "eu"),
        ("fr-FR,fr;q=0.9,es;q=0.5", "es"),
        ("ca, es;q=0", "en"),
        ("ja-JP", "en"),
        ("*", "en"),
        ("es;q=much, \x00;;=", "en"),
        ("", "en"),
        (None, "en"),
    ],
)
def test_the_browsers_first_language_that_there_is_is_shown(accepted: str | None, shown: str) -> None:
    assert preferred(accepted) == shown
