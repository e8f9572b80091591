"""What an executor, or the owner of a job, does to it after it was claimed. How a lost one comes back is in
`db.queue.losses`.

Each step is one guarded UPDATE ... RETURNING and one event row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa

from db.engine import AHEAD_S, clock, own_clock, told_or_servers_clock, writing
from db.errors import LeaseLost, NotYours, UnknownJob
from db.jobs import Job, State, check_transition, finite, from_row, new_stamp, thin
from db.prepared import Prepared
from db.queue.fair_order import newest_stamp
from db.queue.suspects import get_on
from db.schema import events, jobs
from masking import for_visitors

PAUSED = "paused"  # the event of a job whose slice is over


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What an executor says of a job it runs.

    history: the whole score curve so far, [[step, score], ...]; kept at 200 points. ran_s: for how long the job has run
    by a clock that nobody sets: where the start does not agree, a clock was set, and the start is moved. waits_for:
    "store" where it is finished and cannot be stored. spent_s: s of the device it has cost since it was first claimed.
    """

    job_id: str
    step: int
    score: float | None = None
    steps_per_s: float | None = None
    history: Sequence[Sequence[float]] | None = None
    ran_s: float | None = None
    waits_for: str | None = None
    spent_s: float | None = None


def heartbeat(db: sa.Engine, *, worker_id: str, lease_s: float, **progress: Any) -> bool:
    """Report the progress of one job and renew its lease; True if it is to be cancelled.

    progress: the fields of `Progress`. Raises LeaseLost.
    """
    said = Progress(**progress)
    found = heartbeats(db, worker_id=worker_id, progress=[said], lease_s=lease_s)
    if said.job_id not in found:
        raise LeaseLost(said.job_id, worker_id)
    return found[said.job_id]


def heartbeats(db: sa.Engine, *, worker_id: str, progress: Sequence[Progress], lease_s: float) -> dict[str, bool]:
    """Report the progress of several jobs of an executor in one transaction, and renew their leases.

    Whether each of them is to be cancelled, by its id; one that the executor does not hold any more is left out.
    """
    to_be_cancelled = {}
    with writing(db, lasting=False) as conn:
        now = clock(conn)
        for said in sorted(progress, key=lambda one: one.job_id):  # everybody who locks several jobs does so by id
            values = _reported(said, now) | {"lease_expires_at": now + lease_s, "lease_s": lease_s}
            row = _update(State.RUNNING, frozenset(values), True).first(conn, _bound(said.job_id, values, worker_id))
            if row is None:
                continue
            if row.suspect_step is not None and said.ran_s is not None:
                get_on(conn, row, said.step, said.ran_s, lease_s)
            to_be_cancelled[said.job_id] = bool(row.cancel_requested)
    return to_be_cancelled


def _reported(said: Progress, now: float) -> dict[str, Any]:
    values: dict[str, Any] = {"step": said.step, "waits_for": said.waits_for}
    if said.score is not None:
        values["score"] = finite(said.score)
    if said.steps_per_s is not None:
        values["steps_per_s"] = finite(said.steps_per_s)
    if said.history is not None:
        values["history"] = thin(said.history)
    if said.ran_s is not None:
        values["started_at"] = now - said.ran_s
    if said.spent_s is not None:
        values["spent_s"] = said.spent_s
    return values


def succeed(db: sa.Engine, *, worker_id: str, job_id: str, score: float | None = None, step: int | None = None) -> Job:
    """The picture is done and stored: running -> succeeded. Raises LeaseLost.

    step: the last step made, where the job stopped before total_steps.
    """
    values: dict[str, Any] = {"step": step}
    if score is not None:
        values["score"] = finite(score)
    return _end(db, worker_id, job_id, State.SUCCEEDED, values)


def fail(db: sa.Engine, *, worker_id: str, job_id: str, kind: str, message: str) -> Job:
    """The job cannot be done: running -> failed, with a short kind and a sentence. Raises LeaseLost.

    Visitors read the sentence: where files lie on the executor's machine, and what is secret there, is left out.
    """
    message = for_visitors(message.replace("\x00", "").encode(errors="replace").decode())
    return _end(db, worker_id, job_id, State.FAILED, {"error_kind": kind[:64], "error": message}, detail=kind)


def cancel_now(db: sa.Engine, *, worker_id: str, job_id: str) -> Job:
    """The worker has stopped the job as it was asked to: running -> cancelled. Raises LeaseLost."""
    return _end(db, worker_id, job_id, State.CANCELLED, {})


def release(
    db: sa.Engine,
    *,
    worker_id: str,
    job_id: str,
    step: int | None = None,
    spent_s: float | None = None,
    slice_over: bool = False,
) -> Job:
    """Give a job back unfinished, at no cost to its attempts: running -> queued (or cancelled, if asked).

    step, spent_s: as for `heartbeat`. Its submitter gets the turn back; slice_over: it makes room for others, so they
    have had this turn and stand behind all that wait by now. Raises LeaseLost.
    """
    with writing(db) as conn:
        row = conn.execute(
            sa.select(jobs.c.cancel_requested, jobs.c.started_at, jobs.c.suspect_ran_s)
            .where(*_held(job_id, worker_id))
            .with_for_update()
        ).first()
        if row is None:
            raise LeaseLost(job_id, worker_id)
        now = clock(conn)
        if row.cancel_requested:
            end = {"finished_at": now}
            return move(conn, job_id, State.RUNNING, State.CANCELLED, end, worker_id=worker_id)
        values = free(now)
        values |= {name: value for name, value in (("step", step), ("spent_s", spent_s)) if value is not None}
        if slice_over:
            values["turn"] = new_stamp(newest_stamp(conn))
            if row.suspect_ran_s is not None:
                # It goes on proving itself where it was: what it has got on so far is kept, see `get_on`.
                values["suspect_ran_s"] = row.suspect_ran_s - max(now - row.started_at, 0.0)
        event = PAUSED if slice_over else "released"
        return move(conn, job_id, State.RUNNING, State.QUEUED, values, worker_id=worker_id, event=event)


def request_cancel(db: sa.Engine, job_id: str, submitter: str | None = None) -> Job:
    """A waiting job is cancelled at once; a running one is asked to stop; one that has ended stays as it is.

    submitter: who asks; None for the host. Raises UnknownJob, NotYours.
    """
    with writing(db) as conn:
        return end_or_ask(conn, job_id, submitter)


def end_or_ask(conn: sa.Connection, job_id: str, submitter: str | None = None) -> Job:
    """As `request_cancel`, inside the caller's transaction."""
    row = conn.execute(sa.select(*jobs.c).where(jobs.c.id == job_id).with_for_update()).one_or_none()
    if row is None:
        raise UnknownJob(job_id)
    job = from_row(row)
    if submitter is not None and submitter != job.submitter:
        raise NotYours(job_id)
    if job.state == State.QUEUED:
        values = {"cancel_requested": True, "finished_at": clock(conn)}
        return move(conn, job_id, State.QUEUED, State.CANCELLED, values)
    if job.state == State.RUNNING and not job.cancel_requested:
        row = conn.execute(
            sa.update(jobs).where(jobs.c.id == job_id).values(cancel_requested=True).returning(*jobs.c)
        ).one()
        note(conn, job_id, "cancel_requested", at=clock(conn))
        return from_row(row)
    return job


def take_away(
    conn: sa.Connection, job: Job, target: State, error_kind: str | None = None, error: str | None = None
) -> Job:
    """End a live job now, in the caller's transaction, without its executor: that finds it gone and drops it."""
    values = {"finished_at": clock(conn), "cancel_requested": True, "error_kind": error_kind, "error": error}
    return move(conn, job.id, job.state, target, values, detail=error)


def to_front(db: sa.Engine, job_id: str) -> Job:
    """Serve a waiting job before all others; one that no longer waits stays as it is. Raises UnknownJob."""
    with writing(db) as conn:
        row = conn.execute(sa.select(*jobs.c).where(jobs.c.id == job_id).with_for_update()).one_or_none()
        if row is None:
            raise UnknownJob(job_id)
        if row.state != State.QUEUED:
            return from_row(row)
        highest = conn.scalar(
            sa.select(sa.func.max(jobs.c.priority)).where(jobs.c.state == State.QUEUED, jobs.c.id != job_id)
        )
        row = conn.execute(
            sa.update(jobs).where(jobs.c.id == job_id).values(priority=(highest or 0) + 1).returning(*jobs.c)
        ).one()
        note(conn, job_id, "to_front", at=clock(conn))
        return from_row(row)


_NOBODYS = ("worker_id", "lease_expires_at", "lease_s", "started_at", "turn", "steps_per_s", "suspect_ran_s")


def free(now: float) -> dict[str, Any]:
    """A job that waits belongs to nobody and has not taken a turn; how long it ran until now is kept, see `_update`."""
    return {**dict.fromkeys(_NOBODYS), "ran_s": now}


def check_held(conn: sa.Connection, job_id: str, worker_id: str, *, keep: bool = False) -> None:
    """Raises LeaseLost unless the job runs on this executor; keep: and stays with it until the transaction ends."""
    held = sa.select(jobs.c.id).where(*_held(job_id, worker_id))
    if conn.execute(held.with_for_update() if keep else held).first() is None:
        raise LeaseLost(job_id, worker_id)


def _held(job_id: str, worker_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return jobs.c.id == job_id, jobs.c.state == State.RUNNING, jobs.c.worker_id == worker_id


def _end(
    db: sa.Engine,
    worker_id: str,
    job_id: str,
    target: State,
    values: dict[str, Any],
    detail: str | None = None,
) -> Job:
    with writing(db, one_statement=True) as conn:
        values = {**values, "finished_at": own_clock(conn)}
        return move(conn, job_id, State.RUNNING, target, values, worker_id=worker_id, detail=detail)


def move(
    conn: sa.Connection,
    job_id: str,
    source: State,
    target: State,
    values: Mapping[str, Any],
    *,
    worker_id: str | None = None,
    event: str | None = None,
    detail: str | None = None,
) -> Job:
    """The one place where a state changes, but for claiming; guarded by the old state and the worker.

    Raises LeaseLost."""
    check_transition(source, target)
    new = {**values, "state": target, "waits_for": None}
    if target != State.QUEUED:
        new["lease_expires_at"] = None
    said = {"at": values.get("finished_at", own_clock(conn)), "kind": event or target, "worker_id": worker_id}
    moved = _move(source, frozenset(new), worker_id is not None)
    row = moved.first(conn, _bound(job_id, new, worker_id), said | {"detail": detail})
    if row is None:
        raise LeaseLost(job_id, worker_id or "nobody")
    return from_row(row)


@cache
def _move(source: State, columns: frozenset[str], by_worker: bool) -> Noted:
    return Noted(_guarded(source, columns, by_worker), *jobs.c)


@cache
def _update(source: State, columns: frozenset[str], by_worker: bool) -> Prepared:
    return Prepared(_guarded(source, columns, by_worker).returning(*jobs.c))


def _guarded(source: State, columns: frozenset[str], by_worker: bool) -> sa.Update:
    """The guarded UPDATE that sets these columns; `_move` and `_update` make it once, since that takes longer than
    running it."""
    guard = [jobs.c.id == sa.bindparam("wanted"), jobs.c.state == source]
    if by_worker:
        guard.append(jobs.c.worker_id == sa.bindparam("holder"))
    new: dict[str, Any] = {name: sa.bindparam(f"new_{name}", type_=jobs.c[name].type) for name in columns}
    if "step" in new:
        # No step given means all of them.
        new["step"] = sa.func.coalesce(new["step"], jobs.c.total_steps)
    if "ran_s" in new:
        # What is given is now: how long it held its place since it was claimed is added.
        ran_s = new["ran_s"] - sa.func.coalesce(jobs.c.started_at, new["ran_s"])
        new["ran_s"] = sa.func.coalesce(jobs.c.ran_s, 0.0) + sa.case((ran_s > 0, ran_s), else_=0.0)
    if "finished_at" in new:
        # Never before it started, whatever the clock was set to meanwhile: no job takes less than nothing.
        ended_at = told_or_servers_clock("new_finished_at")
        new["finished_at"] = later(sa.func.coalesce(jobs.c.started_at, jobs.c.created_at), ended_at)
    if "started_at" in new and "state" not in new:  # a heartbeat's
        set_ = sa.func.abs(jobs.c.started_at - new["started_at"]) > AHEAD_S
        new["started_at"] = sa.case((set_, new["started_at"]), else_=jobs.c.started_at)
        new["created_at"] = earlier(jobs.c.created_at, new["started_at"])
    return sa.update(jobs).where(*guard).values(new)


def _bound(job_id: str, values: Mapping[str, Any], worker_id: str | None) -> dict[str, Any]:
    bound = {"wanted": job_id} | {f"new_{name}": value for name, value in values.items()}
    return bound if worker_id is None else bound | {"holder": worker_id}


def earlier(one: sa.ColumnElement[float], other: sa.ColumnElement[float]) -> sa.ColumnElement[float]:
    """The earlier of two times."""
    return sa.case((one < other, one), else_=other)


def later(one: sa.ColumnElement[float], other: sa.ColumnElement[float]) -> sa.ColumnElement[float]:
    """The later of two times."""
    return sa.case((one > other, one), else_=other)


_SAID = ("at", "kind", "worker_id", "detail")
_NOTED = ("job_id", *_SAID)
_NOTE = Prepared(
    sa.insert(events).values({name: sa.bindparam(name, type_=events.c[name].type) for name in _NOTED}).inline()
)


class Noted:
    """A change of jobs with an event of each that it changes: on PostgreSQL one statement (a WITH may write there).

    change: its parameters have names, as of `Prepared`; told: columns of the jobs that are given back.
    """

    def __init__(self, change: sa.Update | sa.Insert, *told: sa.Column[Any]) -> None:
        self._change, self._telling = Prepared(change), Prepared(change.returning(*told))
        changed = change.returning(*told).cte("changed")
        event = {"at": told_or_servers_clock("event_at")}
        event |= {name: sa.bindparam(f"event_{name}", type_=events.c[name].type) for name in _SAID[1:]}
        self._both = Prepared(sa.select(*changed.c).add_cte(noting(changed, event)))

    def first(self, conn: sa.Connection, values: Mapping[str, Any], said: Mapping[str, Any]) -> Any | None:
        """The row that it changed; None: there was none, and there is no event. said: what the event holds; its time
        may be None where `own_clock` is."""
        if conn.dialect.name == "postgresql":
            return self._both.first(conn, {**values, **{f"event_{name}": said[name] for name in _SAID}})
        row = self._telling.first(conn, values)
        if row is not None:
            _NOTE.run(conn, {"job_id": row.id, **said})
        return row

    def add(self, conn: sa.Connection, rows: Sequence[Mapping[str, Any]], said: Mapping[str, Any]) -> None:
        """Insert these jobs, each with such an event."""
        if conn.dialect.name == "postgresql":
            event = {f"event_{name}": said[name] for name in _SAID}
            self._both.run(conn, [{**row, **event} for row in rows])
        else:
            self._change.run(conn, rows)
            _NOTE.run(conn, [{"job_id": row["id"], **said} for row in rows])


def noting(changed: sa.CTE, said: Mapping[str, sa.ColumnElement[Any]]) -> sa.CTE:
    """PostgreSQL: the part of a statement that writes an event of each job which another part of it changes."""
    event = sa.select(changed.c.id, *(said[name].label(name) for name in _SAID))
    return sa.insert(events).from_select(_NOTED, event).cte("noted")


def note(
    conn: sa.Connection,
    job_id: str,
    kind: str,
    *,
    at: float,
    worker_id: str | None = None,
    detail: str | None = None,
) -> None:
    """Write down what happened to a job, in the caller's transaction. at: in UTC s."""
    _NOTE.run(conn, {"job_id": job_id, "at": at, "kind": kind, "worker_id": worker_id, "detail": detail})
