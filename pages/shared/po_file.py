"""Reads a gettext .po file, so that translations are one text file each and nothing has to be compiled."""

from __future__ import annotations

import ast
import io
import re
import struct
from gettext import GNUTranslations
from pathlib import Path

_LINE = re.compile(r'(?:(msgid|msgid_plural|msgstr|msgstr\[(\d+)\]) )?(".*")')
_MAGIC = 0x950412DE


def entries(path: Path) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Every message, alone or with its plural, and its translation, one for each plural form.

    Raises ValueError, naming the line, for what is not part of a .po file as written here: no msgctxt, no fuzzy marks.
    """
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    messages: list[str] = []
    strings: list[str] = []
    current = messages
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or (line.startswith("#") and "fuzzy" not in line):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise ValueError(f"{path.name}, line {number}: neither a comment nor a message: {line}")
        keyword, text = match[1], str(ast.literal_eval(match[3]))
        if keyword is None:
            current[-1] += text
            continue
        if keyword == "msgid" and messages:
            found[tuple(messages)] = tuple(strings)
            messages, strings = [], []
        current = messages if keyword.startswith("msgid") else strings
        current.append(text)
    if messages:
        found[tuple(messages)] = tuple(strings)
    return found


def translations(path: Path) -> GNUTranslations:
    """The catalogue as gettext has it; what is not translated yet is shown in English."""
    texts = {
        "\0".join(messages).encode(): "\0".join(strings).encode()
        for messages, strings in entries(path).items()
        if all(strings)
    }
    return GNUTranslations(io.BytesIO(_compiled(texts)))


def _compiled(texts: dict[bytes, bytes]) -> bytes:
    """The binary form that the gettext module reads: a table of lengths and offsets for each side, then all texts."""
    keys = sorted(texts)
    start = 28 + 16 * len(keys)
    tables, data = [], b""
    for side in (keys, [texts[key] for key in keys]):
        for text in side:
            tables += [len(text), start + len(data)]
            data += text + b"\0"
    header = struct.pack("<7I", _MAGIC, 0, len(keys), 28, 28 + 8 * len(keys), 0, start)
    return header + struct.pack(f"<{len(tables)}I", *tables) + data
