"""Which two pictures a visitor compares next. What a comparison would tell is worked out in ratings/pairing.py."""

from __future__ import annotations

import math
import random
from collections.abc import Collection

import sqlalchemy as sa

from db.engine import reading
from db.jobs import Job, State, from_row
from db.schema import artefacts, jobs, votes
from ratings import pairing
from ratings.pairing import Candidate, Pool

# Pairs are drawn from so many pictures, so that the cost does not grow with the gallery: the newest, and runs of
# neighbours (which were often asked for together) from anywhere in it.
NEWEST = 200
OLDER_RUNS = 20
RUN = 5


def next_pair(
    db: sa.Engine, voter: str, engines: Collection[str] | None = None, among: Pool | None = None
) -> tuple[Job, Job] | None:
    """Two pictures (left, right) for this voter to compare, None when there is no pair they have not seen.

    Pictures of these engines (None: of all), chosen so that the answer tells most: close ratings and few votes, the
    same prompt before others, one's own against somebody else's last; each two of about the same size; sides by chance.
    among: a pool made a moment ago; it is made anew where none of its pairs can be shown any more.
    """
    if among is not None and (found := _deal(db, voter, among)) is not None:
        return found
    return _deal(db, voter, pool(db, engines))


def pool(db: sa.Engine, engines: Collection[str] | None = None) -> Pool:
    """Finished pictures that may be seen, with what is known from votes between them. Serves all visitors alike."""
    wanted = [jobs.c.state == State.SUCCEEDED, jobs.c.hidden == sa.false()]
    if engines is not None:
        wanted.append(jobs.c.engine.in_(sorted(engines)))
    page = (
        sa.select(
            jobs.c.id, jobs.c.prompt_search, jobs.c.engine, jobs.c.submitter, artefacts.c.width, artefacts.c.height
        )
        .outerjoin(artefacts, sa.and_(artefacts.c.job_id == jobs.c.id, artefacts.c.kind == "picture"))
        .where(*wanted)
        .order_by(jobs.c.id.desc())
    )
    with reading(db) as conn:
        rows = {row.id: row for row in conn.execute(page.limit(NEWEST))}
        if len(rows) == NEWEST:
            oldest = conn.scalar(sa.select(sa.func.min(jobs.c.id)).where(jobs.c.state == State.SUCCEEDED))
            # An id begins with its time in 14 hexadecimal digits.
            begin, end = (int(str(job_id)[:14], 16) for job_id in (oldest, min(rows)))
            for _ in range(OLDER_RUNS):
                at = random.randint(begin, end)
                rows |= {row.id: row for row in conn.execute(page.where(jobs.c.id < f"{at + 1:014x}").limit(RUN))}
        ids = sorted(rows)
        counted = conn.execute(
            sa.select(
                votes.c.first_id,
                votes.c.second_id,
                sa.func.count(),
                sa.func.sum(
                    sa.case((votes.c.winner_id == votes.c.first_id, 2), (votes.c.winner_id.is_(None), 1), else_=0)
                ),
            )
            .where(votes.c.first_id.in_(ids), votes.c.second_id.in_(ids))
            .group_by(votes.c.first_id, votes.c.second_id)
        ).all()
    candidates = [
        Candidate(row.id, row.prompt_search, row.engine, row.submitter, math.sqrt((row.width or 0) * (row.height or 0)))
        for row in rows.values()
    ]
    return pairing.pool(candidates, [(a, b, float(count), float(halves) / 2) for a, b, count, halves in counted])


def _deal(db: sa.Engine, voter: str, among: Pool) -> tuple[Job, Job] | None:
    with reading(db) as conn:
        seen = conn.execute(sa.select(votes.c.first_id, votes.c.second_id).where(votes.c.voter == voter)).all()
        pair = pairing.choose(among, voter, [(first, second) for first, second in seen])
        if pair is None:
            return None
        rows = conn.execute(
            sa.select(*jobs.c).where(jobs.c.id.in_(pair), jobs.c.state == State.SUCCEEDED, jobs.c.hidden == sa.false())
        ).all()
    if len(rows) < 2:
        return None
    left, right = random.sample([from_row(row) for row in rows], 2)
    return left, right
