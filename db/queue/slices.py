"""Time slices: which running jobs make room now, so that one long job does not keep others waiting.

A job that has held its place for a slice gives it to somebody who waits and could use it: who is served by that
executor, has fewer places than its submitter, has not more than a share of all places, and for whom no place is free.
It goes on later, when its submitter's turn comes again. (Round robin with a quantum: Kleinrock, "Analysis of a
time-shared processor", 1964.) Every executor looks by itself; all find the same answer, so that no two make room for
the same job.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from db.engine import clock, reading
from db.jobs import State, microseconds
from db.queue import shares
from db.queue.fair_order import NEARLY, heads, newest_stamp
from db.queue.workers import Worker, alive
from db.rules import host_rules
from db.schema import jobs

FREE_S = 10.0  # who waits for so long beside a free place of another executor cannot have it: no memory, a full disk
MAX_LOOKED_AT = 16  # submitters who wait and are looked at, and four more for each place

# Made once: making a statement takes longer than running it.
_WAITING = sa.select(jobs.c.id).where(jobs.c.state == State.QUEUED).limit(1)
_NAMES = (
    *("id", "submitter", "priority", "worker_id", "started_at", "step", "from_step", "total_steps", "steps_per_s"),
    *("suspect_step", "waits_for"),
)
_RUNNING = sa.select(*(jobs.c[name] for name in _NAMES)).where(jobs.c.state == State.RUNNING)


def to_make_room(
    db: sa.Engine, *, worker_id: str, engines: Collection[str], ready: Collection[str], places: int
) -> set[str]:
    """Which jobs of an executor are to give their places to others now.

    engines: what it serves. ready: its jobs that may, as it knows best whether they have had their slice. places: how
    many jobs it can hold now, as its memory is.
    """
    with reading(db) as conn:
        if not ready or conn.scalar(_WAITING) is None or host_rules.paused(conn):
            return set()
        workers, running = alive(conn, shares.WITHIN_S), conn.execute(_RUNNING).all()
        own = next((worker for worker in workers if worker.id == worker_id), None)
        if own is None:
            return set()
        most = shares.most_of(workers, own.share)
        held = shares.held(conn)
        full = [] if most is None else [who for who, n in held.items() if n >= most]
        # A suspect gets no single place: executors make way for it altogether, see db/queue/suspects.py.
        waiting = heads(conn, limit=MAX_LOOKED_AT + 4 * places, engines=engines, not_of=full, suspects=False)
        now, stamp = clock(conn), microseconds(newest_stamp(conn)) / 1e6
    free = {worker.id: worker.places - sum(job.worker_id == worker.id for job in running) for worker in workers}
    free[worker_id] = places - sum(job.worker_id == worker_id for job in running)
    # Beside a suspect nobody gets a place.
    free |= {str(job.worker_id): 0 for job in running if job.suspect_step is not None}
    look = _Look(workers, list(running), free, held, now, worker_id, frozenset(ready))
    for head in waiting:
        since = max(stamp, now) - microseconds(head.ready) / 1e6
        look.serve(head, others=since < FREE_S)
    return look.chosen


def waits(db: sa.Engine, *, engines: Collection[str], above: int) -> bool:
    """Whether a job of these engines waits, with a priority above that one, and could be claimed."""
    if not engines:
        return False
    with reading(db) as conn:
        if conn.scalar(_WAITING) is None or host_rules.paused(conn):
            return False
        return any(head.priority > above for head in heads(conn, limit=1, engines=engines))


@dataclass
class _Look:
    """Who would get which place. `held`: places by submitter, and as they would be."""

    workers: Sequence[Worker]
    running: list[Any]
    free: dict[str, int]
    held: dict[str, int]
    now: float
    own: str
    ready: frozenset[str]

    def __post_init__(self) -> None:
        self.chosen: set[str] = set()

    def serve(self, head: Any, others: bool) -> None:
        """Finds a place for a waiting job: a free one, those of others included or not, or one that is given up."""
        serving = {worker.id: worker for worker in self.workers if head.engine in worker.engines}
        for worker_id in serving:
            if self.free[worker_id] > 0 and (others or worker_id == self.own):
                self.free[worker_id] -= 1
                return
        giving = [job for job in self.running if job.worker_id in serving and self._gives(job, head, serving)]
        if not giving:
            return
        job = min(giving, key=lambda job: (-self.held[job.submitter], job.started_at, job.id))
        self.running.remove(job)
        self.held[job.submitter] -= 1
        self.held[head.submitter] = self.held.get(head.submitter, 0) + 1
        if job.worker_id == self.own:
            self.chosen.add(job.id)

    def _gives(self, job: Any, head: Any, serving: dict[str, Worker]) -> bool:
        if job.submitter == head.submitter or job.priority > head.priority or job.waits_for is not None:
            return False
        if self.held.get(head.submitter, 0) + 1 > self.held[job.submitter]:
            return False  # a place only goes to who then has no more than who gave it
        if job.worker_id == self.own:
            return job.id in self.ready
        slice_s = serving[job.worker_id].slice_s
        left_s = (job.total_steps - job.step) / job.steps_per_s if job.steps_per_s else None
        ran_s, made = self.now - (job.started_at or self.now), job.step - (job.from_step or 0)
        return slice_s is not None and has_had(slice_s, ran_s=ran_s, made=made, left_s=left_s)


def has_had(slice_s: float, *, ran_s: float, made: int, left_s: float | None) -> bool:
    """Whether a running job has had its slice: it has run for so long, has made a step in it, and is not nearly done.

    made: steps in this slice; left_s: s until it is done, None: not known.
    """
    return ran_s >= slice_s and made > 0 and (left_s is None or left_s > NEARLY * slice_s)
