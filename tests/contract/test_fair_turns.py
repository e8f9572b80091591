"""Who is next: priority first, then turns between submitters; batches of compatible jobs; position and wait."""

from __future__ import annotations

import random

import pytest
import sqlalchemy as sa

from db import queue
from db.jobs import Job
from db.queue import workers
from db.schema import jobs
from tests.contract.queue_steps import add, take


def finish(db: sa.Engine, job: Job, took_s: float | None = None) -> None:
    done = queue.succeed(db, worker_id=str(job.worker_id), job_id=job.id)
    if took_s is not None:
        with db.begin() as conn:
            started = float(done.finished_at or 0.0) - took_s
            conn.execute(sa.update(jobs).where(jobs.c.id == job.id).values(started_at=started))


def register(db: sa.Engine, worker_id: str = "w1", places: int = 1, engines: tuple[str, ...] = ("vqgan-clip",)) -> None:
    workers.register(db, worker_id=worker_id, device="cpu", engines=engines, places=places, hostname="here", pid=1)


def test_one_visitors_jobs_are_served_in_the_order_they_came(database: sa.Engine) -> None:
    asked = [add(database).id for _ in range(20)]
    assert [take(database)[0].id for _ in range(20)] == asked


def test_fifty_jobs_of_one_visitor_do_not_starve_anothers_one(database: sa.Engine) -> None:
    for _ in range(50):
        add(database, "greedy")
    take(database)
    late = add(database, "late")
    served = [take(database)[0].submitter for _ in range(3)]
    assert "late" in served[:2]
    assert queue.get(database, late.id).state == "running"


def test_visitors_with_many_jobs_take_turns(database: sa.Engine) -> None:
    for submitter in ("ada", "bob", "eve"):
        for _ in range(6):
            add(database, submitter)
    served = [take(database)[0].submitter for _ in range(18)]
    assert served == ["ada", "bob", "eve"] * 6


def test_a_stream_of_newcomers_does_not_starve_a_visitor_who_waits(database: sa.Engine) -> None:
    waiting = [add(database, "patient").id for _ in range(3)]
    served = []
    for n in range(8):
        add(database, f"new-{n}")
        served.append(take(database)[0].id)
    assert set(waiting) <= set(served)


def test_a_higher_priority_goes_first(database: sa.Engine) -> None:
    add(database, "ada")
    urgent = add(database, "bob", priority=5)
    (first,) = take(database)
    assert first.id == urgent.id


def test_ones_own_higher_priority_goes_first(database: sa.Engine) -> None:
    add(database)
    urgent = add(database, priority=1)
    assert take(database)[0].id == urgent.id


def test_a_batch_holds_only_jobs_that_can_share_it(database: sa.Engine) -> None:
    first = add(database, "ada", batch_key="small")
    add(database, "bob", batch_key="large")
    second = add(database, "ada", batch_key="small")
    third = add(database, "eve", batch_key="small")
    batch = take(database, limit=8)
    assert [job.id for job in batch] == [first.id, third.id, second.id]
    assert [job.batch_key for job in take(database, limit=8)] == ["large"]


def test_a_batch_is_shared_fairly(database: sa.Engine) -> None:
    for _ in range(50):
        add(database, "greedy")
    for name in ("ada", "bob"):
        add(database, name)
    assert sorted(job.submitter for job in take(database, limit=4)) == ["ada", "bob", "greedy", "greedy"]


def test_a_batch_takes_the_higher_priority_first(database: sa.Engine) -> None:
    add(database, "ada")
    urgent = {add(database, "bob", priority=1).id for _ in range(3)}
    assert {job.id for job in take(database, limit=3)} == urgent


def test_free_places_are_filled_with_jobs_of_the_batch_that_runs(database: sa.Engine) -> None:
    add(database, batch_key="large", priority=9)
    fits = add(database, batch_key="small")
    assert [job.id for job in take(database, limit=3, batch_key="small")] == [fits.id]


def test_an_executor_takes_only_engines_it_serves(database: sa.Engine) -> None:
    add(database, "ada", engine="biggan", priority=9)
    mine = add(database, "ada")
    add(database, "bob", engine="biggan")
    assert [job.id for job in take(database, limit=4, engines=["vqgan-clip"])] == [mine.id]
    assert take(database, limit=4, engines=["vqgan-clip"]) == []
    assert take(database, limit=4, engines=[]) == []


def test_no_more_jobs_are_taken_than_asked_for(database: sa.Engine) -> None:
    for n in range(6):
        add(database, f"visitor-{n}")
    assert take(database, limit=0) == []
    assert len(take(database, limit=4)) == 4
    assert len(take(database, limit=4)) == 2


def test_a_job_given_back_keeps_its_turn(database: sa.Engine) -> None:
    job = add(database, "ada")
    add(database, "ada")
    take(database)
    add(database, "bob")
    queue.release(database, worker_id="w1", job_id=job.id)
    assert take(database)[0].id == job.id


@pytest.mark.parametrize("seed", range(2))
def test_the_shown_order_is_the_order_of_service(database: sa.Engine, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(25):
        add(database, draw.choice(["ada", "bob", "eve", "kim"]), priority=draw.choice([0, 0, 0, 1]))
        if draw.random() < 0.3:
            take(database)
    shown = queue.queued_jobs(database)
    for place, job in enumerate(shown, start=1):
        assert queue.position_and_wait(database, job.id)[0] == place
    assert queue.queued_jobs(database, limit=3) == shown[:3]
    assert [take(database)[0].id for _ in shown] == [job.id for job in shown]


def test_the_wait_is_what_recent_jobs_have_taken(database: sa.Engine) -> None:
    register(database)
    for took_s in (20.0, 40.0, 30.0):
        add(database, total_steps=10)
        finish(database, take(database)[0], took_s)
    ahead = add(database, total_steps=20)
    mine = add(database)
    assert queue.position_and_wait(database, ahead.id) == (1, 0.0)
    position, wait = queue.position_and_wait(database, mine.id)
    # 3 s per step is the median of what the last three took.
    assert (position, wait) == (2, pytest.approx(60.0, rel=0.05))


def test_more_places_shorten_the_wait(database: sa.Engine) -> None:
    register(database, places=2)
    add(database)
    finish(database, take(database)[0], 10.0)
    waiting = [add(database) for _ in range(3)]
    waits = [queue.position_and_wait(database, job.id)[1] for job in waiting]
    # Two at once are slower than one, and faster than one after the other.
    assert waits[:2] == [0.0, 0.0] and waits[2] is not None and 10.0 < waits[2] < 20.0
    assert {job_id: place.wait for job_id, place in queue.places(database, [job.id for job in waiting]).items()} == {
        job.id: pytest.approx(wait, rel=0.05) for job, wait in zip(waiting, waits, strict=True)
    }


def test_a_running_job_counts_with_what_is_left_of_it(database: sa.Engine) -> None:
    register(database)
    add(database)
    finish(database, take(database)[0], 10.0)
    add(database, total_steps=100)
    (running,) = take(database)
    queue.heartbeat(database, worker_id="w1", job_id=running.id, step=50, steps_per_s=2.0, lease_s=60)
    position, wait = queue.position_and_wait(database, add(database).id)
    assert position == 1 and wait is not None
    assert 15 < wait < 25.5, "half of 50 s, and less of it by the time that has passed since"


def test_no_wait_is_promised_without_an_executor_or_experience(database: sa.Engine) -> None:
    job = add(database)
    assert queue.position_and_wait(database, job.id) == (1, None)
    register(database)
    assert queue.position_and_wait(database, job.id) == (1, None)
    finish(database, take(database)[0])
    job = add(database, engine="biggan")
    assert queue.position_and_wait(database, job.id) == (1, None)


def test_a_job_that_no_longer_waits_has_no_position(database: sa.Engine) -> None:
    job = add(database)
    take(database)
    assert queue.position_and_wait(database, job.id) == (0, 0.0)
