"""Whose webhooks are due: jobs that have ended and whose end has not been told yet."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from db.engine import AHEAD_S, clock, reading, writing
from db.jobs import ENDED
from db.schema import jobs, webhooks

# After the first try, in s: the schedule of Standard Webhooks.
BACKOFF_S = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0)


@dataclass(frozen=True)
class Notice:
    """The end of one job, to be told after so many tries."""

    job_id: str
    url: str
    secret: str
    tries: int


# Made once: making a statement takes longer than running it, and each server asks every second.
_DUE = (
    sa.select(webhooks.c.job_id)
    .join(jobs, jobs.c.id == webhooks.c.job_id)
    .where(
        # Also where the clock was set back before the wait began: it is not as long as that.
        webhooks.c.due_at.is_not(None),
        sa.or_(webhooks.c.due_at <= sa.bindparam("now"), webhooks.c.since > sa.bindparam("ahead")),
        jobs.c.state.in_(ENDED),
    )
    .order_by(webhooks.c.due_at)
    .limit(sa.bindparam("at_most"))
)
_TAKEN = _DUE.with_for_update(skip_locked=True, of=webhooks)


def due(db: sa.Engine, *, limit: int, held_s: float) -> list[Notice]:
    """Take up to `limit` notices that are due; nobody else gets them for `held_s`."""
    with reading(db) as conn:
        now = clock(conn)
        if not conn.execute(_DUE, {"now": now, "ahead": now + AHEAD_S, "at_most": 1}).first():
            return []
    taken = []
    with writing(db) as conn:
        now = clock(conn)
        for job_id in conn.scalars(_TAKEN, {"now": now, "ahead": now + AHEAD_S, "at_most": limit}).all():
            row = conn.execute(
                sa.update(webhooks)
                .where(webhooks.c.job_id == job_id)
                .values(due_at=now + held_s, since=now)
                .returning(*webhooks.c)
            ).one()
            taken.append(Notice(row.job_id, row.url, row.secret, row.tries))
    return taken


def told(db: sa.Engine, notice: Notice) -> None:
    """It was heard."""
    with writing(db) as conn:
        values = {"tries": notice.tries + 1, "due_at": None, "told_at": clock(conn), "error": None}
        conn.execute(sa.update(webhooks).where(webhooks.c.job_id == notice.job_id).values(**values))


def not_told(db: sa.Engine, notice: Notice, error: str, *, again: bool = True) -> None:
    """It was not heard: it is tried again later, unless it was tried often enough or `again` says that it is no use."""
    with writing(db) as conn:
        wait = BACKOFF_S[notice.tries] if again and notice.tries < len(BACKOFF_S) else None
        now = clock(conn)
        due_at = None if wait is None else now + wait
        values = {"tries": notice.tries + 1, "due_at": due_at, "since": now, "error": error[:500]}
        conn.execute(sa.update(webhooks).where(webhooks.c.job_id == notice.job_id).values(**values))
