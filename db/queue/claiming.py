"""An executor claims the jobs whose turn it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from db.engine import clock, reading, writing
from db.jobs import Job, State, check_transition, from_row, new_stamp
from db.queue import shares
from db.queue.fair_order import claimable, heads, newest_stamp
from db.queue.suspects import Take, holds_suspect, may_take
from db.queue.transitions import earlier, note
from db.rules import host_rules
from db.schema import events as events_table
from db.schema import jobs

# Statements are made once: making one takes longer than running it.
_WAITING = sa.select(jobs.c.id).where(jobs.c.state == State.QUEUED).limit(1)


def claim(
    db: sa.Engine,
    *,
    worker_id: str,
    limit: int,
    engines: Collection[str] | None = None,
    batch_key: str | None = None,
    share: float | None = None,
    lease_s: float,
    alone: bool = False,
) -> list[Job]:
    """Take up to `limit` jobs that can share a batch, in fair turns (see `db.queue.fair_order`).

    The first job decides the batch_key of the others unless `batch_key` is given. engines: only these. share: of all
    executors' places, the most that one submitter gets while others wait; None: all. A suspect (see
    `db.queue.suspects`) is taken by itself, by an executor that holds nothing; alone: only such a one is taken.
    Every returned job is running and belongs to `worker_id` until `lease_s` after its last heartbeat. While the host
    has paused the queue there is none.
    """
    taken: list[Job] = []
    with reading(db) as conn:
        # Idle executors ask often; this look does not take the write lock.
        if conn.scalar(_WAITING) is None or host_rules.paused(conn) or holds_suspect(conn, worker_id):
            return taken
    with writing(db) as conn:
        if host_rules.paused(conn):
            return taken
        take = may_take(conn, worker_id, engines)
        if take == Take.NOTHING or (alone and take == Take.SHARING):
            return taken
        suspects = True if alone else False if take == Take.SHARING else None
        now, newest = clock(conn), newest_stamp(conn)
        most = shares.limit(conn, share)
        held = Counter[str]() if most is None else shares.held(conn)
        passed: set[str] = set()
        while len(taken) < limit:
            full = set() if most is None else {who for who, places in held.items() if places >= most}
            line = _line(conn, limit - len(taken), engines, batch_key, passed, full, suspects)
            if not line:
                break
            for head in line:
                if head.priority < line[0].priority:
                    break
                # Stamps count up, so that turns taken in one claim keep their order.
                values = {"turn": new_stamp(newest), "started_at": now, "lease_s": lease_s}
                job = _claim_one(conn, head.id, values | {"worker_id": worker_id, "lease_expires_at": now + lease_s})
                if job is None:
                    passed.add(head.id)
                else:
                    taken.append(job)
                    held[job.submitter] += 1
                    batch_key, suspects = job.batch_key, False
            if taken and taken[0].suspect_step is not None:
                break
        if taken:
            conn.execute(
                sa.insert(events_table),
                [{"job_id": j.id, "at": j.started_at, "kind": "claimed", "worker_id": worker_id} for j in taken],
            )
    return taken


def _line(
    conn: sa.Connection,
    free: int,
    engines: Collection[str] | None,
    batch_key: str | None,
    passed: set[str],
    full: set[str],
    suspects: bool | None,
) -> Sequence[Any]:
    """Whose turn it is for these free places. full: submitters who have their share, and get more only where nobody
    else waits. suspects: as for `heads`; where one may come, it comes by itself."""
    if batch_key is None:
        return heads(conn, limit=1, engines=engines, without=passed, behind=full, suspects=suspects)
    if full:
        first = heads(conn, limit=1, engines=engines, without=passed, behind=full, suspects=suspects)
        full = full if first and first[0].submitter not in full else set()
    most = free if suspects is False else 1
    return heads(conn, limit=most, engines=engines, batch_key=batch_key, without=passed, not_of=full, suspects=suspects)


def claim_this(db: sa.Engine, *, worker_id: str, job_id: str, lease_s: float) -> Job | None:
    """Take this job, whoever's turn it is, for an executor that has its finished files already; None where it does not
    wait (any more), or the host has paused the queue."""
    with writing(db) as conn:
        if host_rules.paused(conn):
            return None
        now = clock(conn)
        values = {"turn": new_stamp(newest_stamp(conn)), "started_at": now, "lease_s": lease_s}
        job = _claim_one(conn, job_id, values | {"worker_id": worker_id, "lease_expires_at": now + lease_s})
        if job is not None:
            note(conn, job.id, "claimed", at=now, worker_id=worker_id)
        return job


def _claim_one(conn: sa.Connection, job_id: str, values: dict[str, Any]) -> Job | None:
    check_transition(State.QUEUED, State.RUNNING)
    bound = {f"new_{name}": value for name, value in values.items()}
    row = conn.execute(_claim_statement(), {"wanted": job_id} | bound).one_or_none()
    return None if row is None else from_row(row)


@cache
def _claim_statement() -> sa.Executable:
    # PostgreSQL: a row that another executor is claiming right now is skipped, not waited for.
    free = (
        sa.select(jobs.c.id)
        .where(jobs.c.id == sa.bindparam("wanted"), jobs.c.state == State.QUEUED, claimable(jobs))
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    names = ("worker_id", "started_at", "turn", "lease_expires_at", "lease_s")
    taken: dict[str, Any] = {name: sa.bindparam(f"new_{name}", type_=jobs.c[name].type) for name in names}
    taken["from_step"] = jobs.c.step
    # Where the clock was set back meanwhile the job was asked for by now at the latest: no wait is negative.
    taken["created_at"] = earlier(jobs.c.created_at, taken["started_at"])
    return sa.update(jobs).where(jobs.c.id == free).values(state=State.RUNNING, **taken).returning(*jobs.c)
