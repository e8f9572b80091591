"""Names of emoji in other languages, beside the labels of the training data: CLDR's annotations (Unicode's licence)."""

from __future__ import annotations

import json
from pathlib import Path

from generator.training.captions import plain
from generator.training.emoji_sets import read_concepts, unpacked

PACKAGES = ("cldr-annotations-full", "cldr-annotations-derived-full")
LANGUAGES = ("es", "eu")
SYMBOLS = 8  # emojibase's group of signs: their names are words that mean something else in a prompt
MAX_WORDS = 5


def foreign_names(packages: Path, labels: Path, language: str) -> dict[str, str]:
    """Name in that language -> label, for all concepts that are pictures of something. labels: emojibase's package."""
    named: dict[str, str] = {}
    for package, part in zip(PACKAGES, ("annotations", "annotationsDerived"), strict=True):
        file = unpacked(packages, package) / part / language / "annotations.json"
        for emoji, said in json.loads(file.read_text())[part]["annotations"].items():
            if "tts" in said:
                named[emoji.replace("\ufe0f", "")] = said["tts"][0]
    found: dict[str, str] = {}
    for concept in read_concepts(labels):
        emoji = "".join(chr(int(part, 16)) for part in concept["code"].split("-"))
        name = named.get(emoji, "").casefold()
        if concept["group"] != SYMBOLS and name and not set(name) & set(':,=()"“”') and len(name.split()) <= MAX_WORDS:
            found.setdefault(name, plain(concept["label"]))
    return found


def write(packages: Path, labels: Path, language: str, file: Path) -> int:
    """Write the list; how many lines it has."""
    names = foreign_names(packages, labels, language)
    lines = (f"{name} = {label}\n" for name, label in sorted(names.items()))
    file.write_text("[noun]\n" + "".join(lines), encoding="utf-8")
    return len(names)
