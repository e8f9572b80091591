"""Votes between two pictures: each voter sees each pair once, whichever side each picture was on."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from db.engine import clock, reading, writing
from db.errors import AlreadyVoted, BadValue, UnknownJob
from db.jobs import Job, State, check_text, from_row
from db.schema import jobs, votes
from db.visitors import check_welcome

Choice = Literal["left", "right", "tie"]
CHOICES = ("left", "right", "tie")

# Pairs are drawn from the newest pictures, so that the cost does not grow with the gallery.
POOL = 300


@dataclass(frozen=True)
class Tally:
    """How a picture has done in its comparisons."""

    wins: int = 0
    losses: int = 0
    ties: int = 0


def next_pair(db: sa.Engine, voter: str, engines: Collection[str] | None = None) -> tuple[Job, Job] | None:
    """Two pictures (left, right) for this voter to compare, None when there is no pair they have not seen.

    Of the newest POOL pictures of these engines (None: of all); the same prompt before the same engine before any
    other pair, pictures with few votes first, ties and sides by chance.
    """
    wanted = [jobs.c.state == State.SUCCEEDED, jobs.c.hidden == sa.false()]
    if engines is not None:
        wanted.append(jobs.c.engine.in_(sorted(engines)))
    with reading(db) as conn:
        pool = conn.execute(
            sa.select(jobs.c.id, jobs.c.prompt_search, jobs.c.engine)
            .where(*wanted)
            .order_by(jobs.c.id.desc())
            .limit(POOL)
        ).all()
        ids = [row.id for row in pool]
        cast_on = {job_id: t.wins + t.losses + t.ties for job_id, t in _tallies(conn, ids).items()}
        seen = {
            (first, second)
            for first, second in conn.execute(
                sa.select(votes.c.first_id, votes.c.second_id).where(votes.c.voter == voter)
            )
        }
        pair = next((p for p in _pairs(pool, cast_on) if _ordered(*p) not in seen), None)
        if pair is None:
            return None
        rows = conn.execute(sa.select(*jobs.c).where(jobs.c.id.in_(pair))).all()
    left, right = random.sample([from_row(row) for row in rows], 2)
    return left, right


def _pairs(pool: Sequence[Any], cast_on: dict[str, int]) -> Iterator[tuple[str, str]]:
    """All pairs of the pool, best first; made one by one since the first few nearly always do."""
    by_votes = sorted(pool, key=lambda row: (cast_on[row.id], random.random()))
    groups: list[dict[Any, list[str]]] = [defaultdict(list), defaultdict(list), defaultdict(list)]
    for row in by_votes:
        groups[0][row.prompt_search].append(row.id)
        groups[1][row.engine].append(row.id)
        groups[2][None].append(row.id)
    for group in groups:
        for row in by_votes:
            mates = group[row.prompt_search if group is groups[0] else row.engine if group is groups[1] else None]
            yield from ((row.id, mate) for mate in mates if mate != row.id)


def cast(db: sa.Engine, *, voter: str, left_id: str, right_id: str, choice: Choice) -> None:
    """Count one vote. Raises AlreadyVoted, Banned, UnknownJob, or BadValue for a senseless choice or pair."""
    check_text("voter", voter, 128)
    if choice not in CHOICES:
        raise BadValue(f"{choice!r} is no choice; permitted: {', '.join(CHOICES)}.")
    if left_id == right_id:
        raise BadValue("A picture cannot be compared with itself.")
    first, second = _ordered(left_id, right_id)
    winner = {"left": left_id, "right": right_id, "tie": None}[choice]
    with writing(db) as conn:
        check_welcome(conn, voter)
        shown = sa.select(jobs.c.id, jobs.c.state).where(jobs.c.id.in_([first, second]), jobs.c.hidden == sa.false())
        states = {row.id: row.state for row in conn.execute(shown)}
        for job_id in (left_id, right_id):
            if job_id not in states:
                raise UnknownJob(job_id)
            if states[job_id] != State.SUCCEEDED:
                raise BadValue(f"Job {job_id} is {states[job_id]}; only finished pictures can be compared.")
        try:
            conn.execute(
                sa.insert(votes).values(
                    voter=voter,
                    first_id=first,
                    second_id=second,
                    winner_id=winner,
                    left_id=left_id,
                    at=clock(conn),
                )
            )
        except IntegrityError:
            raise AlreadyVoted("You have already compared these two pictures; each pair counts once.") from None


def tallies(db: sa.Engine, job_ids: Sequence[str]) -> dict[str, Tally]:
    """Wins, losses and ties of each of these jobs; all 0 for one nobody has voted on."""
    with reading(db) as conn:
        return _tallies(conn, job_ids)


def cast_by(db: sa.Engine, voter: str) -> int:
    """How many votes this voter has given."""
    with reading(db) as conn:
        return conn.scalar(sa.select(sa.func.count()).where(votes.c.voter == voter)) or 0


def _tallies(conn: sa.Connection, job_ids: Sequence[str]) -> dict[str, Tally]:
    found = {job_id: Tally() for job_id in job_ids}
    for side in (votes.c.first_id, votes.c.second_id):
        for i in range(0, len(job_ids), 500):
            rows = conn.execute(
                sa.select(
                    side,
                    sa.func.count().label("total"),
                    sa.func.count(votes.c.winner_id).label("decided"),
                    sa.func.count(sa.case((votes.c.winner_id == side, 1))).label("wins"),
                )
                .where(side.in_(job_ids[i : i + 500]))
                .group_by(side)
            )
            for job_id, total, decided, wins in rows:
                t = found[job_id]
                found[job_id] = Tally(t.wins + wins, t.losses + decided - wins, t.ties + total - decided)
    return found


def _ordered(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)
