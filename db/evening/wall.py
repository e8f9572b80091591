"""What the wall shows beside the newest pictures: those that did best in votes, and how long the line is."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from db import votes
from db.engine import reading
from db.jobs import Job, State, from_row
from db.queue.estimate import position_and_wait
from db.queue.fair_order import service_order
from db.schema import jobs
from db.votes import Tally


def best_voted(
    db: sa.Engine, ranked: Sequence[str], engines: Collection[str], *, limit: int
) -> list[tuple[Job, Tally]]:
    """The first of these pictures that engines of this list made and that may be seen, and their votes.

    ranked: ids of jobs, the best first, as the ratings have them. Pictures that nobody preferred are left out.
    """
    liked = {job_id: tally for job_id, tally in votes.tallies(db, ranked).items() if tally.wins}
    shown = sa.select(*jobs.c).where(jobs.c.id.in_(sorted(liked)), jobs.c.engine.in_(sorted(engines)))
    with reading(db) as conn:
        rows = conn.execute(shown.where(jobs.c.state == State.SUCCEEDED, jobs.c.hidden == sa.false())).all()
    found = {row.id: from_row(row) for row in rows}
    return [(found[job_id], liked[job_id]) for job_id in ranked if job_id in found][:limit]


def line(db: sa.Engine) -> tuple[int, float | None]:
    """How many jobs wait, and the estimated s until the last of them starts (0 where none waits, None: not known)."""
    with reading(db) as conn:
        waiting = list(service_order(conn))
    if not waiting:
        return 0, 0.0
    return len(waiting), position_and_wait(db, waiting[-1])[1]
