"""Words of a prompt that name one of the embedded models' styles: "a silhouette of an eagle" is an eagle, silhouette.

Only words that can mean nothing else: a flat tyre, a fluent speaker, a 3d printer, a black and white cat and a line of
art students name none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from generator.prompts.weights import NUMBER

_MEDIUM = (
    "(?:icons?|emojis?|drawings?|illustrations?|graphics?|clip ?art|art ?work|pictograms?|stickers?|images?|symbols?)"
)
_NOT_3D = (
    "print(?:er|ers|ed|ing|s)?|glasses|goggles|movies?|films?|cinema|tv|television|scan(?:s|ner|ners|ning)?|"
    "displays?|monitors?|screens?|cameras?|chess|puzzles?|games?|pens?|modell?er|artists?|animators?|software"
)
_BLACK = r"(?:(?:black[ -](?:and|&|on)[ -]white|monochrome|b&w) )?"
_3D = "(?:3|three)[ -]?(?:d|dimensional)"
# What names a style, longest first. A style's own name counts where it is no word of the language: "noto" and "blob"
# alone are words, "twemoji" is none.
PHRASES: dict[str, str] = {
    "silhouette": (
        rf"(?:(?:solid |plain )?black )?{_BLACK}silhouettes?(?: {_MEDIUM})?|"
        rf"{_BLACK}line[ -]?art(?: {_MEDIUM})?|{_BLACK}line[ -]?drawings?|"
        rf"(?:black |simple )?outline[ -]{_MEDIUM}|"
        rf"(?:black[ -](?:and|&|on)[ -]white|monochrome|b&w|high[ -]contrast) {_MEDIUM}|"
        rf"pictograms?|stencil {_MEDIUM}|glyph icons?|silhouetted|"
        r"(?:(?<=^)|(?<=\ban )|(?<=\bthe )|black )outline(?= of an? )"
    ),
    "3d": (
        rf"(?:glossy |shiny |fluent[ -])?{_3D}[ -]"
        rf"(?:render(?:s|ed|ing|ings)?|models?|style|look|cartoons?|cgi|{_MEDIUM})(?: {_MEDIUM})?|"
        rf"glossy {_3D}|glossy (?:renders?|{_MEDIUM})|(?:fluent[ -])?{_3D}(?! (?:{_NOT_3D})\b)"
    ),
    "twemoji": (  # flat shapes in bold colours, as stickers have them
        rf"twemojis?(?: {_MEDIUM})?|twitter[ -]?emojis?|twitter[ -]style|"
        r"(?:(?<=^)|(?<=^a )|(?<=^the ))stickers?(?= of )|(?:die[ -]cut |vinyl )stickers?|stickers?(?= style\b)"
    ),
    "fluent": (
        rf"(?:flat )?fluent[ -](?:ui[ -])?(?:flat )?(?:design|style|{_MEDIUM})|"
        rf"flat[ -](?:colou?red |vector |simple )?(?:design|style|vectors?|{_MEDIUM})|microsoft[ -]emojis?"
    ),
    "noto": rf"noto[ -](?:color |colour )?(?:style|{_MEDIUM})|google[ -]emojis?|(?:new )?android[ -]emojis?",
    "blob": rf"blob[ -](?:style|{_MEDIUM})|blobmojis?|google[ -]blobs?|old[ -](?:android|google)[ -]emojis?",
    "fx": rf"fx[ -]?(?:style|{_MEDIUM})|firefox(?:[ -]os)?[ -]emojis?|mozilla[ -]emojis?",
}
_ARTICLE = r"(?:(?:a|an|the|some|one) )?"
# What may stand before such a phrase and goes with it where "of" follows: "a minimalist line art of a face".
_MANNER = (
    r"(?:(?:vector|minimalist|minimal|simple|clean|bold|modern|stylized|stylised|detailed|realistic|cute|nice) ){0,3}"
)
_SUBJECTS = r"(?! (?:class(?:es)?|lessons?|courses?|tutorials?|students?|books?|contests?|museums?|studios?)\b)"
_LEAD = (
    r"(?:(?:drawn |rendered |painted |made |shown |done )?(?:in|as) (?:(?:a|an|the) )?(?:style of (?:a |an |the )?)?"
    r"|style ?[:=] ?)"
)
_BRACKETS = re.compile(rf"[(\[]+(?P<words>[^()\[\]|:]+)(?::\s*{NUMBER}\s*)?[)\]]+")
_NEGATED = re.compile(r"(?i)\b(?:no|not|non|without|never|isn['’]t|avoid)(?:[ -](?:a|an|the|in|as))*[ -]*$")


@dataclass(frozen=True)
class Styled:
    """style: the one that the words name; None where none or several do. text: what is left to draw; said: what names
    it."""

    text: str
    style: str | None = None
    said: str = ""


@cache
def _patterns() -> dict[str, re.Pattern[str]]:
    return {
        style: re.compile(
            rf"(?P<before>(?:^|(?<=[\s,;(|]))(?:{_LEAD}|{_ARTICLE}){_MANNER})"
            rf"(?P<said>{phrase})(?: style)?(?P<of> of|\s?:(?=\s+[^\W\d]))?(?!\w|-\w|:[\d.]+ \w){_SUBJECTS}",
            re.IGNORECASE,
        )
        for style, phrase in PHRASES.items()
    }


def read_style(text: str) -> Styled:
    """The style that the words of a prompt name, and the prompt without them; parts that are avoided name none.

    The words go, since the style is told to the networks beside the text: docs/mini.md has the measure. They stay where
    nothing else would be left to draw, and where the parts between | name different styles.
    """
    parts = [_read_part(part) for part in text.split("|")]
    named = [part for part in parts if part.style]
    if len({part.style for part in named}) != 1:
        return Styled(text)
    return Styled("|".join(part.text for part in parts), named[0].style, named[0].said)


def _is_style(words: str) -> bool:
    """Whether words say a style and nothing else, as in `(line art:1.3)`."""
    return any(pattern.fullmatch(words) for pattern in _patterns().values())


def _read_part(text: str) -> Styled:
    if re.search(r":\s*-\s*[\d.]+\s*(?::[^:]*)?$", text):
        return Styled(text)
    text = _BRACKETS.sub(lambda match: match["words"] if _is_style(match["words"]) else match[0], text)
    found = [(style, match) for style, pattern in _patterns().items() for match in pattern.finditer(text)]
    found = [(style, match) for style, match in found if not _NEGATED.search(text[: match.start("said")])]
    if len({style for style, _ in found}) != 1:
        return Styled(text)
    left = text
    for _style, match in reversed(sorted(found, key=lambda one: one[1].start())):
        left = _without(left, match)
    left = re.sub(r" +(?=[,;])", "", re.sub(r"\s{2,}", " ", left))
    left = left.strip(" ,;").lstrip(".")
    left = text[: len(text) - len(text.lstrip())] + left + text[len(text.rstrip()) :]
    left = re.sub(r"(?i)\b(a)(?= [aeiou](?!ni|se|ne\b))", r"\1n", left)
    left = re.sub(r"(?i)\b(a)n(?= [^aeiou\W])", r"\1", left)
    nothing = not re.search(r"[^\W\d_]{2}", re.sub(r"(?i)\b(?:an?|the|of|in)\b", "", left))
    return Styled(text if nothing else left, found[0][0], found[0][1]["said"])


def _without(text: str, match: re.Match[str]) -> str:
    """The text without one such phrase, and without the "in", "as" or "of" that ties it to what is drawn."""
    before, after, lead = text[: match.start()], text[match.end() :], match["before"]
    if match["of"]:
        return before + after.lstrip()
    if re.match(r"(?i)(?:in|as|style|drawn|rendered|painted|made|shown|done)\b", lead):
        return f"{before.rstrip(' ,')} {after}"
    if re.match(r"\s+\w", after):
        return before + lead + after.lstrip()
    if re.search(r"(?:^|[,;])\s*$", before):
        return before.rstrip(" ,;") + after  # ", a 3d render"
    return re.sub(r"['’]s$", "", (before + lead).rstrip()) + after  # "a woman's silhouette"
