"""What one job may cost: a wish that would cost more is refused before anything is queued."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from characters.brief import Term
from db.errors import OverBudget
from db.jobs import State, from_row
from db.queue.paces import Cost, measure
from db.queue.shares import WITHIN_S
from db.queue.workers import alive
from db.schema import jobs
from db.wording import duration

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
    if cost is None or cost.seconds <= budget_s:
        return
    which = Term("Each of these {n} jobs", n=jobs) if alike == jobs else Term("One of these {n} jobs", n=jobs)
    took, most = duration(cost.seconds), duration(budget_s)
    takes = Term("about {duration}", duration=took) if cost.sure else Term("at least {duration}", duration=took)
    if took == most:
        takes = Term("a little more than {duration}", duration=took)
    values: dict[str, object] = {"which": Term("This") if jobs == 1 else which, "takes": takes, "most": most}
    fits = 0 if steps is None else int(steps * budget_s / cost.seconds)
    fits = fits if fits < 100 else fits // 10 ** (len(str(fits)) - 2) * 10 ** (len(str(fits)) - 2)
    if fits:
        raise OverBudget(
            "{which} would take {takes} here, and the host allows one job {most}; ask for {fits:,} steps or fewer "
            "instead of {steps:,}, or for a smaller size.",
            fits=fits,
            steps=steps,
            **values,
        )
    raise OverBudget(
        "{which} would take {takes} here, and the host allows one job {most}; ask for a smaller size.", **values
    )


def _like(new: NewJob) -> tuple[str, str, int | None, int]:
    return new.engine, new.batch_key, new.pixels, new.total_steps


def _cost(conn: sa.Connection, engine: str, batch_key: str, pixels: int | None, steps: int) -> Cost | None:
    running = conn.execute(sa.select(*jobs.c).where(jobs.c.state == State.RUNNING)).all()
    found = measure(conn, engine, alive(conn, WITHIN_S), [from_row(row) for row in running])
    return found.cost(batch_key, pixels, steps)
