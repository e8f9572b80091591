"""What failed, for the host to look at and to have tried again: as a new job, since one that has ended stays so."""

from __future__ import annotations

import sqlalchemy as sa

from db.engine import clock, reading, writing
from db.errors import NotFailed, UnknownJob
from db.jobs import Job, State, from_row, is_id, storable
from db.queue.enqueueing import Limits, NewJob, add
from db.queue.transitions import note
from db.schema import jobs, members, refinements, stages

# Neither hidden nor tried again: what is still to be looked at.
_OPEN = (jobs.c.state == State.FAILED, jobs.c.hidden == sa.false(), jobs.c.retried_as.is_(None))


def failures(db: sa.Engine, *, kind: str | None = None, before_id: str | None = None, limit: int = 50) -> list[Job]:
    """Jobs that failed and were neither hidden nor tried again, the newest first, older than `before_id`.

    kind: only those that failed with it.
    """
    page = sa.select(*jobs.c).where(*_OPEN).order_by(jobs.c.id.desc()).limit(limit)
    if not all(storable(text) for text in (kind, before_id) if text):
        return []
    if kind is not None:
        page = page.where(jobs.c.error_kind == kind)
    if before_id is not None:
        page = page.where(jobs.c.id < before_id)
    with reading(db) as conn:
        return [from_row(row) for row in conn.execute(page)]


def kinds(db: sa.Engine) -> dict[str, int]:
    """How many of them there are of each kind, the most first."""
    of_kind = sa.select(jobs.c.error_kind, sa.func.count()).where(*_OPEN).group_by(jobs.c.error_kind)
    with reading(db) as conn:
        found = {str(kind): int(count) for kind, count in conn.execute(of_kind) if kind is not None}
    return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))


def try_again(db: sa.Engine, job_id: str, new: NewJob, *, limits: Limits) -> Job:
    """Queue the new job in place of one that failed: for the same submitter, and in its place on its sheet.

    A job is tried again once; the new one may be, if it fails as well. Raises UnknownJob, NotFailed, and what
    `db.queue.enqueueing.add` raises.
    """
    new.check()
    if not is_id(job_id):
        raise UnknownJob(job_id)
    with writing(db) as conn:
        row = conn.execute(sa.select(*jobs.c).where(jobs.c.id == job_id)).one_or_none()
        if row is None:
            raise UnknownJob(job_id)
        if row.state != State.FAILED or row.retried_as is not None:
            raise NotFailed(job_id)
        # In the order of db.evening.erasing: refinements, jobs, all others.
        on = sa.select(stages.c.refinement_id).join(members, members.c.submission_id == stages.c.submission_id)
        changed = sa.update(refinements).where(refinements.c.id.in_(on.where(members.c.job_id == job_id)))
        conn.execute(changed.values(version=refinements.c.version + 1))
        (made,) = add(conn, [new], row.submitter, limits)
        conn.execute(sa.update(jobs).where(jobs.c.id == made.id).values(address=row.address))
        taken = sa.update(jobs).where(jobs.c.id == job_id, *_OPEN).values(retried_as=made.id).returning(jobs.c.id)
        if conn.scalar(taken) is None:  # somebody else was as fast, or it was hidden
            raise NotFailed(job_id)
        conn.execute(sa.update(members).where(members.c.job_id == job_id).values(job_id=made.id))
        note(conn, job_id, "tried_again", at=clock(conn), detail=f"as {made.id}")
    return made
