"""Finished drawings that a dataset may be put together from, with what they were drawn from as captions."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from db.engine import reading
from db.jobs import Job, State, from_row
from db.schema import boards, jobs, marks, refinements, votes

MAX_DRAWINGS = 5000


def favourites(db: sa.Engine, submitter: str, engines: Collection[str]) -> list[Job]:
    """What one submitter has marked in their refinements or keeps on their boards, the newest first."""
    of = sa.select(marks.c.job_id).join(refinements, refinements.c.id == marks.c.refinement_id)
    kept = sa.select(boards.c.job_id).where(boards.c.submitter == submitter)
    return _shown(db, engines, jobs.c.id.in_(of.where(refinements.c.submitter == submitter).union(kept)))


def drawn_by(db: sa.Engine, submitter: str, engines: Collection[str]) -> list[Job]:
    """All that one submitter has drawn, the newest first."""
    return _shown(db, engines, jobs.c.submitter == submitter)


def best(db: sa.Engine, engines: Collection[str]) -> list[Job]:
    """What was preferred in votes more often than not, the greatest margin first."""
    wins = sa.select(votes.c.winner_id.label("id"), sa.literal(1).label("won")).where(votes.c.winner_id.is_not(None))
    losses = [
        sa.select(mine.label("id"), sa.literal(-1)).where(votes.c.winner_id == other)
        for mine, other in ((votes.c.first_id, votes.c.second_id), (votes.c.second_id, votes.c.first_id))
    ]
    every = sa.union_all(wins, *losses).subquery()
    margin = sa.func.sum(every.c.won)
    of = sa.select(every.c.id).group_by(every.c.id).having(margin > 0).order_by(margin.desc(), every.c.id)
    with reading(db) as conn:
        ranked = conn.scalars(of.limit(MAX_DRAWINGS)).all()
    found = {job.id: job for job in _shown(db, engines, jobs.c.id.in_(ranked))}
    return [found[job_id] for job_id in ranked if job_id in found]


def _shown(db: sa.Engine, engines: Collection[str], which: sa.ColumnElement[bool]) -> list[Job]:
    """Never what the host has hidden, nor what was deleted."""
    there = [jobs.c.state == State.SUCCEEDED, jobs.c.hidden == sa.false(), jobs.c.deleted_at.is_(None)]
    found = sa.select(*jobs.c).where(*there, jobs.c.engine.in_(sorted(engines)), which)
    with reading(db) as conn:
        return [from_row(row) for row in conn.execute(found.order_by(jobs.c.id.desc()).limit(MAX_DRAWINGS))]
