"""The executors that are there: what they run on, what they serve, when they were last heard of."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from db.engine import AHEAD_S, clock, reading, writing
from db.queue.statuses import STARTING, STOPPED
from db.schema import workers


@dataclass(frozen=True)
class Worker:
    """One executor. Times are UTC seconds; places is how many jobs it runs at once.

    folder: where it keeps frames on its machine; erased: the newest of db.evening.erasures that it has carried out.
    """

    id: str
    device: str
    engines: list[str]
    places: int
    hostname: str
    pid: int
    status: str
    started_at: float
    beat_at: float
    stopped_at: float | None
    folder: str | None = None
    erased: int | None = None
    slice_s: float | None = None
    share: float | None = None


def register(
    db: sa.Engine,
    *,
    worker_id: str,
    device: str,
    engines: Collection[str],
    places: int,
    hostname: str,
    pid: int,
    folder: str | None = None,
    slice_s: float | None = None,
    share: float | None = None,
) -> Worker:
    """Announce an executor; one that comes back under its old id takes the old row over.

    slice_s: a job that has run for so long makes room for others; share: the most of all places that one submitter gets
    while others wait. None: it does not share so.
    """
    with writing(db) as conn:
        now = clock(conn)
        values = {
            "device": device,
            "engines": list(engines),
            "places": places,
            "hostname": hostname,
            "pid": pid,
            "folder": folder,
            "status": STARTING,
            "started_at": now,
            "beat_at": now,
            "stopped_at": None,
            "slice_s": slice_s,
            "share": share,
        }
        again = sa.update(workers).where(workers.c.id == worker_id).values(**values).returning(*workers.c)
        row = conn.execute(again).one_or_none()
        if row is None:
            row = conn.execute(sa.insert(workers).values(id=worker_id, **values).returning(*workers.c)).one()
    return Worker(**row._mapping)


def beat(db: sa.Engine, worker_id: str, status: str) -> None:
    """The executor is alive; status is a few words for the Queue page, see statuses.py."""
    with writing(db, lasting=False) as conn:
        conn.execute(
            sa.update(workers).where(workers.c.id == worker_id).values(status=status[:255], beat_at=clock(conn))
        )


def stop(db: sa.Engine, worker_id: str, *, left_nothing: bool = False) -> None:
    """The executor has ended in good order. left_nothing: in its work folder, so that nobody need look there."""
    with writing(db) as conn:
        values = {"status": STOPPED, "stopped_at": clock(conn)} | ({"folder": None} if left_nothing else {})
        conn.execute(sa.update(workers).where(workers.c.id == worker_id).values(**values))


def of_process(db: sa.Engine, hostname: str, pid: int) -> Worker | None:
    """The executor that this process is, the newest where several had its id; None before it has announced itself."""
    with reading(db) as conn:
        row = conn.execute(
            sa.select(*workers.c)
            .where(workers.c.hostname == hostname, workers.c.pid == pid)
            .order_by(workers.c.started_at.desc(), workers.c.id)
            .limit(1)
        ).one_or_none()
    return None if row is None else Worker(**row._mapping)


def check_heard(db: sa.Engine, worker_id: str) -> None:
    """Raises DatabaseUnavailable where an executor could not report anything now: the database is locked, or full."""
    with writing(db, lasting=False) as conn:
        conn.execute(sa.update(workers).where(workers.c.id == worker_id).values(status=workers.c.status))


def live(db: sa.Engine, within_s: float = 30.0) -> list[Worker]:
    """Executors that have not stopped and were heard of in the last `within_s`, in the order they started."""
    with reading(db) as conn:
        return alive(conn, within_s)


def alive(conn: sa.Connection, within_s: float) -> list[Worker]:
    """As `live`, inside the caller's transaction. One heard of later than now was heard of before the clock was set
    back: it is there if it is heard of again."""
    now = clock(conn)
    rows = conn.execute(
        sa.select(*workers.c)
        .where(workers.c.stopped_at.is_(None), workers.c.beat_at.between(now - within_s, now + AHEAD_S))
        .order_by(workers.c.started_at, workers.c.id)
    ).all()
    return [Worker(**row._mapping) for row in rows]
