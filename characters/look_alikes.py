"""Which Latin letters a character can be read as: its own, those it looks like, those it stands for in leet.

The table is look_alikes.txt, made by scripts/make_look_alikes.py. What stands here beside it is what neither of its
sources has: whole alphabets that pages which "make text fancy" write with, turned letters, digits and signs.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

LATIN = "abcdefghijklmnopqrstuvwxyz"
# From a to z. A space: the letter is written as itself.
_ALPHABETS = (
    "αв¢∂єƒgнιנкℓмησρqяѕтυνωχуz",
    "卂乃匚ᗪ乇千Ꮆ卄丨ﾌҜㄥ爪几ㄖ卩Ɋ尺丂ㄒㄩᐯ山乂ㄚ乙",
    "ﾑ乃ᄃりEｷムんﾉﾌズﾚﾶ刀のｱゐ尺丂ｲひ√Wﾒﾘ乙",
    "ค๒ς๔єŦﻮђเןкɭ๓ภ๏קợгรՇยשฬאץչ",
    "ᗩᗷᑕᗪᕮᖴᘜᕼIᒍKᒪᗰᑎOᑭᑫᖇᔕTᑌᐯᗯ᙭Yᘔ",
    "ΛBCDΣFGHIJKLMПӨPQЯƧƬЦVЩXΥZ",
    "ᏗᏰፈᎴᏋᎦᎶᏂᎥᏠᏦᏝᎷᏁᎧᎮᎤᏒᏕᏖᏬᏉᏇጀᎩፚ",
    "ǟɮƈɖɛʄɢɦɨʝӄʟʍռօքզʀֆȶʊʋաӼʏʐ",
    "ąცƈɖɛʄɠɧıʝƙƖɱŋơ℘զཞʂɬųѵῳҳყʑ",
    "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘǫʀsᴛᴜᴠᴡxʏᴢ",
    "ᚨᛒᚲᛞᛖᚠᚷᚺᛁᛃᚲᛚᛗᚾᛟᛈᛩᚱᛊᛏᚢᚡᚹᛪᚤᛉ",
    "ԹՅՇԺȝԲԳɧɿʝƙʅʍՌԾρφՐՏԵՄעաՃՎՀ",
    "ДБСDЄFGНЇJКLМИФРQЯSТЦVШХУZ",
    "ӓҌҫԁӗғӷҥїјҝӀѫҋӧҏԛґѕҭџѷѡӿӳӡ",
    "ⲁⲃⲥⲇⲉϝⳋⲏⲓⳗⲕⳑⲙⲛⲟⲣϙⲅⳝⲧυⲩⲱⲭⲯⲍ",
    "ꓮꓐꓚꓓꓰꓝꓖꓧꓲꓙꓗꓡꓟꓠꓳꓑϙꓣꓢꓔꓴꓦꓪꓫꓬꓜ",
    "🅰🅱🅲🅳🅴🅵🅶🅷🅸🅹🅺🅻🅼🅽🅾🅿🆀🆁🆂🆃🆄🆅🆆🆇🆈🆉",
    "🅐🅑🅒🅓🅔🅕🅖🅗🅘🅙🅚🅛🅜🅝🅞🅟🅠🅡🅢🅣🅤🅥🅦🅧🅨🅩",
    "🇦🇧🇨🇩🇪🇫🇬🇭🇮🇯🇰🇱🇲🇳🇴🇵🇶🇷🇸🇹🇺🇻🇼🇽🇾🇿",
)
# What the tables see one letter in and people another as well.
_ALSO = {
    "μ": "mu",
    "и": "un",
    "у": "yu",
    "з": "ez",
    "я": "r",
    "ч": "h",
    "ц": "u",
    "ш": "w",
    "щ": "w",
    "ж": "x",
    "п": "n",
} | {
    **{
        "л": "nj",
        "д": "da",
        "г": "r",
        "н": "hn",
        "т": "tm",
        "ъ": "b",
        "ы": "bl",
        "э": "e",
        "ф": "po",
        "б": "b6",
        "в": "b",
    },
    **{"η": "n", "ι": "i", "κ": "k", "λ": "a", "ν": "v", "π": "n", "σ": "o", "τ": "t", "ω": "w", "β": "b", "γ": "y"},
    **{"δ": "d", "ε": "e", "ζ": "z", "θ": "o", "ξ": "e", "ρ": "p", "υ": "uv", "φ": "o", "χ": "x", "ψ": "w", "α": "a"},
}
# Turned by half a circle, and then read from the end: what each letter of the Latin alphabet becomes.
_TURNED = dict(zip("abcdefghijklmnopqrstuvwxyz", "ɐqɔpǝɟƃɥᴉɾʞʃɯuodbɹsʇnʌʍxʎz", strict=True))
_TURNED_TOO = {"∀": "a", "Ɐ": "a", "ᗺ": "b", "Ɔ": "c", "Ↄ": "c", "ↄ": "c", "ᗡ": "d", "Ǝ": "e", "∃": "e", "Ⅎ": "f"} | {
    **{
        "⅁": "g",
        "פ": "g",
        "ɓ": "g",
        "ᵷ": "g",
        "ı": "i",
        "ſ": "j",
        "ʅ": "l",
        "ꞁ": "l",
        "ן": "l",
        "˥": "l",
        "⅂": "l",
        "Ꞁ": "l",
    },
    **{"Ɯ": "m", "Ԁ": "p", "ᴚ": "r", "⊥": "t", "┴": "t", "Ʇ": "t", "∩": "u", "Λ": "v", "Ʌ": "v", "⅄": "y", "ə": "e"},
    **{"ʁ": "r", "ᖵ": "f", "ᔭ": "j", "ᘔ": "z", "Ʞ": "k", "ᴑ": "o", "ᴝ": "u", "ᴟ": "m", "Ᵹ": "g", "ɘ": "e", "ɿ": "r"},
}
# Seen nowhere but in turned text; letters that are themselves when turned say nothing.
_ONLY_TURNED = frozenset("ɐɔǝɟƃɥᴉɾʞʃɯɹʇʌʍʎ") | _TURNED_TOO.keys() - set("ıſə")
_DIGITS = {"0": "o", "1": "il", "2": "z", "3": "e", "4": "a", "5": "s", "6": "gb", "7": "t", "8": "b", "9": "gq"}
_SIGNS = {"@": "a", "$": "s", "!": "i", "|": "il", "+": "t", "€": "e", "¢": "c", "£": "l", "¥": "y", "©": "c"} | {
    **{"®": "r", "¡": "i", "×": "x", "°": "o", "√": "v", "∂": "d", "†": "t", "∑": "e", "∆": "a", "Ω": "o", "§": "s"},
    **{
        "⭕": "o",
        "❌": "x",
        "✖": "x",
        "💲": "s",
        "❗": "i",
        "❕": "i",
        "➕": "t",
        "✝": "t",
        "⚪": "o",
        "⚫": "o",
        "🔴": "o",
    },
    **{
        "\u25cb": "o",
        "\u25cf": "o",
        "\u25ef": "o",
        "ℹ": "i",
        "Ⓜ": "m",
        "₿": "b",
        "₽": "p",
        "₩": "w",
        "₮": "t",
        "∞": "oo",
    },
    **{"🔵": "o", "🟢": "o", "🟠": "o", "🟡": "o", "🟣": "o", "🟤": "o", "\u2228": "v", "\u2227": "a", "\u222a": "u"},
}
# Scripts that people write whole texts in, with gaps between words. A word all in one of them, among others of it, is
# read as its language, and only what nobody could tell from a Latin letter as that letter.
LIVING = frozenset(
    (
        *("CYRILLIC", "GREEK", "ARMENIAN", "GEORGIAN", "HEBREW", "ARABIC", "DEVANAGARI", "BENGALI", "GURMUKHI"),
        *("GUJARATI", "ORIYA", "TAMIL", "TELUGU", "KANNADA", "MALAYALAM", "SINHALA", "ETHIOPIC", "HANGUL", "MONGOLIAN"),
    )
)


@dataclass(frozen=True, eq=False, slots=True)
class Shape:
    """One character as it may be read.

    own: its own letter, casefolded and without accents, empty where it is none. same: Latin letters it cannot be told
    from; like: those and what it looks like. sign: what may be no letter at all is a "digit", an "ascii" sign or
    another "symbol"; else empty.
    turned: the letter it is upside down, and only_turned whether it is seen nowhere else.
    """

    own: str
    same: frozenset[str]
    like: frozenset[str]
    script: str
    sign: str
    turned: str
    only_turned: bool


@cache
def _table() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """(same, like): the Latin letters, one or two, by what looks like them."""
    same: dict[str, set[str]] = {}
    like: dict[str, set[str]] = {}
    for line in (Path(__file__).parent / "look_alikes.txt").read_text(encoding="ascii").splitlines():
        if not line.startswith("#"):
            kind, letters, *codes = line.split()
            for code in codes:
                (same if kind == "same" else like).setdefault(chr(int(code, 16)), set()).add(letters)
    for alphabet in _ALPHABETS:
        for letter, character in zip(LATIN, alphabet, strict=True):
            for one in {character, unicodedata.normalize("NFKD", character)[0]}:
                if not one.isascii():
                    like.setdefault(one, set()).add(letter)
    for character, letters in _ALSO.items():
        like.setdefault(character, set()).update(letters)
    for letter, character in [*_TURNED.items(), *((letter, turned) for turned, letter in _TURNED_TOO.items())]:
        if not character.isascii():
            like.setdefault(character, set()).add(letter)
    return same, like


@lru_cache(maxsize=65536)  # one object for a character: shapes are compared by identity
def shapes(character: str) -> tuple[Shape, ...]:
    """What one character is read as: none for what is no letter, several for a ligature or a squared word.

    Marks are nothing of their own: é is e. (They are told from blanks by their category, which is the caller's.)
    """
    whole = unicodedata.normalize("NFKD", character)
    kind = unicodedata.category(character)
    letters = [c for c in whole if unicodedata.category(c) not in ("Mn", "Me")]
    symbol = "symbol" if kind == "So" else ""
    found: list[Shape] = []
    for one in letters:
        if one in _DIGITS or (unicodedata.category(one) == "Nd" and unicodedata.decimal(one, None) is not None):
            digit = one if one in _DIGITS else str(unicodedata.decimal(one))
            alike = "".join(letter for letter in _table()[1].get(one, ()) if len(letter) == 1)
            found.append(_shape(digit, alike or _DIGITS[digit], "", "" if alike else "digit", one))
        elif signs := _SIGNS.get(one, ""):
            found.append(_shape("", signs, "", "ascii" if one.isascii() else "symbol", one))
        elif one.isalnum() or unicodedata.category(one) in ("Mc", "So", "Sm", "Sc", "Po", "No"):
            found += _letter(one, symbol)
    return tuple(found)


def _letter(character: str, symbol: str) -> list[Shape]:
    same, like = _table()
    folded = unicodedata.normalize("NFKD", character.casefold()) if character != "ß" else "ß"
    bare = "".join(c for c in folded if unicodedata.category(c) not in ("Mn", "Me"))
    is_letter = character.isalpha() or unicodedata.category(character) in ("Mc", "Nl")
    alike = {*like.get(character, ()), *like.get(bare, ()), *same.get(character, ())}
    if not is_letter and not alike:
        return []
    pairs = {letters for letters in alike if len(letters) > 1}
    if pairs and alike == pairs:  # æ is two letters, in this order
        first = sorted(pairs)[0]
        return [_shape(one, one, "", symbol, character) for one in first]
    if len(bare) > 1:
        return [_shape(one, "", "", symbol, character) for one in bare]
    own = bare if is_letter else ""
    wide = "".join(one for one in alike if len(one) == 1)
    strict = "".join(one for one in same.get(character, ()) if len(one) == 1)
    return [_shape(own, wide, strict, symbol, character)]


def _shape(own: str, like: str, same: str, sign: str, character: str) -> Shape:
    ascii_own = own if own.isascii() and own.isalpha() else ""
    turned = next((letter for letter, c in _TURNED.items() if c == own), "") or _TURNED_TOO.get(character, "")
    return Shape(
        own=own,
        same=frozenset({*([own] if own and sign != "digit" else []), *same}),
        like=frozenset({*([own] if own else []), *like}),
        script="LATIN" if ascii_own else unicodedata.name(character, "").split(" ")[0],
        sign=sign,
        turned=turned or _TURNED_TOO.get(own, ""),
        only_turned=character in _ONLY_TURNED,
    )
