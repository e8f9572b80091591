"""Numbers that change over a run, in the notation of Disco Diffusion: `[12]*400+[4]*600`, or one number for all of it.

A schedule stands for the whole way from noise to picture, however many entries it has and steps the run takes: its
first entry holds where all is noise, its last where none is left. Nothing of it is evaluated as a program.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

from characters.brief import Brief

MAX_ENTRIES = 10_000
_EXAMPLE = "Write a number, or lists such as [12]*400+[4]*600."
_TOKEN = re.compile(r"\s*(?:(?P<number>-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)|(?P<sign>[\[\],*+]))")


class ScheduleError(Brief, ValueError):
    """A schedule that cannot be read; the message shows up to where it could be, and what may follow."""


@dataclass(frozen=True)
class Schedule:
    """runs: (value, how many entries have it), in order."""

    runs: tuple[tuple[float, int], ...]

    @property
    def values(self) -> tuple[float, ...]:
        """Every value there is, each run's once."""
        return tuple(value for value, _ in self.runs)

    def changes(self, of: int) -> set[int]:
        """The parts out of `of` at which another run begins, 0 among them."""
        entries, begun, places = sum(count for _, count in self.runs), 0, set()
        for _, count in self.runs:
            places.add(-(-begun * of // entries))
            begun += count
        return {place for place in places if place < of}

    def at(self, done: int, of: int) -> float:
        """The value where `done` of `of` equal parts of the way are behind: 0 is the start, of - 1 the last part."""
        left = done * sum(count for _, count in self.runs) // of
        for value, count in self.runs:
            if left < count:
                return value
            left -= count
        return self.runs[-1][0]


@lru_cache(maxsize=256)
def parse_schedule(text: str, *, minimum: float, maximum: float, whole: bool = False) -> Schedule:
    """A schedule whose values lie from `least` to `most`. Raises ScheduleError."""
    runs = _Reader(text).schedule()
    for value, _ in runs:
        if not minimum <= value <= maximum or (whole and value != int(value)):
            kind = "a whole number" if whole else "a number"
            raise ScheduleError(f"{text!r}: {value:g} is not {kind} from {minimum:g} to {maximum:g}.")
    return Schedule(tuple(runs))


class _Reader:
    """schedule = number | part {"+" part};  part = "[" number {"," number} "]" ["*" whole number]"""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def schedule(self) -> list[tuple[float, int]]:
        if self._next() not in ("[", ""):
            number = self._number()
            self._end()
            return [(number, 1)]
        runs = self._part()
        while self._take("+"):
            runs += self._part()
        self._end()
        if sum(count for _, count in runs) > MAX_ENTRIES:
            raise ScheduleError(f"{self.text!r} has more than {MAX_ENTRIES} entries. {_EXAMPLE}")
        return runs

    def _part(self) -> list[tuple[float, int]]:
        self._demand("[")
        values = [self._number()]
        while self._take(","):
            values.append(self._number())
        self._demand("]", "a comma or ]")
        if not self._take("*"):
            return [(value, 1) for value in values]
        before = self.at
        times = self._number()
        if times != int(times) or not 1 <= times <= MAX_ENTRIES:
            self.at = before
            raise self._wrong(f"a whole number of times from 1 to {MAX_ENTRIES}")
        return [(values[0], int(times))] if len(values) == 1 else [(value, 1) for value in values] * int(times)

    def _next(self) -> str:
        match = _TOKEN.match(self.text, self.at)
        return "" if match is None else match.group().strip()

    def _take(self, sign: str) -> bool:
        match = _TOKEN.match(self.text, self.at)
        if match is None or match["sign"] != sign:
            return False
        self.at = match.end()
        return True

    def _demand(self, sign: str, called: str = "") -> None:
        if not self._take(sign):
            raise self._wrong(called or sign)

    def _number(self) -> float:
        match = _TOKEN.match(self.text, self.at)
        if match is None or match["number"] is None or not math.isfinite(float(match["number"])):
            raise self._wrong("a number")
        self.at = match.end()
        return float(match["number"])

    def _end(self) -> None:
        if self.text[self.at :].strip():
            raise self._wrong("+ and another list" if self.text.rstrip()[: self.at].endswith("]") else "the end")

    def _wrong(self, wanted: str) -> ScheduleError:
        rest = self.text[self.at :].strip()
        where = f"after {self.text[: self.at].rstrip()!r}" if self.text[: self.at].strip() else "at the start"
        found = f"there is {rest[:20]!r}" if rest else "it ends"
        return ScheduleError(f"{self.text!r} cannot be read: {where} should come {wanted}, but {found}. {_EXAMPLE}")
