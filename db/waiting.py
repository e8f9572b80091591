"""How long until a waiting job starts: the queue, played forward with what recent jobs have taken."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import sqlalchemy as sa

from db import rules
from db.engine import clock, reading
from db.errors import UnknownJob
from db.jobs import Job, State, from_row
from db.lines import service_order
from db.schema import jobs
from db.workers import Worker, alive

RECENT_JOBS = 20


def position_and_wait(db: sa.Engine, job_id: str, *, within_s: float = 30.0) -> tuple[int, float | None]:
    """Place in the queue (1 is next) and the estimated wait in s until it starts.

    A job that no longer waits has position 0 and wait 0. The wait is None while no executor that serves the
    job's engine has been seen for `within_s`, while the host has paused the queue, or where no job of that engine has
    ever succeeded. Raises UnknownJob.
    """
    with reading(db) as conn:
        row = conn.execute(sa.select(*jobs.c).where(jobs.c.id == job_id)).one_or_none()
        if row is None:
            raise UnknownJob(job_id)
        job = from_row(row)
        if job.state != State.QUEUED:
            return 0, 0.0
        ahead: list[str] = []
        for other in service_order(conn):
            if other == job_id:
                break
            ahead.append(other)
        position = len(ahead) + 1
        workers = [w for w in alive(conn, within_s) if job.engine in w.engines]
        if not workers or rules.paused(conn):
            return position, None
        pace = _seconds_per_step(conn, job.engine)
        if pace is None:
            return position, None
        return position, _play(conn, ahead, workers, {job.engine: pace}, job.engine)


def _play(
    conn: sa.Connection, ahead: Sequence[str], workers: Sequence[Worker], paces: dict[str, float], engine: str
) -> float:
    """Seconds until a place is free for a job of `engine`, once all of `ahead` have had theirs."""
    default = paces[engine]

    def pace(name: str) -> float:
        if name not in paces:
            paces[name] = _seconds_per_step(conn, name) or default
        return paces[name]

    now = clock(conn)
    free: list[tuple[float, Worker]] = []
    running = conn.execute(sa.select(*jobs.c).where(jobs.c.state == State.RUNNING)).all()
    for worker in workers:
        busy = sorted(_left(j, pace(j.engine), now) for j in map(from_row, running) if j.worker_id == worker.id)
        idle = max(worker.places - len(busy), 0)
        free += [(0.0, worker)] * idle + [(left, worker) for left in busy[: worker.places]]
    kinds = {}
    for i in range(0, len(ahead), 500):
        rows = conn.execute(
            sa.select(jobs.c.id, jobs.c.engine, jobs.c.total_steps).where(jobs.c.id.in_(ahead[i : i + 500]))
        )
        kinds.update({row.id: row for row in rows})
    for job_id in ahead:
        kind = kinds[job_id]
        places = [i for i, (_, worker) in enumerate(free) if kind.engine in worker.engines]
        if places:
            i = min(places, key=lambda i: free[i][0])
            free[i] = (free[i][0] + kind.total_steps * pace(kind.engine), free[i][1])
    return min(at for at, _ in free)


def _left(job: Job, pace: float, now: float) -> float:
    """Estimated s that a running job still needs."""
    if job.steps_per_s:
        return (job.total_steps - job.step) / job.steps_per_s
    return max(job.total_steps * pace - (now - (job.started_at or now)), 0.0)


def _seconds_per_step(conn: sa.Connection, engine: str) -> float | None:
    """Median over the last RECENT_JOBS of the engine that succeeded, from claim to finish."""
    rows = conn.execute(
        sa.select(jobs.c.started_at, jobs.c.finished_at, jobs.c.total_steps)
        .where(jobs.c.engine == engine, jobs.c.state == State.SUCCEEDED)
        .order_by(jobs.c.finished_at.desc())
        .limit(RECENT_JOBS)
    ).all()
    taken = [(row.finished_at - row.started_at) / row.total_steps for row in rows]
    return statistics.median(taken) if taken else None
