"""At most a share of all places for one submitter while others wait; who waits alone may have them all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import sqlalchemy as sa

from db.jobs import State
from db.queue.workers import Worker, alive
from db.schema import jobs

WITHIN_S = 30.0  # an executor that was not heard of for so long has no places

# Made once: making a statement takes longer than running it.
_RUNNING = sa.select(jobs.c.submitter, sa.func.count()).where(jobs.c.state == State.RUNNING).group_by(jobs.c.submitter)


def most(places: int, share: float | None) -> int | None:
    """How many of so many places one submitter gets while others wait, at least 1; None: as many as there are."""
    if share is None or places < 1:
        return None
    return max(math.floor(places * share + 1e-9), 1)


def most_of(workers: Iterable[Worker], share: float | None) -> int | None:
    """The same, of all places of these executors."""
    return None if share is None else most(sum(worker.places for worker in workers), share)


def limit(conn: sa.Connection, share: float | None) -> int | None:
    """The same, of the executors that are there now."""
    return None if share is None else most_of(alive(conn, WITHIN_S), share)


def held(conn: sa.Connection) -> Counter[str]:
    """How many places each submitter holds."""
    return Counter({submitter: n for submitter, n in conn.execute(_RUNNING)})
