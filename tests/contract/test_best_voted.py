"""What the wall asks the database: which pictures did best in votes, the newest of each submission, what the host has
let onto it, and how long the line is."""

from __future__ import annotations

import sqlalchemy as sa

from db import queue, votes
from db.evening import wall
from db.jobs import Job, State
from db.queue import workers
from db.queue.enqueueing import NewJob
from db.sheets import submissions
from db.sheets.submissions import NewSheet
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


ENGINES = ("vqgan-clip",)


def sheet_of(db: sa.Engine, scores: list[float | None]) -> list[Job]:
    """Pictures that were asked for together and have come to these scores."""
    new = NewJob(engine="vqgan-clip", checkpoint="mini", batch_key="b", prompt="many", params={}, total_steps=1)
    wanted = [(str(n), new) for n in range(len(scores))]
    _sheet, made = submissions.submit(db, NewSheet(kind="candidates", prompt="many", wanted=wanted), submitter="ada")
    take(db, limit=len(scores))
    return [queue.succeed(db, worker_id="w1", job_id=job.id, score=n) for job, n in zip(made, scores, strict=True)]


def test_a_submission_is_there_once_with_its_best_picture_however_large_it_is(database: sa.Engine) -> None:
    alone = in_state(database, State.SUCCEEDED)
    scores: list[float | None] = [0.1] * (wall.LOOKED_AT + 5)
    scores[3] = 0.9
    many = sheet_of(database, scores)
    unscored = sheet_of(database, [None, None])
    in_state(database, State.RUNNING)
    found = wall.newest(database, ENGINES, limit=3)
    assert [one.job.id for one in found] == [unscored[1].id, many[3].id, alone.id]
    groups = wall.groups_of(database, [job.id for job in (alone, *many, *unscored)])
    assert {one.group for one in found} == set(groups.values()) and groups[alone.id] == alone.id
    assert len(wall.newest(database, ENGINES, limit=2)) == 2 and not wall.newest(database, ("upscale",), limit=2)
    queue.set_hidden(database, many[3].id)
    assert wall.newest(database, ENGINES, limit=3)[1].job.score == 0.1


def test_the_host_lets_pictures_onto_the_wall_one_by_one_and_may_think_again(database: sa.Engine) -> None:
    first, second, third = (in_state(database, State.SUCCEEDED) for _ in range(3))
    forming = in_state(database, State.RUNNING)

    def waits(limit: int = 9) -> tuple[list[str], int]:
        found, count = wall.waiting(database, ENGINES, limit=limit)
        return [job.id for job in found], count

    assert waits(2) == ([third.id, second.id], 3)
    kept, _ = wall.waiting(database, ENGINES, limit=2, kept=["gone", first.id])
    assert [job.id for job in kept] == [first.id, third.id], "what the host looks at keeps its place"
    assert wall.newest(database, ENGINES, limit=9, approved=True) == []
    assert wall.decide(database, [first.id, second.id, forming.id, "nothing"], True) == 2
    assert wall.decide(database, [third.id], False) == 1
    assert waits() == ([], 0)
    assert [one.job.id for one in wall.newest(database, ENGINES, limit=9, approved=True)] == [second.id, first.id]
    assert wall.decide(database, [second.id], None) == 1 and waits() == ([second.id], 1)
    queue.set_hidden(database, second.id)
    assert waits() == ([], 0), "what is taken out need not be asked about"
    compared(database, first, third, 1)
    liked = wall.best_voted(database, [third.id, first.id], ENGINES, limit=9, approved=True)
    assert [job.id for job, _ in liked] == [first.id]


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
