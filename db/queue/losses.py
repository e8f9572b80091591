"""What becomes of the jobs of an executor that was lost: killed, cut off, fallen silent, or stuck.

All jobs it held become suspects (see `db.queue.suspects`) and wait again. Only one that was alone spends an attempt;
after max_attempts of those without getting on it fails. Executors that are lost at the same moment are one loss: a
power cut, or one job that took another executor of its machine along.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from db import clock_steps
from db.engine import AHEAD_S, clock, reading, writing
from db.jobs import LIVE, Job, State, from_row
from db.queue.transitions import free, move, note
from db.schema import events, jobs, workers

LOST = "executor_lost"
OLD_LEASE_S = 3600.0  # of a job that was claimed before leases were kept with their length: longer than any was
_LOOK_LOCK = 0x7421_1057  # PostgreSQL: one process at a time looks, so that it sees all that one executor held
MANY = 4  # times max_attempts: so often a suspect is lost, also beside other suspects, until that costs attempts


def requeue_expired(db: sa.Engine) -> int:
    """Take every job whose executor fell silent from it; returns how many there were.

    It waits again, as a suspect; who was alone spends an attempt, and fails after max_attempts with the reason; one to
    be cancelled is. While others are about to lapse as well, nothing is taken for a while: whether they were lost
    together is not known yet. Where a lease is further ahead than it is long, the clock was set back: that job waits
    again at no cost. Where this process saw the clock set, no lease is over by the new time before there was the time
    to renew it.
    """
    with reading(db) as conn:
        if conn.scalar(_ANY_LAPSED, _times(db, clock(conn))) is None:
            return 0
    with writing(db) as conn:
        if conn.dialect.name == "postgresql" and not conn.scalar(
            sa.select(sa.func.pg_try_advisory_xact_lock(_LOOK_LOCK))
        ):
            return 0
        now = clock(conn)
        lapsed = [from_row(row) for row in conn.execute(_EVERY_LAPSED, _times(db, now))]
        early = [job for job in lapsed if (job.lease_expires_at or 0.0) > now]
        silent = [job for job in lapsed if job not in early]
        for job in early:
            said = f"{_silent(job)}, or the clock was set back"
            _back(conn, job, {}, "lease_expired", said, now)
        if silent and _all_known(conn, silent, now):
            _lose(conn, silent, _silent, now)
            return len(lapsed)
    return len(early)


def lose(db: sa.Engine, *, worker_id: str, stuck: Collection[str], stuck_s: float) -> None:
    """An executor that is about to end says which of its jobs it has been stuck with for so long: they are lost at
    once, as if it had fallen silent, and the others it holds go back at no cost."""

    def said(job: Job) -> str:
        return f"Executor {worker_id} was stuck for {stuck_s:.0f} s after step {job.step} of attempt {job.attempt}"

    with writing(db) as conn:
        now = clock(conn)
        held = [from_row(row) for row in conn.execute(_HELD, {"worker_id": worker_id})]
        for job in held:
            if job.id not in stuck:
                _back(conn, job, {}, "released", None, now)
        _lose(conn, [job for job in held if job.id in stuck], said, now)


def came_back(db: sa.Engine, *, worker_id: str, job_id: str) -> bool:
    """An executor that was thought to be lost with a job is there: it was paused or cut off, so the job did not kill
    it. If the job has not ended meanwhile it is no suspect on that account, and has its attempt back; whether it has.
    One that was a suspect before stays one, of the step it has come to.
    """
    with writing(db) as conn:
        job = conn.execute(sa.select(*jobs.c).where(jobs.c.id == job_id).with_for_update()).one_or_none()
        losses = conn.execute(_LOSSES, {"job_id": job_id}).all()
        if job is None or job.state not in LIVE or not losses:
            return False
        last, *before = losses
        if last.worker_id != worker_id or last.kind not in ("lease_expired", "suspected"):
            return False
        values: dict[str, Any] = {"losses": max((job.losses or 1) - 1, 0)}
        if not _was_suspect([event.kind for event in before]):
            values |= {"suspect_step": None, "suspect_ran_s": None}
        if last.kind == "lease_expired":
            values |= {"attempt": max(job.attempt - 1, 1), "lost_alone": max((job.lost_alone or 1) - 1, 0)}
        conn.execute(sa.update(jobs).where(jobs.c.id == job_id).values(values))
        note(conn, job_id, "came_back", at=clock(conn), worker_id=worker_id)
        return True


def _was_suspect(kinds: Sequence[str]) -> bool:
    """Whether a job was one after these events, the newest first. Who came back was not lost before."""
    back = 0
    for kind in kinds:
        if kind == "cleared":
            return False
        if kind == "came_back":
            back += 1
        elif back:
            back -= 1
        else:
            return True
    return False


def _all_known(conn: sa.Connection, silent: Collection[Job], now: float) -> bool:
    """Whether nothing else that runs may have been lost with these.

    An executor at work renews a lease when a quarter of it is over, so one of which less than half is left may be that
    of an executor which was lost just now. This is waited for, but no longer than half a lease.
    """
    ids = {job.id for job in silent}
    waited = now - min(job.lease_expires_at or now for job in silent)
    for job_id, expires_at, lease_s in conn.execute(_RUNNING):
        length = OLD_LEASE_S if lease_s is None else lease_s
        if job_id not in ids and (expires_at or 0.0) - now <= length / 2 and waited <= length / 2:
            return False
    return True


def _silent(job: Job) -> str:
    return f"Executor {job.worker_id} fell silent at step {job.step} of attempt {job.attempt}"


def _lose(conn: sa.Connection, lost: Sequence[Job], said: Any, now: float) -> None:
    """The jobs were lost together: who was alone, or was the one suspect among them, spends an attempt.

    Where executors of several machines were lost, it was none of the jobs. One that was finished and waited for the
    store killed nobody.
    """
    for job in (one for one in lost if one.waits_for is not None):
        _back(conn, job, {}, "released", f"{said(job)}, while it waited for the {job.waits_for}", now)
    lost = [job for job in lost if job.waits_for is None]
    suspects = lost if len(lost) == 1 else [job for job in lost if job.suspect_step is not None]
    if len(suspects) > 1 or len(_machines(conn, lost)) > 1:
        suspects = [job for job in suspects if (job.losses or 0) >= MANY * job.max_attempts]
    for job in lost:
        why = said(job)
        if job.cancel_requested:
            _back(conn, job, {}, "released", why, now)
        elif job not in suspects:
            beside = f"beside {len(lost) - 1} other" + "s" * (len(lost) > 2)
            _back(conn, job, _suspect(job), "suspected", f"{why}, {beside}; it will run alone", now)
        elif job.attempt < job.max_attempts:
            spent = {"attempt": job.attempt + 1, "lost_alone": (job.lost_alone or 0) + 1}
            _back(conn, job, {**_suspect(job), **spent}, "lease_expired", f"{why}, alone", now)
        else:
            reason = (
                f"{why}, the last of {job.max_attempts} attempts. It was alone there, so this job may be what ended "
                "the executor: it may have run out of memory."
            )
            values = {"error_kind": LOST, "error": reason, "finished_at": now}
            move(conn, job.id, State.RUNNING, State.FAILED, values, worker_id=job.worker_id, detail=why)


def _machines(conn: sa.Connection, lost: Sequence[Job]) -> set[str]:
    """Where they ran; an executor that never registered is a machine of its own."""
    ids = {str(job.worker_id) for job in lost}
    known = sa.select(workers.c.id, workers.c.hostname).where(workers.c.id.in_(ids))
    at = {worker_id: hostname for worker_id, hostname in conn.execute(known)}
    return {at.get(one, one) for one in ids}


def _suspect(job: Job) -> dict[str, Any]:
    step = max(job.step, -1 if job.suspect_step is None else job.suspect_step)
    return {"suspect_step": step, "losses": (job.losses or 0) + 1}


def _back(conn: sa.Connection, job: Job, values: dict[str, Any], event: str, detail: str | None, now: float) -> None:
    """running -> queued, or cancelled where that was asked for."""
    if job.cancel_requested:
        ended = {"finished_at": now}
        move(conn, job.id, State.RUNNING, State.CANCELLED, ended, worker_id=job.worker_id, detail=detail)
        return
    values = {**free(now), **values}
    move(conn, job.id, State.RUNNING, State.QUEUED, values, worker_id=job.worker_id, event=event, detail=detail)


def _lapsed() -> sa.ColumnElement[bool]:
    """Whether a job's lease is over, at the times of `_times`."""
    now, ahead_s, back_s = (sa.bindparam(name, type_=sa.Double) for name in ("now", "ahead_s", "back_s"))
    length = sa.func.coalesce(jobs.c.lease_s, OLD_LEASE_S)
    silent = sa.and_(jobs.c.lease_expires_at < now, length < ahead_s)
    too_far = sa.and_(jobs.c.lease_expires_at > now + length + AHEAD_S, length < back_s)
    return sa.and_(jobs.c.state == State.RUNNING, sa.or_(silent, too_far))


def _times(db: sa.Engine, now: float) -> dict[str, float]:
    since = clock_steps.since_last(db, now)
    return {"now": now, "ahead_s": since.ahead_s, "back_s": since.back_s}


_ANY_LAPSED = sa.select(jobs.c.id).where(_lapsed()).limit(1)
_EVERY_LAPSED = sa.select(*jobs.c).where(_lapsed()).order_by(jobs.c.id).with_for_update(skip_locked=True)
_RUNNING = sa.select(jobs.c.id, jobs.c.lease_expires_at, jobs.c.lease_s).where(jobs.c.state == State.RUNNING)
_HELD = (
    sa.select(*jobs.c)
    .where(jobs.c.state == State.RUNNING, jobs.c.worker_id == sa.bindparam("worker_id"))
    .order_by(jobs.c.id)
    .with_for_update()
)
_LOSSES = (
    sa.select(events.c.kind, events.c.worker_id)
    .where(events.c.job_id == sa.bindparam("job_id"))
    .where(events.c.kind.in_(("lease_expired", "suspected", "came_back", "cleared")))
    .order_by(events.c.id.desc())
)
