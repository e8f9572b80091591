"""Suspects: jobs that ran on an executor when it was lost, one of which may have killed it.

A suspect runs alone, so that it takes nobody along if it is the one, and so that it is known then: only who was alone
spends an attempt (see `db.queue.losses`). Alone is on its executor, and the only suspect on that machine's device.
Once it is well past the step at which the executor was lost, it is no suspect any more and may share, and it gets as
many attempts more as it has spent: a job fails that is lost max_attempts times without getting on.

A suspect has its turn in the line like any other. An executor that holds other jobs passes it over, but one of them,
the emptiest, makes way when its turn has come: it claims nothing more, and gives back what it holds if that takes long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from enum import Enum
from typing import Any

import sqlalchemy as sa

from db.engine import clock, reading
from db.jobs import State
from db.prepared import Prepared
from db.queue.fair_order import heads
from db.queue.workers import Worker, alive
from db.rules import host_rules
from db.schema import events, jobs, workers

ALIVE_S = 30.0  # an executor that was not heard of for so long makes way for nobody
GROWTH = 4.0  # each loss makes the time that a suspect must get on alone so many times longer
MAX_PROBATION_S = 3600.0


class Take(Enum):
    """What an executor may claim now."""

    ANY = "any"  # a suspect alone, or others together
    SHARING = "sharing"  # no suspect
    NOTHING = "nothing"


# How many jobs an executor works on, and how many of them are suspects: beside such a one it claims nothing.
_HELD = sa.select(sa.func.count()).where(
    jobs.c.state == State.RUNNING, jobs.c.worker_id == sa.bindparam("worker_id", type_=sa.String)
)
SUSPECTS_HELD = _HELD.where(jobs.c.suspect_step >= 0)
_OF_WORKER = Prepared(sa.select(_HELD.scalar_subquery(), SUSPECTS_HELD.scalar_subquery()))
SUSPECT_WAITING = sa.select(jobs.c.id).where(jobs.c.state == State.QUEUED, jobs.c.suspect_step >= 0).limit(1)
_ANY_WAITING = Prepared(SUSPECT_WAITING)
# Where suspects run. An executor that never registered is a place of its own.
_PLACES = (
    sa.select(jobs.c.worker_id, workers.c.hostname, workers.c.device)
    .outerjoin(workers, workers.c.id == jobs.c.worker_id)
    .where(jobs.c.state == State.RUNNING, jobs.c.suspect_step >= 0)
)
_PLACE = sa.select(workers.c.hostname, workers.c.device).where(workers.c.id == sa.bindparam("worker_id"))
_LOAD = sa.select(jobs.c.worker_id).where(jobs.c.state == State.RUNNING)


def may_take(conn: sa.Connection, worker_id: str, engines: Collection[str] | None) -> Take:
    """What the executor, which serves these engines and holds no suspect, may claim while one waits."""
    held, _ = _held(conn, worker_id)
    if held:
        return Take.NOTHING if _makes_way(conn, worker_id, engines, held) else Take.SHARING
    place = conn.execute(_PLACE, {"worker_id": worker_id}).one_or_none()
    return Take.SHARING if place is not None and tuple(place) in _taken_places(conn) else Take.ANY


def makes_way(db: sa.Engine, worker_id: str, engines: Collection[str] | None = None) -> bool:
    """Whether a suspect, whose turn it is, waits for this executor to hold nothing any more."""
    with reading(db) as conn:
        if _ANY_WAITING.scalar(conn) is None or host_rules.paused(conn):
            return False
        held, suspects = _held(conn, worker_id)
        return held > 0 and not suspects and _makes_way(conn, worker_id, engines, held)


def _held(conn: sa.Connection, worker_id: str) -> tuple[int, int]:
    """How many jobs the executor works on, and how many of them are suspects."""
    held, suspects = _OF_WORKER.all(conn, {"worker_id": worker_id})[0]
    return held, suspects


def _makes_way(conn: sa.Connection, worker_id: str, engines: Collection[str] | None, held: int) -> bool:
    """Whether the first in the line is a suspect and this is the executor with the fewest jobs that could run it."""
    first = next(iter(heads(conn, limit=1, engines=engines)), None)
    if first is None or first.suspect_step is None or first.priority < 0:
        return False  # a run that trains waits until nobody draws, and makes nobody leave
    taken = _taken_places(conn)
    there = {one.id: one for one in alive(conn, ALIVE_S)}
    load = Counter(conn.scalars(_LOAD))
    able = {one.id: load[one.id] for one in there.values() if first.engine in one.engines and _at(one) not in taken}
    if worker_id not in there:
        able[worker_id] = held
    return worker_id in able and worker_id == min(able, key=lambda one: (able[one], one))


def _taken_places(conn: sa.Connection) -> set[tuple[Any, ...]]:
    return {(row.hostname, row.device) for row in conn.execute(_PLACES) if row.hostname is not None}


def _at(worker: Worker) -> tuple[str, str]:
    return worker.hostname, worker.device


def probation_s(lease_s: float, losses: int) -> float:
    """How long, in s, a suspect runs alone past the step of its last loss: whoever kills an executor does so within a
    lease of the step it was heard of last. Longer after each loss, so that one that kills again and again is left less
    and less often with others."""
    return min(lease_s * GROWTH ** min(losses - 1, 16), max(lease_s, MAX_PROBATION_S))


def get_on(conn: sa.Connection, row: Any, step: int, ran_s: float, lease_s: float) -> None:
    """A suspect reports this step after so long: past where it was lost for long enough, it is cleared.

    row: of `jobs`, as it is now.
    """
    if step <= row.suspect_step:
        return
    if row.suspect_ran_s is None or row.suspect_ran_s > ran_s:
        _set(conn, row.id, suspect_ran_s=ran_s)
    elif ran_s - row.suspect_ran_s >= probation_s(lease_s, row.losses or 1):
        forgiven = row.max_attempts + (row.lost_alone or 0)
        _set(conn, row.id, suspect_step=None, suspect_ran_s=None, lost_alone=0, max_attempts=forgiven)
        noted = {"job_id": row.id, "at": clock(conn), "kind": "cleared", "worker_id": row.worker_id, "detail": None}
        conn.execute(sa.insert(events), noted)


def _set(conn: sa.Connection, job_id: str, **values: float | None) -> None:
    conn.execute(sa.update(jobs).where(jobs.c.id == job_id).values(**values))
