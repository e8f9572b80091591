"""What the wall asks the database: which pictures did best in votes, and how long the line is."""

from __future__ import annotations

import sqlalchemy as sa

from db import queue, votes, wall, workers
from db.jobs import Job, State
from tests.contract.queue_steps import add, in_state, take


def compared(db: sa.Engine, winner: Job, loser: Job, times: int) -> None:
    for number in range(times):
        votes.cast(db, voter=f"voter {winner.id} {number}", left_id=winner.id, right_id=loser.id, choice="left")


def test_pictures_are_best_by_their_share_of_won_comparisons_few_of_them_prove_little(database: sa.Engine) -> None:
    often, once, loser, other = (in_state(database, State.SUCCEEDED) for _ in range(4))
    compared(database, often, loser, 5)
    compared(database, once, loser, 1)
    found = wall.best_voted(database, ["vqgan-clip"], limit=5)
    assert [(job.id, tally.wins) for job, tally in found] == [(often.id, 5), (once.id, 1)], "no losers, nor the unseen"
    assert [job.id for job, _ in wall.best_voted(database, ["vqgan-clip"], limit=1)] == [often.id]
    assert wall.best_voted(database, ["upscale"], limit=5) == []
    queue.set_hidden(database, often.id)
    assert [job.id for job, _ in wall.best_voted(database, ["vqgan-clip"], limit=5)] == [once.id]
    assert other.id not in {job.id for job, _ in found}


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
