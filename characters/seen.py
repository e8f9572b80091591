"""Text as it is seen: what controls the order of letters is taken out, what shows nothing counts as nothing.

Everything that people type and others read goes through `as_seen`: prompts, names, titles, keys' names. Which
characters show nothing is Unicode's Default_Ignorable_Code_Point (Unicode Standard Annex 44), and a few blank letters.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Marks, embeddings, overrides and isolates of the bidirectional algorithm (Unicode Standard Annex 9), and the
# deprecated controls beside them. Honest Arabic and Hebrew lose nothing: their letters know their direction.
_ORDER = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f]")
# Drawn as nothing wherever they stand, so nothing is lost by leaving them out: soft hyphens, zero-width spaces and
# their like, Hangul fillers, the Khmer inherent vowels, shorthand and musical format controls.
_NOTHING = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e001f\U000e0080-\U000e00ff\U000e01f0-\U000e0fff]"
)
# Letters of flags as 🏴󠁧󠁢󠁥󠁮󠁧󠁿 are written in; anywhere else they are hidden text.
_FLAG = re.compile("(\U0001f3f4[\U000e0061-\U000e007a\U000e0030-\U000e0039]+\U000e007f)|[\U000e0020-\U000e007f]")
# They join or choose the shape of what stands beside them (emoji, Persian, Indic scripts), and show nothing alone.
_SHAPERS = re.compile("[\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_BLANK_SYMBOLS = "\u2800\U0001d159"  # empty Braille, a note without a head


def as_seen(text: str) -> str:
    """The text without what nobody sees of it; empty where nothing is left to be seen but blanks.

    What shapes others (joiners, variation selectors) stays where there is something to be seen.
    """
    if text.isascii():
        return text if is_seen(text) else ""
    seen = _FLAG.sub(lambda found: found[1] or "", _NOTHING.sub("", _ORDER.sub("", text)))
    return seen if is_seen(seen) else ""


def is_seen(text: str) -> bool:
    """Whether any character of the text shows something."""
    return any(not shows_nothing(character) for character in text)


@lru_cache(maxsize=4096)
def shows_nothing(character: str) -> bool:
    """Whether this character alone is blank: a space, a control, a shaper, or one that is never drawn."""
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zs", "Zl", "Zp"):
        return True
    ignorable = _NOTHING.match(character) or _SHAPERS.match(character) or _FLAG.fullmatch(character)
    return ignorable is not None or character in _BLANK_SYMBOLS


def is_noncharacter(character: str) -> bool:
    """Whether Unicode promises never to assign it (its chapter 23.7). Others that this Python's tables lack may be of a
    newer Unicode, as new emoji are."""
    return 0xFDD0 <= ord(character) <= 0xFDEF or ord(character) & 0xFFFE == 0xFFFE


def is_order_control(character: str) -> bool:
    """Whether this character says in which order others are shown, and is not seen itself."""
    return _ORDER.match(character) is not None


def holds_order_controls(text: str) -> bool:
    """Whether the text may be shown in another order than it is stored in because somebody said so."""
    return _ORDER.search(text) is not None
