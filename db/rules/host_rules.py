"""What the host has set while the studio runs: the queue paused, limits, refused words, engines.

Kept in the database, so that every web app and executor sees a change at once. What the host has not set is as
settings.py says: such a value is None here, and whoever asks passes the configured one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from characters.seen import as_seen
from db.engine import clock, reading, writing
from db.errors import BadValue, EngineWithheld, WordRefused
from db.jobs import check_text
from db.prepared import Prepared
from db.rules.word_filter import refused
from db.rules.word_tokens import letters_of
from db.schema import host_settings

MAX_QUEUED, MAX_PER_HOUR = 10_000, 100_000
MAX_IN_ALL = 1_000_000  # of all who share an address, and of everybody
MAX_JOB_S = 7 * 86400.0
MAX_KEEP_DAYS, MAX_KEEP_GB = 3650, 100_000
KEEP_FAVOURITES, MAX_KEEP_FAVOURITES = 200, 5000  # of each visitor
COUNTS = {
    "max_queued": MAX_QUEUED,
    "max_per_hour": MAX_PER_HOUR,
    "max_queued_per_address": MAX_IN_ALL,
    "max_per_hour_per_address": MAX_IN_ALL,
    "max_queued_in_all": MAX_IN_ALL,
}
LIMITS: dict[str, float] = {**COUNTS, "max_job_s": MAX_JOB_S}
_WHOLE = COUNTS | {"keep_days": MAX_KEEP_DAYS, "keep_gb": MAX_KEEP_GB, "keep_favourites": MAX_KEEP_FAVOURITES}
MAX_WORDS, MAX_WORD_LENGTH = 2_000, 80
MIN_CODE_LENGTH, MAX_CODE_LENGTH = 4, 40

# The settings of a job in which visitors write words of their own.
TEXTS = ("prompt", "negative_prompt", "style", "artist")


@dataclass(frozen=True)
class Rules:
    """The host's settings. None: as configured. max_job_s: what a job may cost, 0: no limit. withheld: engines that
    visitors neither see nor may ask for.

    keep_days, keep_gb: how long jobs are kept, and how much of their files; None: for good, all. See evening/retention.
    keep_favourites: how many favourites of each visitor stay all the same; None: KEEP_FAVOURITES.
    train: whether visitors may have models trained. wall_approval: the wall shows only what the host has let onto it.
    """

    paused: bool = False
    max_queued: int | None = None
    max_per_hour: int | None = None
    max_job_s: float | None = None
    default_engine: str | None = None
    default_checkpoint: str | None = None
    withheld: tuple[str, ...] = ()
    refused_words: tuple[str, ...] = ()
    max_queued_per_address: int | None = None
    max_per_hour_per_address: int | None = None
    max_queued_in_all: int | None = None
    event_code: str | None = None
    keep_days: int | None = None
    keep_gb: int | None = None
    keep_favourites: int | None = None
    train: bool | None = None
    wall_approval: bool = False

    def check_job(self, engine: str, texts: Iterable[str]) -> None:
        """Raises EngineWithheld, WordRefused."""
        if engine in self.withheld:
            raise EngineWithheld(engine)
        for text in texts:
            self.check_words(text)

    def check_words(self, text: str, what: str = "prompt") -> None:
        """Raises WordRefused where the text holds a word of the list."""
        word = refused(text, self.refused_words)
        if word is not None:
            raise WordRefused(word, what)


_ALL = Prepared(sa.select(host_settings.c.name, host_settings.c.value))
PAUSED = sa.select(host_settings.c.value).where(host_settings.c.name == "paused")
_PAUSED = Prepared(PAUSED)
_NAMES = frozenset(field.name for field in fields(Rules))


def get(db: sa.Engine) -> Rules:
    """The rules as they are now."""
    with reading(db) as conn:
        return read(conn)


def read(conn: sa.Connection) -> Rules:
    """As `get`, inside the caller's transaction."""
    return rules_of(_ALL.all(conn))


def rules_of(rows: Iterable[sa.Row[Any]]) -> Rules:
    """The rules in rows that have a name and a value of host_settings."""
    found: dict[str, Any] = {}
    for row in rows:
        if row.name in _NAMES:
            found[row.name] = tuple(row.value) if isinstance(row.value, list) else row.value
    return Rules(**found)


def paused(conn: sa.Connection) -> bool:
    """Whether executors are to claim nothing."""
    return bool(_PAUSED.scalar(conn))


def change(db: sa.Engine, **values: Any) -> Rules:
    """Set these rules, all of them or none; None goes back to what is configured. Raises BadValue."""
    checked = {name: _checked(name, value) for name, value in values.items()}
    with writing(db) as conn:
        now = clock(conn)
        for name, value in checked.items():
            conn.execute(sa.delete(host_settings).where(host_settings.c.name == name))
            if value is not None:
                conn.execute(sa.insert(host_settings).values(name=name, value=value, changed_at=now))
        return read(conn)


def words_of(text: str) -> tuple[str, ...]:
    """A typed list, one word or phrase a line or with commas between them, without doubles."""
    typed = (" ".join(as_seen(part).split()) for line in text.splitlines() for part in line.split(","))
    return tuple(dict.fromkeys(part for part in typed if part))


def _checked(name: str, value: Any) -> Any:
    if name not in _NAMES:
        raise BadValue(f"{name!r} is no rule; permitted: {', '.join(sorted(_NAMES))}.")
    if name in ("paused", "wall_approval"):
        return bool(value)
    if value is None:
        return None
    if name == "train":
        return bool(value)
    if name in _WHOLE:
        return _whole(name, value, _WHOLE[name])
    if name == "max_job_s":
        return _seconds(name, value)
    if name == "event_code":
        return _code(str(value))
    if name == "refused_words":
        return _words(value)
    if name == "withheld":
        return sorted({_named("engine", engine) for engine in value})
    return _named(name, value)


def _whole(name: str, value: Any, maximum: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= maximum:
        raise BadValue(
            "{name} is {value!r}; a whole number from 1 to {most} is permitted.", name=name, value=value, most=maximum
        )
    return value


def _code(typed: str) -> str:
    check_text("event code", typed)
    plain = " ".join(typed.split())
    if not MIN_CODE_LENGTH <= len(plain) <= MAX_CODE_LENGTH:
        raise BadValue(
            "The event code has {count} characters; {least} to {most} are permitted.",
            count=len(plain),
            least=MIN_CODE_LENGTH,
            most=MAX_CODE_LENGTH,
        )
    return plain


def _seconds(name: str, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value <= MAX_JOB_S:
        raise BadValue(
            "{name} is {value!r}; 0 (no limit) to {most:.0f} s is permitted.", name=name, value=value, most=MAX_JOB_S
        )
    return float(value)


def _named(name: str, value: Any) -> str:
    check_text(name, str(value), 128)
    return str(value)


def _words(value: Sequence[str]) -> list[str]:
    if len(value) > MAX_WORDS:
        raise BadValue("{count} refused words; at most {most} are permitted.", count=len(value), most=MAX_WORDS)
    for word in value:
        check_text("refused word", word, MAX_WORD_LENGTH)
        if not letters_of(word):
            raise BadValue("The refused word {word!r} has no letter or digit; nothing could be found by it.", word=word)
    return list(value)
