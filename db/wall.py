"""What the wall shows beside the newest pictures: those that did best in votes, and how long the line is."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from db import votes
from db.engine import reading
from db.jobs import Job, State, from_row
from db.lines import service_order
from db.schema import jobs
from db.votes import Tally
from db.waiting import position_and_wait

POOL = 300


def best_voted(db: sa.Engine, engines: Collection[str], *, limit: int) -> list[tuple[Job, Tally]]:
    """Of the newest POOL pictures of these engines those with the best share of won comparisons, best first.

    Few votes prove little: the share is (wins + ties / 2 + 1) / (votes + 2), Laplace's rule of succession. Pictures
    that nobody preferred are left out.
    """
    with reading(db) as conn:
        pool = conn.scalars(
            sa.select(jobs.c.id)
            .where(jobs.c.state == State.SUCCEEDED, jobs.c.hidden == sa.false(), jobs.c.engine.in_(sorted(engines)))
            .order_by(jobs.c.id.desc())
            .limit(POOL)
        ).all()
    liked = {job_id: t for job_id, t in votes.tallies(db, pool).items() if t.wins > t.losses}
    best = sorted(liked, key=lambda job_id: (_share(liked[job_id]), job_id), reverse=True)[:limit]
    with reading(db) as conn:
        rows = conn.execute(sa.select(*jobs.c).where(jobs.c.id.in_(best), jobs.c.hidden == sa.false())).all()
    found = {row.id: from_row(row) for row in rows}
    return [(found[job_id], liked[job_id]) for job_id in best if job_id in found]


def _share(tally: Tally) -> float:
    cast = tally.wins + tally.losses + tally.ties
    return (tally.wins + tally.ties / 2 + 1) / (cast + 2)


def line(db: sa.Engine) -> tuple[int, float | None]:
    """How many jobs wait, and the estimated s until the last of them starts (0 where none waits, None: not known)."""
    with reading(db) as conn:
        waiting = list(service_order(conn))
    if not waiting:
        return 0, 0.0
    return len(waiting), position_and_wait(db, waiting[-1])[1]
