"""A job: its states, the legal transitions between them, and what a row of the table means."""

from __future__ import annotations

import math
import re
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import Any

from characters.brief import Term
from db.errors import BadValue, IllegalTransition

HISTORY_POINTS = 200
SEARCH_LENGTH = 500
ID = re.compile(r"[0-9a-f]{26}")  # what `new_id` makes


class State(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


LIVE = (State.QUEUED, State.RUNNING)
ENDED = (State.SUCCEEDED, State.FAILED, State.CANCELLED)

LEGAL: dict[State, tuple[State, ...]] = {
    State.QUEUED: (State.RUNNING, State.CANCELLED),
    State.RUNNING: (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.QUEUED),
    State.SUCCEEDED: (),
    State.FAILED: (),
    State.CANCELLED: (),
}


def check_transition(source: State, target: State) -> None:
    """Raise IllegalTransition unless `source -> target` is in the table."""
    if target not in LEGAL[source]:
        permitted = ", ".join(LEGAL[source]) or "nothing, it has ended"
        raise IllegalTransition(f"A {source} job cannot become {target}; permitted: {permitted}.")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row of `jobs`. Times are UTC seconds since 1970."""

    id: str
    engine: str
    checkpoint: str
    batch_key: str
    prompt: str
    params: dict[str, Any]
    state: State
    priority: int
    submitter: str
    attempt: int  # the attempt being made, or the next one: 1 .. max_attempts
    max_attempts: int
    step: int  # 0 .. total_steps
    total_steps: int
    score: float | None = None
    history: list[list[float]]  # [[step, score], ...], at most HISTORY_POINTS
    steps_per_s: float | None = None
    error_kind: str | None = None
    error: str | None = None
    worker_id: str | None = None
    lease_expires_at: float | None = None
    cancel_requested: bool
    hidden: bool
    parent_id: str | None = None
    source_artefact_id: str | None = None
    created_at: float
    started_at: float | None = None  # when the attempt being made was claimed
    finished_at: float | None = None
    waits_for: str | None = None  # "store": it runs no more, its finished files cannot be stored yet
    suspect_step: int | None = None  # it was there when its executor was lost: it runs alone until it is well past
    losses: int | None = None  # executors that were lost while it ran
    lost_alone: int | None = None  # the attempts spent since it was cleared last: it has got on since then
    retried_as: str | None = None  # the job as which the host had it tried again
    deleted_at: float | None = None  # then prompt, settings and files are gone, and nobody is shown it
    spent_s: float | None = None  # s of the device it has cost so far; see executor/turns.py
    budget_s: float | None = None  # what it may cost at most; None: no limit
    ran_s: float | None = None  # s it held a place before the last claim
    pixels: int | None = None  # px of the picture it draws
    asked: str | None = None  # "pause": it is not claimed; "keep": it ends with what it has; see db/queue/asking.py
    on_wall: bool | None = None  # whether the host lets its picture onto the wall; None: not decided

    @property
    def taken_s(self) -> float | None:
        """s it held a place, all its slices together; None before it has ended."""
        if self.finished_at is None or self.started_at is None:
            return None
        return max(self.finished_at - self.started_at, 0.0) + (self.ran_s or 0.0)


_COLUMNS = tuple(Job.__dataclass_fields__)
_columns_of = attrgetter(*_COLUMNS)


def from_row(row: Any) -> Job:
    """Turn a result row that holds all columns of `jobs` into a Job."""
    values = dict(zip(_COLUMNS, _columns_of(row), strict=True))
    values["state"] = State(values["state"])
    return Job(**values)


_id_lock = threading.Lock()
_last_us = 0
_STAMP = re.compile(r"[0-9a-f]{14}")
_MAX_US = (1 << 56) - (1 << 40)  # what is beyond was made by no clock, and nothing must be counted on from there


def new_stamp(after: str | None = None) -> str:
    """14 characters that sort in the order of making: µs since 1970, or a count on from what was made before.

    after: a stamp or an id; what is made sorts behind it, and behind all that this process has made, so that a clock
    which is set back disturbs no order (Kulkarni et al. 2014, "Logical physical clocks").
    """
    global _last_us
    with _id_lock:
        _last_us = max(time.time_ns() // 1000, _last_us + 1, microseconds(after) + 1)
        return f"{_last_us:014x}"


def new_id(after: str | None = None) -> str:
    """26 characters that sort in the order of making and cannot be guessed: a stamp and 48 random bits.

    after: as for `new_stamp`; the newest id of the table makes them sort so across processes as well.
    """
    return new_stamp(after) + secrets.token_hex(6)


def microseconds(stamp: str | None) -> int:
    """The number that a stamp, or the stamp in front of an id, stands for; 0 for what is neither."""
    found = _STAMP.match(stamp or "")
    us = 0 if found is None else int(found[0], 16)
    return us if us < _MAX_US else 0


def oldest_id(at: float) -> str:
    """What sorts before every id made at this time, in UTC s, or later."""
    return f"{max(int(at * 1e6), 0):014x}"


def normalise(prompt: str) -> str:
    """The prompt as search and votes see it: casefolded, runs of blanks as one, cut to SEARCH_LENGTH."""
    return " ".join(prompt.casefold().split())[:SEARCH_LENGTH]


def is_id(text: str) -> bool:
    """Whether this can be an id of ours. What cannot is looked up nowhere: it may hold what no database takes."""
    return ID.fullmatch(text) is not None


def storable(text: str) -> bool:
    """Whether a database can hold it: no NUL, no half of a character. What it cannot hold is found nowhere."""
    return "\x00" not in text and text.encode(errors="replace") == text.encode(errors="surrogatepass")


def check_text(name: str, text: str, max_length: int | None = None) -> None:
    """Raise BadValue for text that a database cannot hold."""
    if "\x00" in text:
        raise BadValue("The {name} holds a NUL character; remove it.", name=Term(name))
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadValue(
            "The {name} holds half of a character (a lone surrogate); type it again.", name=Term(name)
        ) from None
    if max_length is not None and not 1 <= len(text) <= max_length:
        raise BadValue(
            "The {name} has {count} characters; 1 to {most} are permitted.",
            name=Term(name),
            count=len(text),
            most=max_length,
        )


def finite(value: float | None) -> float | None:
    """The value, or None where it is NaN or infinite, which no score curve can show."""
    return value if value is not None and math.isfinite(value) else None


def thin(history: Sequence[Sequence[float]]) -> list[list[float]]:
    """At most HISTORY_POINTS of the points, evenly spread, first and last kept; NaN and infinity left out."""
    points = [[int(step), float(score)] for step, score in history if math.isfinite(score)]
    if len(points) <= HISTORY_POINTS:
        return points
    last = len(points) - 1
    return [points[round(i * last / (HISTORY_POINTS - 1))] for i in range(HISTORY_POINTS)]
