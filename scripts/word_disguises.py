"""Fifty ways to write a refused word so that a plain comparison misses it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

AZ = "abcdefghijklmnopqrstuvwxyz"
WORDS = ("gore", "naked", "blood", "murder", "weapon", "nazi", "corpse", "bomb", "kill", "whip")


def written_in(alphabet: str) -> Callable[[str], str]:
    """A word in another alphabet of 26 letters, from a to z."""
    assert len(alphabet) == 26, alphabet
    table = str.maketrans(AZ, alphabet)
    return lambda word: word.translate(table)


def one_of(letters: dict[str, str]) -> Callable[[str], str]:
    """A word with those of its letters changed that are in the table."""
    table = str.maketrans(letters)
    return lambda word: word.translate(table)


def math(first: int) -> Callable[[str], str]:
    """A mathematical alphabet that begins at this code point."""
    return written_in("".join(chr(first + n) for n in range(26)))


def between(sign: str) -> Callable[[str], str]:
    """The letters with a sign between each two."""
    return sign.join


def inside(sign: str) -> Callable[[str], str]:
    """The word with a sign in its middle."""
    return lambda word: word[: len(word) // 2] + sign + word[len(word) // 2 :]


def marked(*marks: str) -> Callable[[str], str]:
    """Every letter with these marks."""
    return lambda word: "".join(letter + "".join(marks) for letter in word)


def turned(word: str) -> str:
    """The word upside down, from its end."""
    return word.translate(str.maketrans(AZ, "ɐqɔpǝɟƃɥᴉɾʞʃɯuodbɹsʇnʌʍxʎz"))[::-1]


KINDS: dict[str, Callable[[str], str]] = {
    "capitals": str.upper,
    "every second capital": lambda w: "".join(c.upper() if n % 2 else c for n, c in enumerate(w)),
    "Cherokee": one_of(dict(zip("abcdeghijklmoprstvwyz", "ᎪᏴᏟᎠᎬᏀᎻᎥᎫᏦᏞᎷᎾᏢᎡᏚᎢᏙᎳᎩᏃ", strict=True))),
    "Lisu": one_of(dict(zip("abcdefghijklmnoprstuvwxyz", "ꓮꓐꓚꓓꓰꓝꓖꓧꓲꓙꓗꓡꓟꓠꓳꓑꓣꓢꓔꓴꓦꓪꓫꓬꓜ", strict=True))),
    "Cyrillic, the same": one_of(dict(zip("aceopxyis", "асеорхуіѕ", strict=True))),
    "Cyrillic, alike": written_in("ДБСDЄFGНІJКLМИОРQЯЅТЦVШХУZ"),
    "Greek": one_of(dict(zip("abeikmnoprtuvwxyz", "αβεικμηορгτυνωχγζ", strict=True))),
    "Armenian": one_of(dict(zip("ghnopuslw", "ցհոօքսѕլա", strict=True))),
    "Georgian": one_of(dict(zip("bdmos", "ხძოიჽ", strict=True)) | {"o": "ჿ", "m": "ო", "b": "ხ"}),
    "Coptic": one_of(dict(zip("acehiklmnoprtuw", "ⲁⲥⲉⲏⲓⲕⳑⲙⲛⲟⲣⲅⲧυⲱ", strict=True))),
    "Canadian syllabics": one_of(dict(zip("abcdefhjklmnpqrsuvwx", "ᗩᗷᑕᗪᕮᖴᕼᒍᏦᒪᗰᑎᑭᑫᖇᔕᑌᐯᗯ᙭", strict=True))),
    "Han": written_in("卂乃匚ᗪ乇千Ꮆ卄丨ﾌҜㄥ爪几ㄖ卩Ɋ尺丂ㄒㄩᐯ山乂ㄚ乙"),
    "kana": written_in("ﾑ乃cりeｷgんﾉﾌズﾚﾶ刀のｱゐ尺丂ｲひ√wﾒﾘ乙"),
    "Thai": written_in("ค๒ς๔єŦﻮђเןкɭ๓ภ๏קợгรՇยשฬאץչ"),
    "runes": written_in("ᚨᛒᚲᛞᛖᚠᚷᚺᛁᛃᚲᛚᛗᚾᛟᛈᛩᚱᛊᛏᚢᚡᚹᛪᚤᛉ"),
    "small capitals": written_in("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘǫʀꜱᴛᴜᴠᴡxʏᴢ"),
    "IPA": one_of({"a": "ɑ", "g": "ɡ", "i": "ı", "b": "ɓ", "d": "ɖ", "e": "ɛ", "k": "ƙ", "n": "ɳ", "o": "ɵ", "u": "ʉ"}),
    "full width": written_in("".join(chr(0xFF41 + n) for n in range(26))),
    "mathematical bold": math(0x1D41A),
    "mathematical script": math(0x1D4EA),
    "mathematical Fraktur": math(0x1D586),
    "double-struck": math(0x1D552),
    "monospace": math(0x1D68A),
    "negative squared": math(0x1F170),
    "squared": math(0x1F130),
    "negative circled": math(0x1F150),
    "circled": math(0x24D0),
    "parenthesised": math(0x249C),
    "regional indicators": math(0x1F1E6),
    "superscript": written_in("ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖqʳˢᵗᵘᵛʷˣʸᶻ"),
    "upside down": turned,
    "accents": marked("\u0301"),
    "overlays": marked("\u0336"),
    "zalgo": marked("\u0489", "\u0352", "\u031b", "\u0e49"),
    "leet": one_of({"a": "4", "e": "3", "o": "0", "i": "1"}),
    "leet signs": one_of({"a": "@", "s": "$", "i": "!", "o": "°", "e": "€"}),
    "stretched": lambda w: w[:1] + w[1] * 5 + w[2:],
    "doubled": lambda w: "".join(c * 2 for c in w),
    "blanks": between(" "),
    "dots": between("."),
    "hyphens": between("-"),
    "emoji between": between("🔥"),
    "a sign inside": inside("*"),
    "zero-width spaces": between("\u200b"),
    "soft hyphens": between("\u00ad"),
    "joiners": between("\u200d"),
    "grapheme joiners, fillers": lambda w: "\u034f".join(w[:2]) + "\u3164" + "\u2800".join(w[2:]),
    "variation selectors": between("\ufe0f"),
    "tags": between("\U000e0061"),
    "turned round by an override": lambda w: f"\u202e{w[::-1]}\u202c",
    "turned round by isolates": lambda w: "\u2067" + "".join(f"\u2066{c}\u2069" for c in reversed(w)) + "\u2069",
}
CARRIERS = ("{}", "a painting of {} at night", "{}, oil on canvas", "my cat and {}!")


def disguises() -> list[tuple[str, str, str]]:
    """(kind, word, text) of every word in every kind, in sentences by turns; one that a kind leaves as it is too."""
    made = []
    for kind, write in KINDS.items():
        for n, word in enumerate(WORDS):
            made.append((kind, word, CARRIERS[n % len(CARRIERS)].format(write(word))))
    return made


def differs(word: str, text: str) -> bool:
    """Whether a plain comparison without case misses the word."""
    return word not in unicodedata.normalize("NFC", text).casefold()
