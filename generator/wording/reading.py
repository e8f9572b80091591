"""A wish on its way through the understandings: what was typed so far became what, and what is to be said about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

TEXTS = ("prompt", "negative_prompt")  # the settings that are understood


class Notice:
    """One sentence to be shown before a picture is queued: English, and what goes into its {places}.

    str() of it is the whole sentence; pages translate the sentence first, so write it where it is raised. reads:
    whether it says that a text is read otherwise than it was typed, which `as_typed` forbids.
    """

    def __init__(self, sentence: str, *, reads: bool = False, **values: object) -> None:
        self.sentence, self.values, self.reads = sentence, values, reads

    def __str__(self) -> str:
        return self.sentence.format(**self.values) if self.values else self.sentence

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Notice) and (self.sentence, self.values) == (other.sentence, other.values)

    def __hash__(self) -> int:
        return hash(str(self))


@dataclass(frozen=True)
class Sources:
    """What the host has for it. wildcards: the folder of `animal.txt` for `__animal__`; it need not be there."""

    wildcards: Path = Path("data/wildcards")


@dataclass(frozen=True)
class Reading:
    """engine, values: the wish so far. texts: those of its texts that are still to be understood, by setting.

    choices: what was read how, by setting, in words that the picture keeps. An understanding takes one of these and
    gives back another; it must leave alone what is understood already (understood twice is as understood once).
    """

    engine: str
    values: Mapping[str, Any]
    texts: Mapping[str, str]
    sources: Sources = field(default_factory=Sources)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()

    def reads(self, name: str, text: str, *choices: str) -> Reading:
        """With another text of a setting, and how it was come by."""
        said = {**self.choices, name: (*self.choices.get(name, ()), *choices)} if choices else self.choices
        return replace(self, texts={**self.texts, name: text}, choices=said)

    def sets(self, name: str, value: Any) -> Reading:
        """With another value of a setting that is none of the texts, as a style that the prompt names."""
        return replace(self, values={**self.values, name: value})

    def says(self, *notices: Notice) -> Reading:
        """With more to be said."""
        return replace(self, notices=(*self.notices, *notices))


Understanding = Callable[[Reading], Reading]
