"""What the host does about visitors: who is there, whom to ban, and letting them back in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from db.engine import clock, reading, writing
from db.errors import UnknownVisitor
from db.jobs import LIVE
from db.queue.listing import copies_of
from db.queue.transitions import end_or_ask
from db.rules.visitors import lock, put
from db.schema import jobs, visitors


@dataclass(frozen=True)
class Visitor:
    """Who has asked for jobs: how many in all and how many of them wait or run. Times in UTC s."""

    id: str
    name: str | None
    banned_at: float | None
    asked: int
    live: int
    last_at: float | None


def recent(db: sa.Engine, *, limit: int = 50) -> list[Visitor]:
    """Who has asked for something, the last one first, and everybody who is banned."""
    asked = (
        sa.select(
            jobs.c.submitter,
            sa.func.count().label("asked"),
            sa.func.count(sa.case((jobs.c.state.in_(LIVE), 1))).label("live"),
            sa.func.max(jobs.c.id).label("newest"),
        )
        .group_by(jobs.c.submitter)
        .subquery()
    )
    last = jobs.alias("last")
    with reading(db) as conn:
        rows = conn.execute(
            sa.select(asked.c.submitter, asked.c.asked, asked.c.live, last.c.created_at, visitors)
            .join(last, last.c.id == asked.c.newest)
            .outerjoin(visitors, visitors.c.id == asked.c.submitter)
            .order_by(visitors.c.banned_at.is_not(None).desc(), asked.c.newest.desc())
            .limit(limit)
        ).all()
    return [Visitor(r.submitter, r.name, r.banned_at, r.asked, r.live, r.created_at) for r in rows]


def ban(db: sa.Engine, visitor: str, *, hide: bool = False, copies: Collection[str] = ()) -> int:
    """Close queue and votes to a visitor, end what they have in progress; returns how many jobs that were.

    hide: take all their pictures out as well, with what `copies`, engines that make the same picture again, made from
    them. Raises UnknownVisitor for one who never asked for anything.
    """
    with writing(db) as conn:
        lock(conn, visitor)
        known = conn.scalar(sa.select(visitors.c.id).where(visitors.c.id == visitor)) or conn.scalar(
            sa.select(jobs.c.id).where(jobs.c.submitter == visitor).limit(1)
        )
        if known is None:
            raise UnknownVisitor(visitor)
        put(conn, visitor, {"banned_at": clock(conn)})
        live = conn.scalars(
            sa.select(jobs.c.id).where(jobs.c.submitter == visitor, jobs.c.state.in_(LIVE)).order_by(jobs.c.id)
        ).all()
        for job_id in live:
            end_or_ask(conn, job_id)
        if hide:
            own = set(conn.scalars(sa.select(jobs.c.id).where(jobs.c.submitter == visitor)))
            others = sorted(copies_of(conn, own, copies))
            conn.execute(sa.update(jobs).where(jobs.c.submitter == visitor).values(hidden=True))
            for i in range(0, len(others), 500):
                conn.execute(sa.update(jobs).where(jobs.c.id.in_(others[i : i + 500])).values(hidden=True))
    return len(live)


def lift_ban(db: sa.Engine, visitor: str) -> None:
    """Let a visitor back in. What was hidden stays so."""
    with writing(db) as conn:
        conn.execute(sa.update(visitors).where(visitors.c.id == visitor).values(banned_at=None))
