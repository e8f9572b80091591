"""What was searched for: pages and API ask, an executor reads it, and the same is answered at once from then on.

Of words and pictures stays what CLIP makes of them; they themselves are there until they are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from db.engine import clock, reading, writing
from db.jobs import storable
from db.schema import searches

MAX_WAITING = 64  # searches that wait to be read; whoever comes then is told to come again
MAX_KEPT = 10_000
LAPSES_S = 600.0  # what nobody has read for so long is forgotten: whoever still wants to know asks again


@dataclass(frozen=True)
class Search:
    """vector: (D,) float16; problem: why there is none, a sentence; waiting_s: how long it has waited to be read, in s,
    where it does."""

    vector: bytes | None
    problem: str | None
    waiting_s: float | None


@dataclass(frozen=True)
class Asked:
    """What an executor is to read: words, or a picture's bytes."""

    digest: str
    words: str | None
    picture: bytes | None


def find(db: sa.Engine, space: str, digest: str) -> Search | None:
    """What is known of a search; None where nobody has asked for it."""
    one = sa.select(*_SHOWN).where(searches.c.space == space, searches.c.digest == digest)
    with reading(db) as conn:
        row = conn.execute(one).one_or_none()
        if row is None:
            return None
        waiting = None if row.asked_at is None else max(0.0, clock(conn) - row.asked_at)
    return Search(row.vector, row.problem, waiting)


_SHOWN = (searches.c.vector, searches.c.problem, searches.c.asked_at)


def ask(db: sa.Engine, space: str, digest: str, *, words: str | None = None, picture: bytes | None = None) -> bool:
    """Have it read, unless that was asked for already; False where too many wait. The words are storable, or BadValue
    is raised."""
    if not storable(f"{space}{digest}{words or ''}") or len(space) > 96 or len(digest) > 64:
        return False
    with writing(db, lasting=False) as conn:
        now = clock(conn)
        conn.execute(sa.delete(searches).where(searches.c.asked_at < now - LAPSES_S))
        waiting = conn.scalar(sa.select(sa.func.count()).where(searches.c.asked_at.is_not(None))) or 0
        if waiting >= MAX_WAITING:
            return False
        named = {"space": space, "digest": digest}
        values = {**named, "words": words, "picture": picture, "asked_at": now, "made_at": now}
        conn.execute(_insert(conn).values(values).on_conflict_do_nothing(index_elements=list(named)))
    return True


def asked(db: sa.Engine, space: str, *, limit: int = 16) -> Sequence[Asked]:
    """What waits to be read, the oldest first. Nothing is written, so that an executor may look often."""
    with reading(db) as conn:
        rows = conn.execute(_ASKED, {"in_space": space, "most": limit}).all()
    return [Asked(*row) for row in rows]


# Made once: making a statement takes longer than running it.
_ASKED = (
    sa.select(searches.c.digest, searches.c.words, searches.c.picture)
    .where(searches.c.asked_at.is_not(None), searches.c.space == sa.bindparam("in_space"))
    .order_by(searches.c.asked_at)
    .limit(sa.bindparam("most"))
)


def answer(db: sa.Engine, space: str, digest: str, *, vector: bytes | None, problem: str | None = None) -> None:
    """It was read: what CLIP makes of it, or why it cannot be read. What was asked is forgotten."""
    read = {"vector": vector, "problem": problem, "words": None, "picture": None, "asked_at": None}
    one = sa.update(searches).where(searches.c.space == space, searches.c.digest == digest)
    with writing(db, lasting=False) as conn:
        conn.execute(one.values(read))


def tidy(db: sa.Engine) -> int:
    """Forget what nobody has read for LAPSES_S, and the oldest beyond MAX_KEPT; how many of those."""
    with reading(db) as conn:
        lapsed = searches.c.asked_at < clock(conn) - LAPSES_S
        any_lapsed = conn.scalar(sa.select(sa.func.count()).where(lapsed))
    if any_lapsed:
        with writing(db, lasting=False) as conn:
            conn.execute(sa.delete(searches).where(lapsed))
    oldest = sa.select(searches.c.made_at).order_by(searches.c.made_at.desc()).offset(MAX_KEPT).limit(1)
    with reading(db) as conn:
        before = conn.scalar(oldest)
    if before is None:
        return 0
    with writing(db, lasting=False) as conn:
        return conn.execute(sa.delete(searches).where(searches.c.made_at <= before)).rowcount


def _insert(conn: sa.Connection) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(searches) if conn.dialect.name == "sqlite" else postgresql.insert(searches)
