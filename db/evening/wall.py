"""What the wall shows beside what forms: the newest pictures and those that did best in votes, one of each submission;
what the host has let onto it; and how long the line is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from db import votes
from db.engine import reading, writing
from db.jobs import Job, State, from_row, is_id
from db.queue.estimate import position_and_wait
from db.queue.fair_order import service_order
from db.schema import jobs, members
from db.votes import Tally

LOOKED_AT, ROUNDS = 60, 4  # pictures at once, and so often: sheets of hundreds stand for one picture
MAX_COUNTED = 100


@dataclass(frozen=True)
class Hung:
    """A finished picture on the wall. group: the id of its submission, or of the job where that was asked for alone."""

    job: Job
    group: str


def best_voted(
    db: sa.Engine, ranked: Sequence[str], engines: Collection[str], *, limit: int, approved: bool = False
) -> list[tuple[Job, Tally]]:
    """The first of these pictures that engines of this list made and that may be seen, and their votes.

    ranked: ids of jobs, the best first, as the ratings have them. Pictures that nobody preferred are left out.
    approved: only those that the host has let onto the wall.
    """
    liked = {job_id: tally for job_id, tally in votes.tallies(db, ranked).items() if tally.wins}
    shown = sa.select(*jobs.c).where(jobs.c.id.in_(sorted(liked)), *_shown(engines, approved))
    with reading(db) as conn:
        rows = conn.execute(shown).all()
    found = {row.id: from_row(row) for row in rows}
    return [(found[job_id], liked[job_id]) for job_id in ranked if job_id in found][:limit]


def newest(db: sa.Engine, engines: Collection[str], *, limit: int, approved: bool = False) -> list[Hung]:
    """The newest finished pictures of these engines, one of each submission: the one with the best score, or the newest
    where none has any. In the order of the newest picture of each.

    approved: only those that the host has let onto the wall.
    """
    groups: dict[str, Any] = {}
    page = _page(engines, approved)
    with reading(db) as conn:
        before = None
        for _ in range(ROUNDS):
            rows = conn.execute(page if before is None else page.where(jobs.c.id < before)).all()
            for row in rows:
                group = row.submission_id or row.id
                best = groups.get(group)
                if best is None or (row.score is not None and (best.score is None or row.score > best.score)):
                    groups[group] = row
            if len(groups) >= limit or len(rows) < LOOKED_AT:
                break
            before = rows[-1].id
        chosen = {row.id: group for group, row in list(groups.items())[:limit]}
        found = {row.id: from_row(row) for row in conn.execute(sa.select(*jobs.c).where(jobs.c.id.in_(chosen)))}
    return [Hung(found[job_id], group) for job_id, group in chosen.items() if job_id in found]


def groups_of(db: sa.Engine, job_ids: Sequence[str]) -> dict[str, str]:
    """Of each of these jobs what it was asked for with: the id of its submission, or its own."""
    with reading(db) as conn:
        some = sa.select(members.c.job_id, members.c.submission_id).where(members.c.job_id.in_(job_ids))
        found = {row.job_id: row.submission_id for row in conn.execute(some)}
    return {job_id: found.get(job_id, job_id) for job_id in job_ids}


def waiting(db: sa.Engine, engines: Collection[str], *, limit: int, kept: Sequence[str] = ()) -> tuple[list[Job], int]:
    """The newest finished pictures that the host has not decided about; how many there are, MAX_COUNTED at most.

    kept: those that were there at the last look stay in front, in their order, so that nothing else comes under the
    finger of whoever decides.
    """
    open_ = (jobs.c.on_wall.is_(None), *_shown(engines, False))
    with reading(db) as conn:
        rows = conn.execute(sa.select(*jobs.c).where(*open_).order_by(jobs.c.id.desc()).limit(limit)).all()
        count = len(rows)
        if count == limit:
            some = sa.select(jobs.c.id).where(*open_).limit(MAX_COUNTED).subquery()
            count = conn.scalar(sa.select(sa.func.count()).select_from(some)) or 0
        still = conn.execute(sa.select(*jobs.c).where(jobs.c.id.in_(list(filter(is_id, kept))), *open_)).all()
    found = {row.id: from_row(row) for row in (*rows, *still)}
    order = dict.fromkeys([job_id for job_id in kept if job_id in found] + [row.id for row in rows])
    return [found[job_id] for job_id in order][:limit], count


def decide(db: sa.Engine, job_ids: Sequence[str], on_wall: bool | None) -> int:
    """Let these pictures onto the wall, or keep them off it; None: not decided. How many there are of them."""
    wanted = [job_id for job_id in job_ids if is_id(job_id)]
    with writing(db) as conn:
        there = jobs.c.id.in_(wanted), jobs.c.state == State.SUCCEEDED, jobs.c.deleted_at.is_(None)
        conn.execute(sa.select(jobs.c.id).where(*there).order_by(jobs.c.id).with_for_update())
        return conn.execute(sa.update(jobs).where(*there).values(on_wall=on_wall)).rowcount


def line(db: sa.Engine) -> tuple[int, float | None]:
    """How many jobs wait, and the estimated s until the last of them starts (0 where none waits, None: not known)."""
    with reading(db) as conn:
        waiting = list(service_order(conn))
    if not waiting:
        return 0, 0.0
    return len(waiting), position_and_wait(db, waiting[-1])[1]


def _shown(engines: Collection[str], approved: bool) -> list[sa.ColumnElement[bool]]:
    # As an expression, so that no index of engines is chosen, which would have to be sorted.
    made = sa.func.coalesce(jobs.c.engine, "").in_(sorted(engines))
    undecided = jobs.c.on_wall.is_(None)
    only = [jobs.c.on_wall == sa.true() if approved else sa.or_(undecided, jobs.c.on_wall == sa.true())]
    return [jobs.c.state == State.SUCCEEDED, jobs.c.hidden == sa.false(), made, *only]


def _page(engines: Collection[str], approved: bool) -> sa.Select[Any]:
    named = sa.select(jobs.c.id, jobs.c.score, members.c.submission_id)
    page = named.select_from(jobs.outerjoin(members, members.c.job_id == jobs.c.id)).where(*_shown(engines, approved))
    return page.order_by(jobs.c.id.desc()).limit(LOOKED_AT)
