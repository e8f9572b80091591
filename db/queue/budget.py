"""What one job may cost: a wish that would cost more is refused before anything is queued."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from db.errors import OverBudget
from db.jobs import State, from_row
from db.queue.paces import Cost, measure
from db.queue.shares import WITHIN_S
from db.queue.workers import alive
from db.schema import jobs

if TYPE_CHECKING:
    from db.queue.enqueueing import NewJob


def check(conn: sa.Connection, wanted: Sequence[NewJob], budget_s: float) -> None:
    """Raises OverBudget for the first of these jobs that would cost more, as far as is known.

    One of which nothing is known is taken: it ends when it has cost so much.
    """
    asked = Counter(_like(new) for new in wanted if new.budgeted)
    for like, alike in asked.items():
        refuse(_cost(conn, *like), like[-1] if like[2] else None, budget_s, alike=alike, jobs=len(wanted))


def refuse(cost: Cost | None, steps: int | None, budget_s: float, *, alike: int = 1, jobs: int = 1) -> None:
    """Raises OverBudget where a job costs more than that. steps: of the job, where fewer may be asked for.

    alike: how many of the `jobs` that are asked for together are so.
    """
    if cost is not None and cost.seconds > budget_s:
        which = "This" if jobs == 1 else f"Each of these {jobs} jobs" if alike == jobs else f"One of these {jobs} jobs"
        raise OverBudget(cost.seconds, budget_s, sure=cost.sure, steps=steps, which=which)


def _like(new: NewJob) -> tuple[str, str, int | None, int]:
    return new.engine, new.batch_key, new.pixels, new.total_steps


def _cost(conn: sa.Connection, engine: str, batch_key: str, pixels: int | None, steps: int) -> Cost | None:
    running = conn.execute(sa.select(*jobs.c).where(jobs.c.state == State.RUNNING)).all()
    found = measure(conn, engine, alive(conn, WITHIN_S), [from_row(row) for row in running])
    return found.cost(batch_key, pixels, steps)
