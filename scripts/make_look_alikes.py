"""Make characters/look_alikes.txt from Unicode's confusables and decancer's table.

Both are packages on PyPI, wanted here only: `pip install confusable-homoglyphs==3.3.1 decancer-py==0.4.1`, then
`python scripts/make_look_alikes.py`. Unicode's "confusables" (Unicode Technical Standard 39, section 4) are characters
that are hard to tell apart; decancer's are those that chats have been seen to write instead of a letter, and it is
wrong about some (ó is p in 0.4.1), so where Unicode's compatibility decomposition knows a letter, neither is asked.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import defaultdict
from importlib import import_module
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "characters" / "look_alikes.txt"
# Pictures of things, and scripts whose text has no gaps between words: decancer sees letters in too many of them.
LEFT_OUT = (
    *("BOX", "PLAYING", "HEXAGRAM", "TETRAGRAM", "DOMINO", "MAHJONG", "MUSICAL", "ALCHEMICAL", "EGYPTIAN", "CUNEIFORM"),
    *("ANATOLIAN", "KANGXI", "CJK", "IDEOGRAPHIC", "HANGUL", "KATAKANA", "HIRAGANA", "HALFWIDTH", "YI", "TANGUT"),
    *("BRAILLE", "CHESS", "TALLY", "COUNTING", "MAYAN", "VEDIC", "APL", "SIGNWRITING", "LINEAR", "BLOCK", "QUADRANT"),
)

# Latin letters that Unicode names by the letter they are a variant of: ɳ is LATIN SMALL LETTER N WITH RETROFLEX HOOK.
_NAMED = re.compile(
    r"(?:LATIN|MODIFIER) (?:SMALL |CAPITAL |LETTER |DOTLESS |SCRIPT |OPEN |REVERSED |SIDEWAYS |BARRED |CLOSED |TURNED "
    r"|INSULAR |BLACKLETTER |LONG |SMALL CAPITAL )+([A-Z])(?: WITH .*| ROTUNDA)?"
)


def letters(text: str) -> str:
    """The ASCII letters that a text is, empty where it is anything else."""
    return text.casefold() if text.isascii() and text.isalpha() else ""


def decomposed(character: str) -> str:
    """What Unicode itself makes of a character: `letters` of it without marks."""
    whole = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return letters("".join(c for c in whole if unicodedata.category(c) not in ("Mn", "Me")))


def main() -> int:
    """Write the file anew."""
    decancer = import_module("decancer_py")
    same: dict[str, set[str]] = defaultdict(set)
    for character, pairs in import_module("confusable_homoglyphs.confusables").confusables_data.items():
        for pair in pairs:
            if (
                (letter := letters(pair["c"]))
                and len(character) == 1
                and not character.isascii()
                and not decomposed(character)
            ):
                same[letter].add(character)
    like: dict[str, set[str]] = defaultdict(set)
    for code in range(0x80, sys.maxunicode):
        if (named := _NAMED.fullmatch(unicodedata.name(chr(code), ""))) and not decomposed(chr(code)):
            like[named[1].casefold()].add(chr(code))
    for code in range(0x80, sys.maxunicode):
        character = chr(code)
        name = unicodedata.name(character, "")
        if not name or name.split()[0] in LEFT_OUT or decomposed(character):
            continue
        if unicodedata.category(character) in ("Sm", "Sk", "Ps", "Pe", "Pi", "Pf", "Pc", "Pd", "Cf"):
            continue
        letter = letters(str(decancer.parse(character)))
        if 1 <= len(letter) <= 2 and character not in same[letter]:
            like[letter].add(character)
    lines = [
        "# What looks like which letter, in hex. Made by scripts/make_look_alikes.py from Unicode's confusables.txt",
        "# (Copyright Unicode, Inc., Unicode License) and decancer 0.4.1 (Copyright null8626, MIT License).",
    ]
    for kind, table in (("same", same), ("like", like)):
        for letter in sorted(letter for letter in table if table[letter]):
            lines.append(f"{kind} {letter} " + " ".join(f"{ord(c):x}" for c in sorted(table[letter])))
    OUT.write_text("\n".join(lines) + "\n", encoding="ascii")
    print(f"{OUT}: {sum(map(len, same.values()))} the same, {sum(map(len, like.values()))} like a letter")
    return 0


if __name__ == "__main__":
    sys.exit(main())
