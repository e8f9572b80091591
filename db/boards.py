"""Boards: pictures that a visitor keeps together under a name, of their own or of others; nameless are the favourites.

A picture may be on several boards, as a thing may have several tags. Which pictures somebody keeps is shown to them
alone. A board is there as long as a picture is on it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from db.engine import clock, reading, writing
from db.errors import BadValue, BoardTaken, UnknownBoard, UnknownJob
from db.jobs import check_text, is_id
from db.schema import boards, jobs

FAVOURITES = ""
MAX_NAME = 40  # characters
MAX_BOARDS = 100  # of one visitor
MAX_PICTURES = 5000  # of one visitor, on all boards together


def put(db: sa.Engine, submitter: str, job_ids: Sequence[str], name: str = FAVOURITES) -> None:
    """Keep these pictures on a board of this visitor; those that are there stay.

    Raises UnknownJob for one that is hidden, deleted or none, and BadValue for a senseless name or too many.
    """
    _check(submitter, name)
    for job_id in job_ids:
        if not is_id(job_id):
            raise UnknownJob(job_id)
    with writing(db) as conn:
        found = sa.select(jobs.c.id).where(jobs.c.id.in_(job_ids), jobs.c.hidden == sa.false())
        there = set(conn.scalars(found.order_by(jobs.c.id).with_for_update()))
        for job_id in job_ids:
            if job_id not in there:
                raise UnknownJob(job_id)
        kept = conn.execute(sa.select(boards.c.name, boards.c.job_id).where(boards.c.submitter == submitter)).all()
        on_it = {row.job_id for row in kept if row.name == name}
        new = [job_id for job_id in dict.fromkeys(job_ids) if job_id not in on_it]
        names = {row.name for row in kept} - {FAVOURITES}
        if name not in names and name != FAVOURITES and len(names) >= MAX_BOARDS:
            raise BadValue(
                "There are {most} boards of yours, and no more are allowed; take one away first.", most=MAX_BOARDS
            )
        if len(kept) + len(new) > MAX_PICTURES:
            raise BadValue(
                "You keep {count} pictures; at most {most} are allowed. Take some away first.",
                count=len(kept),
                most=MAX_PICTURES,
            )
        if new:
            now = clock(conn)
            rows = [{"submitter": submitter, "name": name, "job_id": job_id, "at": now} for job_id in new]
            conn.execute(sa.insert(boards), rows)


def take(db: sa.Engine, submitter: str, job_ids: Collection[str], name: str = FAVOURITES) -> None:
    """Take these pictures off a board of this visitor; the pictures themselves stay. Raises BadValue."""
    _check(submitter, name)
    gone = [job_id for job_id in job_ids if is_id(job_id)]
    with writing(db) as conn:
        conn.execute(sa.delete(boards).where(*_board(submitter, name), boards.c.job_id.in_(gone)))


def take_all(db: sa.Engine, submitter: str, name: str) -> int:
    """Take a board away; its pictures stay in the gallery. How many there were on it. Raises BadValue."""
    _check(submitter, name)
    with writing(db) as conn:
        return conn.execute(sa.delete(boards).where(*_board(submitter, name))).rowcount


def rename(db: sa.Engine, submitter: str, name: str, new: str) -> None:
    """Give a board of this visitor another name. Raises UnknownBoard, BoardTaken, and BadValue for a senseless one."""
    _check(submitter, name)
    _check(submitter, new)
    if FAVOURITES in (name, new):
        raise BadValue("Favourites have no name, and a board needs one.")
    with writing(db) as conn:
        # As `put` and deletions do: jobs first, so that none of the pictures is put on the new board meanwhile.
        on_it = sa.select(jobs.c.id).where(jobs.c.id.in_(on_board(submitter, name))).order_by(jobs.c.id)
        conn.execute(on_it.with_for_update())
        there = set(conn.scalars(sa.select(boards.c.name).where(boards.c.submitter == submitter).distinct()))
        if name not in there:
            raise UnknownBoard(name)
        if new == name:
            return
        if new in there:
            raise BoardTaken(new)
        conn.execute(sa.update(boards).where(*_board(submitter, name)).values(name=new))


def of_submitter(db: sa.Engine, submitter: str) -> dict[str, int]:
    """The boards of this visitor by name, with how many pictures are on each, but for what the host has hidden."""
    check_text("submitter", submitter, 128)
    counted = (
        sa.select(boards.c.name, sa.func.count())
        .join(jobs, jobs.c.id == boards.c.job_id)
        .where(boards.c.submitter == submitter, jobs.c.hidden == sa.false())
        .group_by(boards.c.name)
        .order_by(boards.c.name)
    )
    with reading(db) as conn:
        return {name: count for name, count in conn.execute(counted)}


def of_jobs(db: sa.Engine, submitter: str, job_ids: Collection[str]) -> dict[str, set[str]]:
    """The names of the boards of this visitor that each of these pictures is on."""
    check_text("submitter", submitter, 128)
    ids = [job_id for job_id in job_ids if is_id(job_id)]
    found = sa.select(boards.c.job_id, boards.c.name).where(boards.c.submitter == submitter, boards.c.job_id.in_(ids))
    on: dict[str, set[str]] = {job_id: set() for job_id in job_ids}
    with reading(db) as conn:
        for job_id, name in conn.execute(found):
            on[job_id].add(name)
    return on


def on_board(submitter: str, name: str) -> sa.Select[tuple[str]]:
    """The statement that finds the jobs on a board."""
    return sa.select(boards.c.job_id).where(*_board(submitter, name))


def _board(submitter: str, name: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return boards.c.submitter == submitter, boards.c.name == name


def _check(submitter: str, name: str) -> None:
    check_text("submitter", submitter, 128)
    if name != FAVOURITES:
        check_text("name of the board", name, MAX_NAME)
        if name != " ".join(name.split()):
            raise BadValue("{name!r} begins or ends with a blank, or has several together; take those away.", name=name)
