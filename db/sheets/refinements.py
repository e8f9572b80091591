"""Refinements: one prompt in rows of pictures, each row made from what was marked in an earlier one.

A row (stage) is an ordinary submission; a refinement remembers the order of its rows, which pictures were marked and
what each row is set to, so that every device with its id shows the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from db.engine import clock, newest, reading, writing
from db.errors import BadValue, UnknownJob, UnknownRefinement, UnknownSubmission
from db.jobs import check_text, is_id, new_id
from db.queue.enqueueing import NO_LIMITS, NO_ORDER, Limits
from db.queue.orders import Order
from db.schema import jobs, marks, members, refinements, stages
from db.schema import submissions as submissions_table
from db.sheets import submissions
from db.sheets.submissions import NewSheet, Submission

MAX_STAGES = 24


@dataclass(frozen=True)
class Stage:
    """A row. place: from 1; settings: what its next step is set to."""

    place: int
    submission: Submission
    settings: dict[str, Any]


@dataclass(frozen=True)
class Refinement:
    """One row of `refinements`. version: grows with every change; created_at in UTC s."""

    id: str
    prompt: str
    submitter: str
    version: int
    created_at: float


def start(
    db: sa.Engine, first: NewSheet, *, submitter: str, limits: Limits = NO_LIMITS, order: Order = NO_ORDER
) -> Refinement:
    """A new refinement of the prompt of its first row. Raises TooManyQueued, BadValue."""
    check_text("submitter", submitter, 128)
    first.check()
    with writing(db) as conn:
        made = Refinement(new_id(newest(conn, refinements.c.id)), first.prompt, submitter, 1, clock(conn))
        conn.execute(sa.insert(refinements).values(**vars(made)))
        _add_row(conn, made.id, 1, submissions.put(conn, first, submitter, limits, order)[0])
    return made


def add_stage(
    db: sa.Engine,
    refinement_id: str,
    new: NewSheet,
    *,
    submitter: str,
    marked: bool = False,
    limits: Limits = NO_LIMITS,
    order: Order = NO_ORDER,
) -> Stage:
    """Queue one more row, all of its jobs or none; its prompt is the refinement's.

    marked: its pictures are favourites from the start. Raises UnknownRefinement, TooManyQueued, or BadValue where there
    are MAX_STAGES rows.
    """
    check_text("submitter", submitter, 128)
    new.check()
    with writing(db) as conn:
        _changed(conn, refinement_id)
        counted = sa.select(sa.func.count()).where(stages.c.refinement_id == refinement_id)
        place = (conn.scalar(counted) or 0) + 1
        if place > MAX_STAGES:
            raise BadValue(
                "A refinement has at most {most} rows; start a new one from the same prompt.", most=MAX_STAGES
            )
        prompt = conn.scalar(sa.select(refinements.c.prompt).where(refinements.c.id == refinement_id))
        row, made = submissions.put(conn, replace(new, prompt=str(prompt)), submitter, limits, order)
        _add_row(conn, refinement_id, place, row)
        if marked:
            now = clock(conn)
            conn.execute(
                sa.insert(marks),
                [{"job_id": job.id, "refinement_id": refinement_id, "at": now} for job in made],
            )
    return Stage(place, row, {})


def _add_row(conn: sa.Connection, refinement_id: str, place: int, row: Submission) -> None:
    conn.execute(sa.insert(stages).values(submission_id=row.id, refinement_id=refinement_id, place=place, settings={}))


def get(db: sa.Engine, refinement_id: str) -> Refinement:
    """The refinement with this id. Raises UnknownRefinement."""
    if not is_id(refinement_id):
        raise UnknownRefinement(refinement_id)
    with reading(db) as conn:
        row = conn.execute(sa.select(*refinements.c).where(refinements.c.id == refinement_id)).one_or_none()
    if row is None:
        raise UnknownRefinement(refinement_id)
    return Refinement(**row._mapping)


def of_submission(db: sa.Engine, submission_id: str) -> str:
    """The id of the refinement that this sheet is a row of. Raises UnknownSubmission."""
    with reading(db) as conn:
        found = conn.scalar(sa.select(stages.c.refinement_id).where(stages.c.submission_id == submission_id))
    if found is None:
        raise UnknownSubmission(submission_id)
    return str(found)


def stages_of(db: sa.Engine, refinement_id: str) -> list[Stage]:
    """Its rows, the first one first."""
    with reading(db) as conn:
        rows = conn.execute(
            sa.select(stages.c.place, stages.c.settings, *submissions_table.c)
            .join(submissions_table, submissions_table.c.id == stages.c.submission_id)
            .where(stages.c.refinement_id == refinement_id)
            .order_by(stages.c.place)
        ).all()
    found = []
    for row in rows:
        values = dict(row._mapping)
        found.append(Stage(values.pop("place"), settings=values.pop("settings"), submission=Submission(**values)))
    return found


def rows_of_each(db: sa.Engine, refinement_ids: Sequence[str]) -> dict[str, list[str]]:
    """The ids of the submissions that are the rows of each of these, the first one first."""
    found: dict[str, list[str]] = {refinement_id: [] for refinement_id in refinement_ids}
    with reading(db) as conn:
        rows = conn.execute(
            sa.select(stages.c.refinement_id, stages.c.submission_id)
            .where(stages.c.refinement_id.in_(list(found)))
            .order_by(stages.c.refinement_id, stages.c.place)
        )
        for refinement_id, submission_id in rows:
            found[refinement_id].append(submission_id)
    return found


def settings_of(db: sa.Engine, submission_id: str) -> dict[str, Any]:
    """What a row is set to. Raises UnknownSubmission."""
    with reading(db) as conn:
        found = conn.scalar(sa.select(stages.c.settings).where(stages.c.submission_id == submission_id))
    if found is None:
        raise UnknownSubmission(submission_id)
    return dict(found)


def marks_of(db: sa.Engine, refinement_id: str) -> set[str]:
    """The ids of the jobs whose pictures are marked."""
    with reading(db) as conn:
        return set(conn.scalars(sa.select(marks.c.job_id).where(marks.c.refinement_id == refinement_id)))


def mark(db: sa.Engine, refinement_id: str, job_id: str, marked: bool) -> int:
    """Mark a picture of the refinement, or take the mark away; the new version.

    Raises UnknownRefinement, or UnknownJob for one that stands in none of its rows.
    """
    if not is_id(job_id):
        raise UnknownJob(job_id)
    with writing(db) as conn:
        version = _changed(conn, refinement_id)
        belongs = (
            sa.select(jobs.c.id)
            .join(members, members.c.job_id == jobs.c.id)
            .join(stages, stages.c.submission_id == members.c.submission_id)
            .where(jobs.c.id == job_id, members.c.cell.is_not(None), stages.c.refinement_id == refinement_id)
        )
        if conn.scalar(belongs) is None:
            raise UnknownJob(job_id)
        conn.execute(sa.delete(marks).where(marks.c.job_id == job_id))
        if marked:
            conn.execute(sa.insert(marks).values(job_id=job_id, refinement_id=refinement_id, at=clock(conn)))
    return version


def set_up(db: sa.Engine, refinement_id: str, submission_id: str, **settings: Any) -> int:
    """Change settings of a row's next step; the new version. Raises UnknownRefinement, UnknownSubmission."""
    with writing(db) as conn:
        version = _changed(conn, refinement_id)
        row = (stages.c.submission_id == submission_id, stages.c.refinement_id == refinement_id)
        before = conn.scalar(sa.select(stages.c.settings).where(*row))
        if before is None:
            raise UnknownSubmission(submission_id)
        conn.execute(sa.update(stages).where(*row).values(settings={**before, **settings}))
    return version


def of_submitter(db: sa.Engine, submitter: str, *, limit: int = 20) -> list[Refinement]:
    """The newest refinements of a visitor."""
    with reading(db) as conn:
        rows = conn.execute(
            sa.select(*refinements.c)
            .where(refinements.c.submitter == submitter)
            .order_by(refinements.c.id.desc())
            .limit(limit)
        ).all()
    return [Refinement(**row._mapping) for row in rows]


def _changed(conn: sa.Connection, refinement_id: str) -> int:
    """Counts a change and holds the row, so that two changes at once come one after the other."""
    version = conn.scalar(
        sa.update(refinements)
        .where(refinements.c.id == refinement_id)
        .values(version=refinements.c.version + 1)
        .returning(refinements.c.version)
    )
    if version is None:
        raise UnknownRefinement(refinement_id)
    return int(version)
