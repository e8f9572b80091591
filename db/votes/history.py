"""All votes at once, for ratings and for taking home: only those between pictures that may be seen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from db.engine import reading
from db.jobs import Job, State, from_row
from db.schema import jobs, votes

# The newest are rated: an evening gives some thousand.
MAX_VOTES = 100_000
_AT_ONCE = 5000
_VOTES = (
    votes.c.id,
    votes.c.voter,
    votes.c.first_id,
    votes.c.second_id,
    votes.c.winner_id,
    votes.c.left_id,
    votes.c.at,
    votes.c.address,
    votes.c.voter_since,
)


@dataclass(frozen=True)
class Vote:
    """One vote. winner_id: None for a tie. at, voter_since (when the voter's id was issued): UTC s.

    address: what stands for the voter's; None: not known.
    """

    id: int
    voter: str
    first_id: str
    second_id: str
    winner_id: str | None
    left_id: str
    at: float
    address: str | None = None
    voter_since: float | None = None


@dataclass(frozen=True)
class Shown:
    """What ratings need to know of a picture; prompt: as votes see it, see jobs.normalise."""

    id: str
    engine: str
    checkpoint: str
    prompt: str
    score: float | None
    params: dict[str, Any]


def newest(db: sa.Engine, limit: int = MAX_VOTES) -> tuple[list[Vote], set[str]]:
    """The newest votes, oldest first, and the jobs whose pictures they are about. Votes on what the host hid are left
    out."""
    with reading(db) as conn:
        rows = [Vote(*row) for row in conn.execute(sa.select(*_VOTES).order_by(votes.c.id.desc()).limit(limit))]
        about = sorted({job_id for vote in rows for job_id in (vote.first_id, vote.second_id)})
        there = {job_id for some in _some(about) for job_id in conn.scalars(_SEEN, {"ids": some})}
    return [vote for vote in reversed(rows) if vote.first_id in there and vote.second_id in there], there


def shown(db: sa.Engine, job_ids: Collection[str]) -> dict[str, Shown]:
    """Those of these jobs whose pictures may be seen: what never changes of them."""
    with reading(db) as conn:
        rows = (row for some in _some(sorted(job_ids)) for row in conn.execute(_RATED, {"ids": some}))
        return {row.id: Shown(*row) for row in rows}


def state(db: sa.Engine) -> tuple[int, int, int]:
    """Numbers that change when ratings may: the id of the newest vote, how many votes and hidden pictures there are."""
    with reading(db) as conn:
        last, count = conn.execute(sa.select(sa.func.max(votes.c.id), sa.func.count(votes.c.id))).one()
        hidden = conn.scalar(sa.select(sa.func.count()).where(jobs.c.hidden == sa.true()))
    return int(last or 0), int(count), int(hidden or 0)


_FOUND = jobs.c.id.in_(sa.bindparam("ids", expanding=True))
_SHOWN = jobs.c.state == State.SUCCEEDED, jobs.c.hidden == sa.false()
_VISIBLE = sa.select(*jobs.c).where(_FOUND, *_SHOWN)
_SEEN = sa.select(jobs.c.id).where(_FOUND, *_SHOWN)
_OF_RATED = jobs.c.id, jobs.c.engine, jobs.c.checkpoint, jobs.c.prompt_search, jobs.c.score, jobs.c.params
_RATED = sa.select(*_OF_RATED).where(_FOUND, *_SHOWN)


def visible(db: sa.Engine, job_ids: Sequence[str]) -> dict[str, Job]:
    """Those of some finished jobs that may be seen now."""
    with reading(db) as conn:
        return {row.id: from_row(row) for row in conn.execute(_VISIBLE, {"ids": list(job_ids)})}


def seen(db: sa.Engine, job_ids: Sequence[str]) -> set[str]:
    """As `visible`, their ids alone."""
    with reading(db) as conn:
        return set(conn.scalars(_SEEN, {"ids": list(job_ids)}))


def in_pages(db: sa.Engine, limit: int) -> Iterator[list[Vote]]:
    """The newest votes but for those on hidden pictures, newest first, some at a time: nothing is held open between."""
    before, left = None, limit
    one, other = jobs.alias(), jobs.alias()
    query = (
        sa.select(*_VOTES)
        .join(one, one.c.id == votes.c.first_id)
        .join(other, other.c.id == votes.c.second_id)
        .where(one.c.hidden == sa.false(), other.c.hidden == sa.false())
        .order_by(votes.c.id.desc())
    )
    while left > 0:
        page = query if before is None else query.where(votes.c.id < before)
        with reading(db) as conn:
            rows = [Vote(*row) for row in conn.execute(page.limit(min(left, _AT_ONCE)))]
        if not rows:
            return
        yield rows
        before, left = rows[-1].id, left - len(rows)


def _some(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[i : i + 500] for i in range(0, len(ids), 500))
