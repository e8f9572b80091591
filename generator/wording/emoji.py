"""Emoji as the words the embedded models were trained on: "a 🐱 on a 🛹" -> "a cat face on a skateboard".

OpenAI's CLIPs know emoji, their byte pairs and their data being what people wrote; the embedded text tower has none in
its vocabulary. emoji.txt is written by `python -m generator.training.wording`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("emoji.txt")
_JOINER = "\u200d"
_DRESS = "\ufe0e\ufe0f\U0001f3fb-\U0001f3ff"  # as text or as a picture, and skin tones
_UNDRESSED = re.compile(f"[{_DRESS}]")
_SIGNS = "©®™"  # beside a word they belong to it: "a Lego™ castle"
# Where Unicode keeps its emoji, those of coming years too (Extended_Pictographic of emoji-data.txt).
_PICTOGRAPHS = "\U0001f000-\U0001faff\U0001fc00-\U0001fffd\u2600-\u27bf"


@dataclass(frozen=True)
class Named:
    """A text without its emoji. read: (emoji, what it is read as), unknown: emoji that have no name here; in order."""

    text: str
    read: tuple[tuple[str, str], ...] = ()
    unknown: tuple[str, ...] = ()


@cache
def _table() -> dict[str, str]:
    """Names by emoji, without skin tones and selectors."""
    return dict(line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines())


@cache
def _pattern() -> re.Pattern[str]:
    """One emoji with everything that belongs to it, or one of no name."""
    single = "".join(sorted({emoji for emoji in _table() if len(emoji) == 1}))
    one = f"[{re.escape(single)}{_PICTOGRAPHS}][{_DRESS}\u20e3]*[\U000e0020-\U000e007f]*"
    flags = "[\U0001f1e6-\U0001f1ff]{2}"
    keycap = "[0-9#*]\ufe0f?\u20e3"
    return re.compile(f"{flags}|{keycap}|{one}(?:{_JOINER}{one})*")


def name_of(emoji: str) -> str | None:
    """The name of one emoji or sequence; of one that has none, those of its parts; None where one of them has none."""
    names = _table()
    plain = _UNDRESSED.sub("", emoji)
    if plain in names:
        return names[plain]
    if _JOINER in plain:
        parts = [name_of(part) for part in plain.split(_JOINER)]
        return " ".join(part for part in parts if part) if all(parts) else None
    flag = re.match("(.)[\U000e0020-\U000e007f]+$", plain)  # a region's flag that has no name: a black flag
    return names.get(flag[1]) if flag else None


def name_emoji(text: str) -> Named:
    """The text with names for emoji, each part between | for itself.

    Emoji side by side are joined by "and", repeated ones are named once, and one that only shows again what the words
    say already ("a cat 🐱") is left out.
    """
    parts = [_name_part(part) for part in text.split("|")]
    unknown = dict.fromkeys(one for part in parts for one in part.unknown)
    return Named("|".join(part.text for part in parts), tuple(one for part in parts for one in part.read), (*unknown,))


def _name_part(text: str) -> Named:
    words = set(re.findall(r"\w+", _pattern().sub(" ", text).casefold()))
    read: list[tuple[str, str]] = []
    unknown: list[str] = []
    out = ""
    end = 0  # of the emoji before
    for match in _pattern().finditer(text):
        emoji, between = match[0], text[end : match.start()]
        if emoji[0] in _SIGNS and between[-1:].isalnum():
            continue
        name = name_of(emoji)
        out += between
        end = match.end()
        if name is None:
            unknown.append(emoji)
            out += emoji
            continue
        follows = bool(read) and not between.strip()
        if follows and read[-1][1] == name:
            continue
        read.append((emoji, name))
        if not set(name.removesuffix(" face").split()) <= words:
            out = _placed(out, name, follows and bool(out.strip()))
            out += " " * text[end : end + 1].isalnum()
    out += text[end:]
    if read:
        out = re.sub(r" (?=[,.;!?)])", "", re.sub(r" {2,}", " ", out))
        out = out if text[:1] == " " else out.lstrip()
        out = out if text[-1:] == " " else out.rstrip()
    return Named(out, tuple(read), tuple(unknown))


def _placed(before: str, name: str, follows: bool) -> str:
    """The words so far with a name after them: a space or an "and" between, "an" before a vowel, no word twice."""
    if follows:
        before = f"{before.rstrip()} and "
    elif before[-1:].isalnum():
        before += " "
    first, _space, rest = name.partition(" ")
    if rest and re.search(rf"(?i)\b{re.escape(first)} $", before):
        name = rest  # "a red 🍎"
    if name[0] in "aeiou":
        before = re.sub(r"(?<!\w)([aA]) $", r"\1n ", before)
    return before + name
