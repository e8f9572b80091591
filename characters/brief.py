"""Sentences that do not repeat all that they refuse: of what somebody sent, the beginning is enough to know it again.

One function, for every error of the studio, of the generator and of the command lines, and for their logs.
"""

from __future__ import annotations

import argparse
import re
from typing import NoReturn, Self

MAX_QUOTED = 200  # characters of one value
MAX_SENTENCE = 2000  # characters of all of it: longer than any list of names that are permitted

# As repr() writes a text. A quotation does not begin behind a letter, where an apostrophe stands, nor where one is
# escaped: so each character is looked at twice at most.
_QUOTATION = re.compile(rf"(?<![\w\\])(['\"])((?:(?!\1)[^\\]|\\.){{{MAX_QUOTED + 1},}})\1", re.DOTALL)
_RUN = re.compile(rf"\S{{{MAX_QUOTED + 10},}}")  # not a quotation that was cut, with its marks


def in_brief(text: str) -> str:
    """The text, in which each quotation and each word has at most MAX_QUOTED characters and all of it MAX_SENTENCE."""
    if len(text) <= MAX_QUOTED:
        return text
    text = _QUOTATION.sub(lambda found: f"{found[1]}{_cut(found[2])}{found[1]}{_told(found[2])}", text)
    text = _RUN.sub(lambda found: f"{_cut(found[0])}{_told(found[0])}", text)
    if len(text) > MAX_SENTENCE:
        half = MAX_SENTENCE // 2 - 2
        text = f"{text[:half]} … {text[-half:]}"
    return text


def begun(text: str) -> str:
    """The beginning of one value, in one line, for where it stands without quotation marks."""
    return text if len(text) <= MAX_QUOTED else " ".join(_cut(text).split()) + _told(text)


def _cut(text: str) -> str:
    # Not through the middle of an escape, e.g. \x00 or \U0001f600.
    return re.sub(r"\\(?:x\w?|u\w{0,3}|U\w{0,7})?$", "", text[: MAX_QUOTED - 1]) + "…"


def _told(text: str) -> str:
    return f" ({len(text)} characters)"


class Brief(Exception):
    """An error whose message is kept in brief, however long the value is that it names."""

    def __init__(self, *told: object) -> None:
        super().__init__(*(in_brief(one) if isinstance(one, str) else one for one in told))


class Term(str):
    """A word or a part of a sentence that is translated with it; it may have {places} of its own."""

    sentence: str
    values: dict[str, object]

    def __new__(cls, sentence: str, **values: object) -> Self:
        made = super().__new__(cls, sentence.format(**values) if values else sentence)
        made.sentence, made.values = sentence, values
        return made


class Translatable(Brief):
    """An error that is an English sentence, and what goes into its {places}.

    str() of it is the whole sentence; pages translate the sentence first.
    """

    def __init__(self, sentence: str = "", **values: object) -> None:
        super().__init__(sentence.format(**values) if values else sentence)
        # A Term stays one: it is translated, and none is long.
        brief = {name: in_brief(value) if type(value) is str else value for name, value in values.items()}
        self.sentence, self.values = sentence, brief


class Parser(argparse.ArgumentParser):
    """argparse's own, which refuses in brief."""

    def error(self, message: str) -> NoReturn:
        """Prints how it is called and what is wrong; status 2."""
        super().error(in_brief(message))
