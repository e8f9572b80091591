"""What the wall asks the database: which pictures did best in votes, and how long the line is."""

from __future__ import annotations

import sqlalchemy as sa

from db import queue, votes
from db.evening import wall
from db.jobs import Job, State
from db.queue import workers
from tests.contract.queue_steps import add, in_state, take


def compared(db: sa.Engine, winner: Job, loser: Job, times: int) -> None:
    for number in range(times):
        votes.cast(db, voter=f"voter {winner.id} {number}", left_id=winner.id, right_id=loser.id, choice="left")


def test_the_best_of_the_ratings_are_those_that_may_be_seen_and_that_somebody_preferred(database: sa.Engine) -> None:
    often, once, loser, other = (in_state(database, State.SUCCEEDED) for _ in range(4))
    compared(database, often, loser, 5)
    compared(database, once, loser, 1)
    ranked = [once.id, often.id, loser.id, other.id]

    def best(limit: int = 5, engines: tuple[str, ...] = ("vqgan-clip",)) -> list[tuple[str, int]]:
        found = wall.best_voted(database, ranked, engines, limit=limit)
        return [(job.id, tally.wins) for job, tally in found]

    assert best() == [(once.id, 1), (often.id, 5)], "in the order of the ratings; no losers, nor the unseen"
    assert best(limit=1) == [(once.id, 1)] and best(engines=("upscale",)) == []
    queue.set_hidden(database, once.id)
    assert best() == [(often.id, 5)]


def test_the_line_has_a_length_and_an_end(database: sa.Engine) -> None:
    assert wall.line(database) == (0, 0.0)
    in_state(database, State.SUCCEEDED)
    for number in range(3):
        add(database, f"visitor {number}")
    assert wall.line(database) == (3, None), "nobody works"
    workers.register(database, worker_id="w1", device="cpu", engines=["vqgan-clip"], places=1, hostname="here", pid=1)
    take(database)
    waiting, wait = wall.line(database)
    assert waiting == 2 and wait is not None and wait >= 0
