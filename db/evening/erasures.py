"""What has to be removed from executors' machines, and which of them have done it.

A database knows nothing of the frames in work folders, and an executor may be paused or switched off when something is
deleted. So every erasure leaves a row, and each executor carries out what it has not seen: at its start, and every few
seconds (executor/erasing.py). Ids of jobs sort in the order of making, so that no clocks are compared.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from db.engine import clock, newest, reading, writing
from db.jobs import new_stamp
from db.queue.workers import Worker, live
from db.schema import artefacts, datasets, erasures, jobs, workers

KEPT_S = 30 * 24 * 3600.0  # of one job: a machine that is away for longer removes it when it sweeps
_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{26}(?![0-9a-f])")


@dataclass(frozen=True)
class Erasure:
    """Something that was deleted: one job, or where job_id is None all that sorts before the stamp. at: UTC s."""

    id: int
    stamp: str
    at: float
    job_id: str | None

    def covers(self, name: str) -> bool:
        """Whether a file or folder with this name is part of it: names are made of ids."""
        found = _ID.search(name)
        if found is None:
            return False
        return found[0] < self.stamp if self.job_id is None else found[0] == self.job_id


def has_id(name: str) -> bool:
    """Whether the name of a file or folder is made of an id."""
    return _ID.search(name) is not None


def note(conn: sa.Connection, job_id: str | None = None) -> Erasure:
    """In the transaction that deletes: executors are to do the same. job_id: None for everything there is."""
    now = clock(conn)
    after = max(newest(conn, table.c.id) or "" for table in (jobs, artefacts, datasets))
    values = {"stamp": new_stamp(after or None), "at": now, "job_id": job_id}
    made = conn.execute(sa.insert(erasures).values(**values).returning(*erasures.c)).one()
    # What everything covers is covered; the newest row stays, so that ids go on growing.
    old = erasures.c.id < made.id
    if job_id is not None:
        old = sa.and_(old, erasures.c.job_id.is_not(None), erasures.c.at < now - KEPT_S)
    conn.execute(sa.delete(erasures).where(old))
    return Erasure(**made._mapping)


def since(db: sa.Engine, seen: int | None) -> list[Erasure]:
    """Those after the one with the id `seen`, the oldest first; None: all that are still told."""
    found = sa.select(*erasures.c).where(erasures.c.id > (seen or 0)).order_by(erasures.c.id)
    with reading(db) as conn:
        return [Erasure(**row._mapping) for row in conn.execute(found)]


def of_everything(conn: sa.Connection) -> Erasure | None:
    """The last time that everything was deleted; None: never."""
    found = sa.select(*erasures.c).where(erasures.c.job_id.is_(None)).order_by(erasures.c.id.desc()).limit(1)
    row = conn.execute(found).one_or_none()
    return None if row is None else Erasure(**row._mapping)


def carried_out(db: sa.Engine, worker_ids: Sequence[str], erasure_id: int) -> None:
    """These executors have nothing left of this erasure, and of those before it."""
    with writing(db) as conn:
        conn.execute(sa.update(workers).where(workers.c.id.in_(worker_ids)).values(erased=erasure_id))


@dataclass(frozen=True)
class Unheard:
    """An executor that has not yet removed what was deleted. live: it is there, and will within seconds."""

    worker: Worker
    live: bool


def unheard(db: sa.Engine) -> list[Unheard]:
    """The executors that have not carried out the last erasure of everything, nor has another one for them: on the
    same machine, with the same work folder. Those that came later carry it out before anything else."""
    with reading(db) as conn:
        last = of_everything(conn)
        if last is None:
            return []
        every = [Worker(**row._mapping) for row in conn.execute(sa.select(*workers.c).order_by(workers.c.id))]
    done = {place for one in every if (one.erased or 0) >= last.id for place in _places(one)}
    there = {one.id for one in live(db)}
    left = [one for one in every if (one.erased or 0) < last.id]
    return [
        Unheard(one, one.id in there)
        for one in left
        # One that runs has frames of its own in memory, whoever has cleared the folder.
        if one.id in there or ((one.hostname, one.folder) not in done and not _left_nothing(one))
    ]


def _places(worker: Worker) -> tuple[tuple[str, str | None], ...]:
    return (worker.hostname, worker.folder), (worker.hostname, None)


def _left_nothing(worker: Worker) -> bool:
    """It ended in good order with an empty work folder, or before those were noted."""
    return worker.folder is None and worker.stopped_at is not None


def folders_here(db: sa.Engine) -> dict[str, list[str]]:
    """The work folders on this machine that executors have used, each with the ids of those that are not there."""
    there = {one.id for one in live(db)}
    with reading(db) as conn:
        rows = conn.execute(
            sa.select(workers.c.id, workers.c.folder).where(
                workers.c.hostname == socket.gethostname(), workers.c.folder.is_not(None)
            )
        ).all()
    found: dict[str, list[str]] = {}
    for worker_id, folder in rows:
        found.setdefault(str(folder), []).extend([] if worker_id in there else [worker_id])
    return found
