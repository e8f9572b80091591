"""The word lists of generator.wording hold what the training data and CLDR say, and their recipe makes them again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from generator.models.clip import load_mini
from generator.training import emoji_names, foreign_names, known_words, wording
from generator.training.captions import COLOURS, FORMS, QUALITIES
from generator.wording import emoji as emoji_module
from generator.wording.known_words import is_known
from generator.wording.languages.lexicon import FOLDER

NOUNS = """\
00000001 03 n 01 animal 0 000 | a living thing
00000002 05 n 02 bird 0 birdie 0 001 @ 00000001 n 0000 | has wings
00000003 05 n 01 falcon 0 001 @ 00000002 n 0000 | hunts
00000004 09 n 01 jurisprudence 0 000 | of the law
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Packages as npm leaves them, of a bird, a family with skin tones, a flag and a sign."""
    people = "1F468-1F3FB-200D-1F91D-200D-1F468-1F3FF"
    entries = [
        {"label": "bird", "hexcode": "1F426", "tags": ["beak"], "group": 3, "subgroup": 30},
        {"label": "men holding hands", "hexcode": "1F46C", "group": 1, "subgroup": 20, "skins": [{"hexcode": people}]},
        {"label": "A button (blood type)", "hexcode": "1F170-FE0F", "group": 8, "subgroup": 90},
        {"label": "flag: Spain", "hexcode": "1F1EA-1F1F8", "group": 9, "subgroup": 98},
        {"label": "red hair", "hexcode": "1F9B0", "group": 2, "subgroup": 26},
        {"label": "light skin tone", "hexcode": "1F3FB", "group": 2, "subgroup": 25},
    ]
    files = {
        "emojibase-data": {"en/data.json": entries, "en/shortcodes/github.json": {}},
        "cldr-annotations-full": {
            f"annotations/{code}/annotations.json": {
                "annotations": {"annotations": {"🐦": {"tts": [name]}, "🅰": {"tts": ["grupo A"]}}}
            }
            for code, name in (("es", "Pájaro"), ("eu", "txoria"))
        },
        "cldr-annotations-derived-full": {
            f"annotationsDerived/{code}/annotations.json": {"annotationsDerived": {"annotations": {}}}
            for code in ("es", "eu")
        },
    }
    for name, contents in files.items():
        for path, content in {"package.json": {}, **contents}.items():
            file = tmp_path / name / "package" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


def test_the_recipe_writes_every_list(packages: Path, tmp_path: Path) -> None:
    made = wording.make(packages, tmp_path / "lists")
    assert made == {"emoji.txt": 6, "languages/es-emoji.txt": 1, "languages/eu-emoji.txt": 1}
    named = dict(emoji_names.emoji_names(packages / "emojibase-data" / "package"))
    assert named["👨‍🤝‍👨"] == named["👬"] == "men holding hands", "two skin tones are found without them"
    assert (named["🇪🇸"], named["🅰"], named["🦰"]) == ("flag of spain", "a button blood type", "red hair")
    assert (tmp_path / "lists/languages/es-emoji.txt").read_text() == "[noun]\npájaro = bird\n"


def test_a_noun_is_known_where_it_is_read_much_as_a_kind_that_it_belongs_to(tmp_path: Path) -> None:
    (tmp_path / "data.noun").write_text(NOUNS)
    entry = "{} n 1 0 1 {} 00000003"
    nouns = [entry.format("falcon", 1), entry.format("jurisprudence", 1)]
    (tmp_path / "index.noun").write_text("\n".join(nouns))
    for part in ("adj", "verb"):
        (tmp_path / f"index.{part}").write_text("rusty a 1 0 1 1 00000009\n" if part == "adj" else "")
    for part in ("noun", "verb", "adj"):
        (tmp_path / f"{part}.exc").write_text("falcones falcon\n" if part == "noun" else "")
    concepts = [
        {"label": label, "tags": ["beak"], "shortcodes": [], "group": 3, "subgroup": 9} for label in ("bird", "car")
    ]
    known = known_words.known_words(concepts, tmp_path, load_mini())
    assert {"bird", "beak", "red", "photo", "rusty", "falcon", "falcones"} <= set(known)
    assert "jurisprudence" not in known


def test_the_lists_that_are_shipped_cover_the_captions() -> None:
    lines = emoji_module.TABLE.read_text(encoding="utf-8").splitlines()
    names = dict(line.split("\t") for line in lines)
    assert len(names) > 1900 and names["🐱"] == "cat face" and names["🧑‍🚀"] == "astronaut"
    trained = [name for emoji, name in names.items() if "flag" not in name and emoji not in "🦰🦱🦳🦲"]
    words = {word for text in (*trained, *COLOURS, *QUALITIES, *FORMS) for word in re.findall(r"[^\W\d_]+", text)}
    assert [word for word in sorted(words) if not is_known(word)] == []
    for language in foreign_names.LANGUAGES:
        pairs = [line.split(" = ") for line in (FOLDER / f"{language}-emoji.txt").read_text().splitlines()[1:]]
        assert len(pairs) > 1200 and {english for _foreign, english in pairs} <= set(names.values())
