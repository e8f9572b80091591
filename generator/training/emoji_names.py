"""What the embedded models call each emoji: the labels of their training data, one line each, for generator.wording.

The labels are emojibase's, as `captions.plain` has them. The package `emoji` of PyPI names 1,609 of the 1,644 that were
trained on alike; the others (families, kisses, couples, "ON! arrow") it spells otherwise than the captions did.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from generator.training.captions import plain
from generator.training.emoji_sets import COMPONENTS, SKIN_TONES, plain_code

FLAG = "flag: "
HAIR = range(0x1F9B0, 0x1F9B4)


def name_of(label: str) -> str:
    """A label as the captions had it: 'flag: Spain' -> 'flag of spain', without brackets, which would weigh words."""
    return plain(re.sub(r"[()]", "", label.replace(FLAG, "flag of ")))


def without_skin(hexcode: str) -> str:
    """The code points of a sequence without skin tones and variation selectors."""
    return "-".join(part for part in plain_code(hexcode).split("-") if not SKIN_TONES.fullmatch(part.upper()))


def emoji_names(package: Path) -> list[tuple[str, str]]:
    """(emoji without skin tones and selectors, name) of all that emojibase knows, flags among them."""
    rows: dict[str, str] = {}
    entries = json.loads((package / "en/data.json").read_text())
    for entry in entries:
        if entry.get("group") in (None, COMPONENTS) and int(entry["hexcode"].split("-")[0], 16) not in HAIR:
            continue
        rows[plain_code(entry["hexcode"])] = name_of(entry["label"])
    for entry in entries:  # two people of two skin tones are one character where their tones are alike
        for skin in entry.get("skins", []):
            rows.setdefault(without_skin(skin["hexcode"]), name_of(entry["label"]))
    return sorted(("".join(chr(int(part, 16)) for part in code.split("-")), name) for code, name in rows.items())


def write(package: Path, file: Path) -> int:
    """Write the table; how many lines it has."""
    rows = emoji_names(package)
    file.write_text("".join(f"{emoji}\t{name}\n" for emoji, name in rows), encoding="utf-8")
    return len(rows)
