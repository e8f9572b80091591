"""Words of two letters in the languages that visitors are likely to write, for db/rules/word_filter.py.

Two tokens of two letters are a refused word cut in half only where one of them is no word: `ba d` hides one, `an us`
does not. (So `ba`, which is one of Basque and Vietnamese, is left out.)
"""

from __future__ import annotations

import unicodedata

_ENGLISH = (
    "ad ah am an as at ax be by do eh ex go ha he hi ho if in is it la lo ma me mr ms my no of oh ok on or ox pa pi so "
    "to tv uk um up us vs we ya ye yo"
)
_SPANISH = "al da de di el en es fe fu ha he ir la le lo me mi ni no os oí se si sé su te tu tú un va ve vi ya yo"
_BASQUE = "da di du ea er ez ia la lo ni oi su ur ta"
_OTHERS = (
    "ab am an da du er es im in ja ob so um wo zu "  # German
    "au ce de du en et eu il je la le lu ma me mi ne ni nu on or ou ou sa se si ta te tu un va vu "  # French
    "ai al ci da di il io la le li lo ma mi ne se si su te ti tu un va vi "  # Italian
    "ao as da de do em eu ir já ler na no nu os ou pá se só um "  # Portuguese
    "bu da de ne ve ya ki mi mu "  # Turkish
    "en er et av de du ei ett få gå ha han i jo ja nå og om på så ta to vi än är åt ut "  # Scandinavian
    "co do ja my na ni od on po ta te to tu ty we za ze że "  # Polish
    "ai an bé bò có cô da do em gà ho lá là ma me mẹ nó no ở ra sư ta to từ và vị về xa"  # Vietnamese
)
# As the filter reads them: without accents.
SHORT_WORDS = frozenset(
    "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    for word in f"{_ENGLISH} {_SPANISH} {_BASQUE} {_OTHERS}".split()
)
