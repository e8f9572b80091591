"""Deleting one job, or one picture that was given: by whoever asked for it or gave it.

Of a job stays that there was one, when and whose, so that limits count it: its prompt, settings, score and files go, as
do the votes on it, and nobody is shown it any more. What others made from its picture is theirs and stays.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass

import sqlalchemy as sa

from db.artefacts import Artefact, Store, givers
from db.engine import clock, reading, writing
from db.errors import NotYours, UnknownJob
from db.evening import erasures
from db.jobs import LIVE, Job, State, from_row
from db.queue.transitions import note, take_away
from db.schema import (
    artefacts,
    boards,
    jobs,
    marks,
    members,
    refinements,
    stages,
    submissions,
    trained_models,
    votes,
    webhooks,
)
from db.search import embeddings

AT_ONCE = 200
SOURCE_DELETED = "A picture this is made from was deleted by whoever gave it; give another one."

_BLANK = {
    **{"prompt": "", "prompt_search": "", "params": {}, "history": [], "hidden": True},
    **{"score": None, "error_kind": None, "error": None, "source_artefact_id": None, "on_wall": None, "style": None},
}


@dataclass(frozen=True)
class Deleted:
    """How much went with a job: its files and those pictures given with it that no other job names, and votes."""

    files: int
    votes: int


def delete_job(db: sa.Engine, store: Store, job_id: str, submitter: str | None = None) -> Deleted:
    """End the job where it waits or runs, and delete it. A second call ends what a first one has begun.

    submitter: who asks; None for the host. Raises UnknownJob, NotYours, StoreUnavailable.
    """
    with reading(db) as conn:
        job = _job(conn, job_id, submitter)
    pictures = _given_alone_with(db, job)
    with writing(db) as conn:
        _on_the_way(conn, job_id)
        job = _job(conn, job_id, submitter, held=True)
        cast, rankings = 0, list[Job]()
        if job.deleted_at is None:
            cast = _blank(conn, job)
            rankings = _blank_emptied(conn, job_id)
    files = 0
    for picture in pictures:
        files += _forget_file(db, store, picture.id, picture.key)
    for one in (job, *rankings):
        files += _forget_files(db, store, one.id)
    empty_log(db)
    return Deleted(files, cast)


def delete_given(db: sa.Engine, store: Store, picture: Artefact) -> None:
    """Delete a picture that somebody gave. Jobs that run with it fail, and those that wait do when their turn comes;
    what was made from it stays. Raises StoreUnavailable."""
    names = givers.jobs_with(db, picture)
    with writing(db) as conn:
        for job in _held(conn, names):
            if job.state == State.RUNNING:
                take_away(conn, job, State.FAILED, "source_deleted", SOURCE_DELETED)
    _forget_file(db, store, picture.id, picture.key)
    empty_log(db)


def empty_log(db: sa.Engine) -> bool:
    """What was overwritten is not to be read in SQLite's write-ahead log either; False where somebody reads it at this
    moment: nobody waits for that. PostgreSQL sees to its own."""
    if db.dialect.name != "sqlite":
        return True
    with suppress(sqlite3.Error, sa.exc.SQLAlchemyError), closing(db.raw_connection()) as connection:
        cursor = connection.cursor()
        waits_ms = cursor.execute("PRAGMA busy_timeout").fetchone()[0]
        cursor.execute("PRAGMA busy_timeout=0")
        try:
            return not cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        finally:
            cursor.execute(f"PRAGMA busy_timeout={waits_ms}")
    return False


def finish(db: sa.Engine, store: Store) -> int:
    """Delete the files of deleted jobs that somebody was kept from deleting; how many there were."""
    with reading(db) as conn:
        left = sa.select(artefacts.c.job_id).join(jobs, jobs.c.id == artefacts.c.job_id)
        ids = set(conn.scalars(left.where(jobs.c.deleted_at.is_not(None)).limit(AT_ONCE)))
    files = sum(_forget_files(db, store, str(job_id)) for job_id in sorted(ids))
    empty_log(db)
    return files


def _job(conn: sa.Connection, job_id: str, submitter: str | None, *, held: bool = False) -> Job:
    found = sa.select(*jobs.c).where(jobs.c.id == job_id)
    row = conn.execute(found.with_for_update() if held else found).one_or_none()
    if row is None:
        raise UnknownJob(job_id)
    if submitter is not None and row.submitter != submitter:
        raise NotYours(job_id)
    return from_row(row)


def _held(conn: sa.Connection, ids: list[str]) -> list[Job]:
    found: list[Job] = []
    for i in range(0, len(ids), AT_ONCE):
        some = sa.select(*jobs.c).where(jobs.c.id.in_(ids[i : i + AT_ONCE]), jobs.c.state.in_(LIVE))
        found += map(from_row, conn.execute(some.order_by(jobs.c.id).with_for_update()))
    return found


def _given_alone_with(db: sa.Engine, job: Job) -> list[Artefact]:
    """The pictures that whoever asked for this job gave with it, and that no other job of theirs names."""
    found = []
    for picture in givers.given_among(db, givers.named_in(job.params)).values():
        if picture is None or givers.giver_of(db, picture) != job.submitter:
            continue
        if not givers.jobs_with(db, picture, besides=job.id):
            found.append(picture)
    return found


def _on_the_way(conn: sa.Connection, job_id: str) -> None:
    """Hold the refinement and the sheet that it is on, in the order of db.evening.erasing.LOCKED."""
    if conn.dialect.name == "sqlite":
        conn.exec_driver_sql("PRAGMA secure_delete=ON")  # what is overwritten is not to be read in the file either
    sheet = sa.select(members.c.submission_id).where(members.c.job_id == job_id).scalar_subquery()
    of = sa.select(stages.c.refinement_id).where(stages.c.submission_id == sheet).scalar_subquery()
    conn.execute(sa.update(refinements).where(refinements.c.id == of).values(version=refinements.c.version + 1))
    conn.execute(sa.select(submissions.c.id).where(submissions.c.id == sheet).with_for_update())


def _blank(conn: sa.Connection, job: Job) -> int:
    """Leave nothing of it in the database but that it was there; how many votes went."""
    if job.state in LIVE:
        take_away(conn, job, State.CANCELLED)
    now = clock(conn)
    conn.execute(sa.update(jobs).where(jobs.c.id == job.id).values(**_BLANK, deleted_at=now))
    note(conn, job.id, "deleted", at=now)
    conn.execute(sa.update(members).where(members.c.job_id == job.id).values(label=""))
    conn.execute(sa.delete(marks).where(marks.c.job_id == job.id))
    conn.execute(sa.delete(boards).where(boards.c.job_id == job.id))
    conn.execute(sa.delete(webhooks).where(webhooks.c.job_id == job.id))
    conn.execute(sa.delete(trained_models).where(trained_models.c.job_id == job.id))
    embeddings.blank(conn, job.id)
    erasures.note(conn, job.id)
    on = sa.or_(votes.c.first_id == job.id, votes.c.second_id == job.id)
    return len(conn.scalars(sa.delete(votes).where(on).returning(votes.c.id)).all())


def _blank_emptied(conn: sa.Connection, job_id: str) -> list[Job]:
    """The words of its sheet, and of the refinement that is a row of, once nothing is left on them; the rankings of
    that sheet, which hold them too, are deleted with it and returned."""
    sheet = conn.scalar(sa.select(members.c.submission_id).where(members.c.job_id == job_id))
    if sheet is None or _any_left(conn, members.c.submission_id == sheet):
        return []
    conn.execute(sa.update(submissions).where(submissions.c.id == sheet).values(prompt=""))
    compared = submissions.c.kind == "compare"  # what is compared may be prompts
    conn.execute(sa.update(submissions).where(submissions.c.id == sheet, compared).values(layout={}))
    refinement = conn.scalar(sa.select(stages.c.refinement_id).where(stages.c.submission_id == sheet))
    rows = sa.select(stages.c.submission_id).where(stages.c.refinement_id == refinement)
    if refinement is not None and not _any_left(conn, members.c.submission_id.in_(rows)):
        conn.execute(sa.update(refinements).where(refinements.c.id == refinement).values(prompt=""))
    about = sa.select(members.c.job_id).where(members.c.submission_id == sheet, members.c.cell.is_(None))
    left = sa.select(*jobs.c).where(jobs.c.id.in_(about), jobs.c.deleted_at.is_(None))
    rankings = [from_row(row) for row in conn.execute(left.order_by(jobs.c.id).with_for_update())]
    for one in rankings:
        _blank(conn, one)
    return rankings


def _any_left(conn: sa.Connection, on: sa.ColumnElement[bool]) -> bool:
    """Whether any picture of these sheets was not deleted; what ranks them is none."""
    left = sa.select(jobs.c.id).join(members, members.c.job_id == jobs.c.id)
    return conn.scalar(left.where(on, members.c.cell.is_not(None), jobs.c.deleted_at.is_(None)).limit(1)) is not None


def _forget_files(db: sa.Engine, store: Store, job_id: str) -> int:
    """Delete the files of a job, parts of files that were never finished as well, then their rows."""
    names = store.names(f"jobs/{job_id}")
    store.remove(names)
    with writing(db) as conn:
        conn.execute(sa.delete(artefacts).where(artefacts.c.job_id == job_id))
    return len(names)


def _forget_file(db: sa.Engine, store: Store, artefact_id: str, key: str) -> int:
    store.delete(key)  # the file first: a row without one is found again
    with writing(db) as conn:
        conn.execute(sa.delete(artefacts).where(artefacts.c.id == artefact_id))
    return 1
