"""Jobs that were asked for together: candidates of one prompt, variations of one picture, a comparison.

They are ordinary jobs, served in fair turns like any other; a submission only remembers that they belong together,
what each is called and where it stands on the sheet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from db.engine import clock, newest, reading, writing
from db.errors import BadValue, UnknownSubmission
from db.jobs import Job, State, check_text, from_row, is_id, new_id
from db.queue.enqueueing import NO_LIMITS, NO_ORDER, Limits, NewJob, add
from db.queue.orders import Order
from db.schema import jobs, members, submissions

KINDS = ("candidates", "variations", "compare", "enlarged")
MAX_JOBS = 256
# A job about the set that failed is tried again: so many in all, and not at once, since what was wrong may pass.
MAX_TRIES, AGAIN_S = 3, 30.0


@dataclass(frozen=True)
class Submission:
    """One row of `submissions`. layout: how the sheet is laid out, plain values; created_at in UTC s."""

    id: str
    kind: str
    prompt: str
    submitter: str
    layout: dict[str, Any]
    created_at: float


@dataclass(frozen=True)
class Member:
    """A job of a submission. cell: its place on the sheet from 0; None for a job about the whole set, as a ranking."""

    job: Job
    cell: int | None
    label: str


@dataclass(frozen=True, kw_only=True)
class NewSheet:
    """Jobs to be asked for together, in the order of their sheet, each with its label.

    prompt: left out of a refinement's further rows, which have its own. layout: as a Submission's.
    """

    kind: str
    prompt: str = ""
    wanted: Sequence[tuple[str, NewJob]]
    layout: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raises BadValue for what no submission can be."""
        if self.kind not in KINDS:
            raise BadValue(f"{self.kind!r} is no kind of submission; permitted: {', '.join(KINDS)}.")
        if not 1 <= len(self.wanted) <= MAX_JOBS:
            raise BadValue(f"A submission has 1 to {MAX_JOBS} jobs, not {len(self.wanted)}.")
        check_text("prompt", self.prompt)
        try:
            json.dumps(dict(self.layout), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise BadValue(f"The layout is no JSON: {error}.") from None
        for label, new in self.wanted:
            check_text("label", label)
            new.check()


def submit(
    db: sa.Engine, new: NewSheet, *, submitter: str, limits: Limits = NO_LIMITS, order: Order = NO_ORDER
) -> tuple[Submission, list[Job]]:
    """Queue all jobs of a sheet in one transaction, or none of them.

    Raises TooManyQueued where not all would fit, BadValue, and what `db.queue.enqueueing.add` raises.
    """
    check_text("submitter", submitter, 128)
    new.check()
    with writing(db) as conn:
        return put(conn, new, submitter, limits, order)


def put(
    conn: sa.Connection, new: NewSheet, submitter: str, limits: Limits, order: Order = NO_ORDER
) -> tuple[Submission, list[Job]]:
    """Queue a checked sheet in the caller's transaction. Raises what `db.queue.enqueueing.add` raises."""
    submission = Submission(
        new_id(newest(conn, submissions.c.id)), new.kind, new.prompt, submitter, dict(new.layout), clock(conn)
    )
    # Before the jobs: everybody locks the tables in the order of db.evening.erasing.
    conn.execute(sa.insert(submissions).values(**vars(submission)))
    made = add(conn, [job for _, job in new.wanted], submitter, limits, order)
    conn.execute(
        sa.insert(members),
        [
            {"job_id": job.id, "submission_id": submission.id, "cell": cell, "label": label[:255]}
            for cell, (job, (label, _)) in enumerate(zip(made, new.wanted, strict=True))
        ],
    )
    return submission, made


def add_about(
    db: sa.Engine,
    submission_id: str,
    new: NewJob,
    *,
    submitter: str,
    label: str = "",
    once: bool = False,
    limits: Limits = NO_LIMITS,
    order: Order = NO_ORDER,
) -> Job:
    """Queue a job about the whole set, as a ranking. Raises UnknownSubmission, BadValue, and as `enqueueing.add`.

    once: where the set has such a job with this label that has not failed, or has been tried enough (see
    `to_be_tried`), the newest one is the answer and nothing is queued.
    """
    check_text("submitter", submitter, 128)
    new.check()
    with writing(db) as conn:
        # The row is held, so that two who ask at once are answered one after the other.
        held = sa.select(submissions.c.id).where(submissions.c.id == submission_id).with_for_update()
        if conn.scalar(held) is None:
            raise UnknownSubmission(submission_id)
        if once and not to_be_tried(there := _about(conn, submission_id, label), clock(conn)):
            return there[-1]
        (job,) = add(conn, [new], submitter, limits, order)
        conn.execute(
            sa.insert(members).values(job_id=job.id, submission_id=submission_id, cell=None, label=label[:255])
        )
    return job


def to_be_tried(before: Sequence[Job], now: float) -> bool:
    """Whether a job about a set is to be asked for, after these. now: UTC s."""
    if any(job.state != State.FAILED for job in before) or len(before) >= MAX_TRIES:
        return False
    # What ended later than now ended before the clock was set back.
    return all(not 0 <= now - (job.finished_at or now) < AGAIN_S for job in before)


def _about(conn: sa.Connection, submission_id: str, label: str) -> list[Job]:
    rows = conn.execute(
        sa.select(*jobs.c)
        .join(members, members.c.job_id == jobs.c.id)
        .where(members.c.submission_id == submission_id, members.c.cell.is_(None), members.c.label == label[:255])
        .order_by(jobs.c.id)
    )
    return [from_row(row) for row in rows]


def get(db: sa.Engine, submission_id: str) -> Submission:
    """The submission with this id. Raises UnknownSubmission."""
    if not is_id(submission_id):
        raise UnknownSubmission(submission_id)
    with reading(db) as conn:
        row = conn.execute(sa.select(*submissions.c).where(submissions.c.id == submission_id)).one_or_none()
    if row is None:
        raise UnknownSubmission(submission_id)
    return Submission(**row._mapping)


def of_jobs(db: sa.Engine, job_ids: Sequence[str]) -> dict[str, Submission]:
    """The submissions these jobs belong to, by job; jobs asked for alone are left out."""
    found: dict[str, Submission] = {}
    with reading(db) as conn:
        for row in conn.execute(_OF_JOBS, {"job_ids": list(job_ids)}):
            values = dict(row._mapping)
            job_id = values.pop("job_id")
            found[job_id] = Submission(**values)
    return found


# Made once: making a statement takes longer than running it.
_OF_JOBS = (
    sa.select(members.c.job_id, *submissions.c)
    .join(submissions, submissions.c.id == members.c.submission_id)
    .where(members.c.job_id.in_(sa.bindparam("job_ids", expanding=True)))
)


def of_submitter(db: sa.Engine, submitter: str, *, limit: int = 20) -> list[Submission]:
    """The newest submissions of a visitor."""
    with reading(db) as conn:
        rows = conn.execute(
            sa.select(*submissions.c)
            .where(submissions.c.submitter == submitter)
            .order_by(submissions.c.id.desc())
            .limit(limit)
        ).all()
    return [Submission(**row._mapping) for row in rows]


def pictures_of_each(db: sa.Engine, submission_ids: Sequence[str]) -> dict[str, list[str]]:
    """The ids of the jobs that stand on each of these sheets, in its order, but for what the host has hidden."""
    found: dict[str, list[str]] = {submission_id: [] for submission_id in submission_ids}
    unique = list(found)
    with reading(db) as conn:
        for i in range(0, len(unique), 500):
            rows = conn.execute(
                sa.select(members.c.submission_id, members.c.job_id)
                .join(jobs, jobs.c.id == members.c.job_id)
                .where(members.c.submission_id.in_(unique[i : i + 500]))
                .where(members.c.cell.is_not(None), jobs.c.hidden == sa.false())
                .order_by(members.c.submission_id, members.c.cell)
            )
            for submission_id, job_id in rows:
                found[submission_id].append(job_id)
    return found


def jobs_of(db: sa.Engine, submission_id: str) -> list[Member]:
    """The jobs of a submission: those on the sheet in its order, then those about it, the newest last."""
    with reading(db) as conn:
        rows = conn.execute(
            sa.select(*jobs.c, members.c.cell.label("its_cell"), members.c.label.label("its_label"))
            .join(members, members.c.job_id == jobs.c.id)
            .where(members.c.submission_id == submission_id)
        ).all()
    found = [Member(from_row(row), row.its_cell, row.its_label) for row in rows]
    return sorted(found, key=lambda member: (member.cell is None, member.cell or 0, member.job.id))
