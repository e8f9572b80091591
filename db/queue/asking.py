"""What the owner of a long job may ask of it: to wait until it is told to go on, or to end with what it has by then.

It is noted on the job, and the executor that has it looks there between two steps, as it does for `cancel`. A job that
is to pause is given back and claimed by nobody until `go_on`; one that is to be kept ends as succeeded.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from db.engine import clock, reading, writing
from db.errors import NothingLearnt, NotYours, UnknownJob
from db.jobs import LIVE, Job, from_row
from db.queue.fair_order import HELD_BACK
from db.queue.transitions import note
from db.schema import jobs

PAUSE, KEEP = HELD_BACK, "keep"
_EVENTS = {PAUSE: "pause_requested", KEEP: "keep_requested", None: "go_on_requested"}


def pause(db: sa.Engine, job_id: str, submitter: str | None = None) -> Job:
    """It makes no more steps until `go_on`; one that has ended stays as it is. submitter: who asks, None for the host.

    Raises UnknownJob, NotYours.
    """
    return _ask(db, job_id, PAUSE, submitter)


def go_on(db: sa.Engine, job_id: str, submitter: str | None = None) -> Job:
    """It takes its turns again; nothing happens where it was not paused. Raises as `pause`."""
    return _ask(db, job_id, None, submitter)


def keep(db: sa.Engine, job_id: str, submitter: str | None = None) -> Job:
    """It ends, as succeeded, with what it has; one that waits does so when its turn comes, a paused one as well.

    Raises as `pause`, and NothingLearnt.
    """
    return _ask(db, job_id, KEEP, submitter)


def asked_of(db: sa.Engine, job_ids: Sequence[str]) -> dict[str, str]:
    """What is asked of those of these jobs of which anything is: PAUSE or KEEP, by their ids."""
    with reading(db) as conn:
        found = sa.select(jobs.c.id, jobs.c.asked).where(jobs.c.id.in_(job_ids), jobs.c.asked.is_not(None))
        return {job_id: asked for job_id, asked in conn.execute(found)}


def _ask(db: sa.Engine, job_id: str, what: str | None, submitter: str | None) -> Job:
    with writing(db) as conn:
        row = conn.execute(sa.select(*jobs.c).where(jobs.c.id == job_id).with_for_update()).one_or_none()
        if row is None:
            raise UnknownJob(job_id)
        job = from_row(row)
        if submitter is not None and submitter != job.submitter:
            raise NotYours(job_id)
        if job.state not in LIVE or job.asked == what or (what is None and job.asked == KEEP):
            return job
        if what == KEEP and job.step < 1:
            raise NothingLearnt(job_id)
        changed = sa.update(jobs).where(jobs.c.id == job_id).values(asked=what).returning(*jobs.c)
        row = conn.execute(changed).one()
        note(conn, job_id, _EVENTS[what], at=clock(conn))
        return from_row(row)
