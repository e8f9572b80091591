"""Votes between two pictures: each voter sees each pair once, whichever side each picture was on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from db.engine import AHEAD_S, clock, reading, writing
from db.errors import AlreadyVoted, BadValue, PairGone, TooFast, UnknownJob
from db.jobs import State, check_text, is_id
from db.rules.visitors import check_welcome
from db.schema import jobs, votes

Choice = Literal["left", "right", "tie"]
CHOICES = ("left", "right", "tie")

# Nobody who looks at both pictures votes faster than this for long.
MAX_VOTES = 20
IN_S = 20.0


@dataclass(frozen=True)
class Tally:
    """How a picture has done in its comparisons."""

    wins: int = 0
    losses: int = 0
    ties: int = 0


def cast(
    db: sa.Engine,
    *,
    voter: str,
    left_id: str,
    right_id: str,
    choice: Choice,
    address: str | None = None,
    since: float | None = None,
) -> None:
    """Count one vote. Raises AlreadyVoted, Banned, TooFast, PairGone, UnknownJob for what is no id, or BadValue for a
    senseless choice or pair.

    address: what stands for the one it comes from. since: when the voter's id was issued, in UTC s; None: not known.
    """
    check_text("voter", voter, 128)
    if choice not in CHOICES:
        raise BadValue(f"{choice!r} is no choice; permitted: {', '.join(CHOICES)}.")
    if left_id == right_id:
        raise BadValue("A picture cannot be compared with itself.")
    for job_id in (left_id, right_id):
        if not is_id(job_id):
            raise UnknownJob(job_id)
    first, second = _ordered(left_id, right_id)
    winner = {"left": left_id, "right": right_id, "tie": None}[choice]
    with writing(db) as conn:
        check_welcome(conn, voter, address)
        shown = sa.select(jobs.c.id, jobs.c.state).where(jobs.c.id.in_([first, second]), jobs.c.hidden == sa.false())
        # They stay until the vote is there; see db.evening.erasing.LOCKED.
        shown = shown.order_by(jobs.c.id).with_for_update(read=True, key_share=True)
        states = {row.id: row.state for row in conn.execute(shown)}
        for job_id in (left_id, right_id):
            if job_id not in states:
                raise PairGone
            if states[job_id] != State.SUCCEEDED:
                raise BadValue(f"Job {job_id} is {states[job_id]}; only finished pictures can be compared.")
        now = clock(conn)
        recent = votes.c.at.between(now - IN_S, now + AHEAD_S)
        lately = conn.scalar(sa.select(sa.func.count()).where(votes.c.voter == voter, recent))
        if (lately or 0) >= MAX_VOTES:
            raise TooFast(MAX_VOTES, IN_S)
        try:
            conn.execute(
                sa.insert(votes).values(
                    voter=voter,
                    first_id=first,
                    second_id=second,
                    winner_id=winner,
                    left_id=left_id,
                    at=now,
                    address=address,
                    voter_since=since,
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
