"""An executor claims the jobs whose turn it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import cache, partial
from typing import Any

import sqlalchemy as sa

from db.engine import clock, own_clock, reading, writing
from db.jobs import Job, State, check_transition, from_row, new_stamp
from db.prepared import Prepared
from db.queue import shares
from db.queue.claim_at_once import LOOK, LOOKED_AT, SPARE, look_and_claim, to_running
from db.queue.fair_order import claimable, heads, listed_values, newest_stamp
from db.queue.suspects import Take, may_take
from db.queue.transitions import Noted
from db.rules import host_rules
from db.schema import jobs

_LOOK = Prepared(LOOK)
# So often an executor looks again where others were faster; then it asks another time.
MOST_LOST = 4


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
    if db.dialect.name == "sqlite":
        with reading(db) as conn:
            # Idle executors ask often; this look does not take the write lock, which is all of the file.
            look = _LOOK.all(conn, {"worker_id": worker_id, "at": own_clock(conn)})[0]
            if look.waits is None or look.paused or look.suspects_held:
                return taken
    with writing(db, one_statement=limit == 1) as conn:
        at_once = conn.dialect.name == "postgresql" and batch_key is None and not alone
        at_once = at_once and limit > 0 and (engines is None or bool(engines))
        if at_once and share is None:
            look = first = look_and_claim(conn, worker_id=worker_id, engines=engines, lease_s=lease_s)[0]
        else:
            look, first = _LOOK.all(conn, {"worker_id": worker_id, "at": own_clock(conn)})[0], None
        if look.waits is None or look.paused:
            return taken
        take = Take.NOTHING
        if not look.suspects_held:
            take = Take.ANY if look.suspect_waiting is None else may_take(conn, worker_id, engines)
        if take == Take.NOTHING or (alone and take == Take.SHARING):
            return taken
        suspects = True if alone else False if take == Take.SHARING else None
        newest = max(filter(None, (look.newest_id, look.newest_turn)), default=None)
        most = shares.limit(conn, share)
        held = Counter[str]() if most is None else shares.held(conn)
        if at_once and look.suspect_waiting is None:
            claim_next = partial(look_and_claim, conn, worker_id=worker_id, engines=engines, lease_s=lease_s)
            taken, there_are_more = _at_once(claim_next, first, limit, held, most)
            if len(taken) == limit or not there_are_more:
                return taken
            if taken:
                batch_key, suspects = taken[0].batch_key, False
            newest = newest_stamp(conn)  # others took what was looked at, and have had their turns since
        passed: set[str] = set()
        lost = 0
        while len(taken) < limit and lost < MOST_LOST:
            if taken and taken[0].suspect_step is not None:
                break
            full = _full(held, most)
            # A suspect comes by itself, and the first of a batch says which that is.
            most_now = limit - len(taken) if batch_key is not None and suspects is False else 1
            line = _line(conn, most_now, engines, batch_key, passed, full, suspects)
            if not line:
                break
            ready = [head.id for head in line if head.priority == line[0].priority]
            for _ in range(min(most_now, len(ready))):
                # Stamps count up, so that turns taken in one claim keep their order.
                job = _claim_one(conn, ready, worker_id, look.at, lease_s, new_stamp(newest))
                if job is None:
                    passed.update(ready)
                    lost += 1
                    break
                ready.remove(job.id)
                taken.append(job)
                held[job.submitter] += 1
                batch_key, suspects = job.batch_key, False
    return taken


def _at_once(
    claim_next: Callable[..., Any], first: Any | None, limit: int, held: Counter[str], most: int | None
) -> tuple[list[Job], bool]:
    """PostgreSQL: as many as a look at few lines finds, and whether more may wait. first: what a look has claimed
    already, where there was one."""
    rows = [first] if first is not None else claim_next(behind=_full(held, most))
    further = LOOKED_AT[limit > 1 :]
    while rows[0].id is None and rows[0].seen and further:
        rows = claim_next(behind=_full(held, most), looked_at=further[0])
        further = further[1:]
    if rows[0].id is None:
        return [], bool(rows[0].seen)
    held[rows[0].submitter] += 1
    looked_at = further[0] if further else LOOKED_AT[-1]
    # Where submitters have shares it matters after each who has theirs.
    while len(rows) < limit and not _full(held, most):
        wanted = limit - len(rows) if most is None else 1
        following = claim_next(batch_key=rows[0].batch_key, wanted=wanted, looked_at=looked_at)
        if following[0].id is None:
            return [from_row(row) for row in rows], bool(following[0].seen)
        rows += following
        held.update(row.submitter for row in following)
    return [from_row(row) for row in rows], True


def _full(held: Counter[str], most: int | None) -> set[str]:
    """Submitters who hold so many places, which is their share."""
    return set() if most is None else {who for who, places in held.items() if places >= most}


def _line(
    conn: sa.Connection,
    wanted: int,
    engines: Collection[str] | None,
    batch_key: str | None,
    passed: set[str],
    full: set[str],
    suspects: bool | None,
) -> Sequence[Any]:
    """Whose turn it is for so many places, and some who come next. full: submitters who have their share, and get more
    only where nobody else waits. suspects: as for `heads`."""
    most = wanted if conn.dialect.name == "sqlite" else wanted + SPARE
    if batch_key is None:
        return heads(conn, limit=most, engines=engines, without=passed, behind=full, suspects=suspects)
    if full:
        first = heads(conn, limit=1, engines=engines, without=passed, behind=full, suspects=suspects)
        full = full if first and first[0].submitter not in full else set()
    return heads(conn, limit=most, engines=engines, batch_key=batch_key, without=passed, not_of=full, suspects=suspects)


def claim_this(db: sa.Engine, *, worker_id: str, job_id: str, lease_s: float) -> Job | None:
    """Take this job, whoever's turn it is, for an executor that has its finished files already; None where it does not
    wait (any more), or the host has paused the queue."""
    with writing(db) as conn:
        if host_rules.paused(conn):
            return None
        return _claim_one(conn, [job_id], worker_id, clock(conn), lease_s, new_stamp(newest_stamp(conn)))


def _claim_one(
    conn: sa.Connection, job_ids: Sequence[str], worker_id: str, now: float, lease_s: float, turn: str
) -> Job | None:
    """The first of these jobs that waits and that nobody else is taking just now."""
    check_transition(State.QUEUED, State.RUNNING)
    values = {"turn": turn, "started_at": now, "worker_id": worker_id}
    values |= {"lease_s": lease_s, "lease_expires_at": now + lease_s}
    bound = {f"new_{name}": value for name, value in values.items()}
    (length,), wanted = listed_values(wanted=job_ids)
    said = {"at": now, "kind": "claimed", "worker_id": worker_id, "detail": None}
    row = _claim_statement(length).first(conn, {**bound, **wanted}, said)
    return None if row is None else from_row(row)


@cache
def _claim_statement(length: int) -> Noted:
    wanted = [sa.bindparam(f"wanted_{n}", type_=sa.String) for n in range(length)]
    free = sa.select(jobs.c.id).where(jobs.c.id.in_(wanted), jobs.c.state == State.QUEUED, claimable(jobs))
    if length > 1:
        free = free.order_by(sa.case(*((jobs.c.id == one, n) for n, one in enumerate(wanted)))).limit(1)
    # PostgreSQL: a row that another executor is claiming right now is skipped, not waited for.
    one = free.with_for_update(skip_locked=True).scalar_subquery()
    names = ("worker_id", "started_at", "turn", "lease_expires_at", "lease_s")
    new = {name: sa.bindparam(f"new_{name}", type_=jobs.c[name].type) for name in names}
    return Noted(to_running(new).where(jobs.c.id == one), *jobs.c)
