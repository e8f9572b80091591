"""An evening of simulated visitors, through the pairs the studio deals and the votes it takes."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from db import queue, votes
from db.engine import connect, writing
from db.errors import AlreadyVoted, TooFast
from db.schema import votes as votes_table
from db.votes import casting, pairs
from ratings.standings import Standings, standings
from studio.standings import collected, voted_on
from tests.contract.queue_steps import add, take

PICTURES = 8
THETA = dict(zip(range(PICTURES), np.linspace(2.5, -2.5, PICTURES), strict=True))


def pictures(db: sa.Engine) -> dict[str, int]:
    """Picture number 0 is the best, the last one the worst; all by one visitor who does not vote."""
    made = {}
    for n in range(PICTURES):
        add(db, "host")
        (job,) = take(db)
        queue.succeed(db, worker_id="w1", job_id=job.id)
        made[job.id] = n
    return made


def votes_of(db: sa.Engine, number: dict[str, int], voter: str, rng: np.random.Generator, times: int) -> None:
    pool = pairs.pool(db)
    for _ in range(times):
        pair = pairs.next_pair(db, voter, among=pool)
        assert pair is not None
        left, right = pair
        wins = rng.random() < 1 / (1 + np.exp(THETA[number[right.id]] - THETA[number[left.id]]))
        votes.cast(db, voter=voter, left_id=left.id, right_id=right.id, choice="left" if wins else "right")


def places(db: sa.Engine, number: dict[str, int]) -> tuple[Standings, list[int]]:
    found = standings(collected(*voted_on(db, {})))
    return found, [number[rated.name] for rated in sorted(found.best, key=lambda rated: -rated.rating)]


def test_visitors_with_known_preferences_give_the_known_ranking_and_a_stuffer_does_not_move_it(tmp_path: Path) -> None:
    db = connect(f"sqlite:///{tmp_path}/jobs.db")
    number, rng = pictures(db), np.random.default_rng(7)
    random.seed(7)  # which pairs are dealt
    for voter in range(60):
        votes_of(db, number, f"visitor-{voter}", rng, 8)
    honest, order = places(db, number)
    assert order == list(range(PICTURES)) and honest.votes == 480 and honest.voters == 60
    assert honest.left is not None and honest.left.low < 0.5 < honest.left.high

    # One cookie, for the worst picture in every pair there is, as often as the studio lets it.
    favourite = next(job_id for job_id, n in number.items() if n == PICTURES - 1)
    refused = 0
    for _ in range(3):
        for other in number:
            for left, right in ((favourite, other), (other, favourite)):
                try:
                    if other != favourite:
                        choice: votes.Choice = "left" if left == favourite else "right"
                        votes.cast(db, voter="stuffer", left_id=left, right_id=right, choice=choice)
                except (AlreadyVoted, TooFast):
                    refused += 1
        with writing(db) as conn:
            conn.execute(sa.update(votes_table).values(at=votes_table.c.at - casting.IN_S))
    assert votes.cast_by(db, "stuffer") == PICTURES - 1 and refused > 30
    stuffed, order = places(db, number)
    assert order == list(range(PICTURES))
    before = {rated.name: rated for rated in honest.best}
    assert all(before[rated.name].low < rated.rating < before[rated.name].high for rated in stuffed.best)
    db.dispose()
