"""Turns of visitors and of their addresses, shares, slices and suspects hold at once: whom a claim serves."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from db import queue
from db.jobs import Job
from db.queue import NewJob, Order, estimate, workers
from db.queue.fair_order import ADDRESS_TURNS
from db.schema import jobs
from tests.contract.queue_steps import take

LEASE_S = 60.0


def register(db: sa.Engine, *names: str, places: int = 4) -> None:
    for name in names:
        workers.register(
            db,
            worker_id=name,
            device=name,
            engines=["vqgan-clip"],
            places=places,
            hostname="here",
            pid=1,
            slice_s=120.0,
            share=0.5,
        )


def ask(db: sa.Engine, submitter: str, address: str | None, batch_key: str = "k", steps: int = 10) -> Job:
    new = NewJob(
        engine="vqgan-clip", checkpoint="mini", batch_key=batch_key, prompt="x", params={}, total_steps=steps, pixels=64
    )
    return queue.enqueue(db, new, submitter=submitter, order=Order(address=address))


def lose(db: sa.Engine, worker_id: str) -> None:
    with db.begin() as conn:
        conn.execute(sa.update(jobs).where(jobs.c.worker_id == worker_id).values(lease_expires_at=1.0))
    queue.requeue_expired(db)


def ran(db: sa.Engine, job: Job, ran_s: float, step: int = 300) -> None:
    """The job has run for so long, and has come to this step."""
    queue.heartbeat(
        db, worker_id=str(job.worker_id), job_id=job.id, step=step, steps_per_s=2.5, ran_s=ran_s, lease_s=LEASE_S
    )


def pause(db: sa.Engine, job: Job, step: int = 300) -> Job:
    return queue.release(db, worker_id=str(job.worker_id), job_id=job.id, step=step, spent_s=30.0, slice_over=True)


def making_room(db: sa.Engine, ready: list[Job], worker_id: str, places: int = 4) -> set[str]:
    ids = [job.id for job in ready]
    return queue.to_make_room(db, worker_id=worker_id, engines=["vqgan-clip"], ready=ids, places=places)


def test_suspects_shares_slices_and_addresses_hold_at_once_in_a_claim(database: sa.Engine) -> None:
    register(database, "w1", "w2")
    for n in range(2):  # who greedy asks with is lost, so that both are suspects
        ask(database, f"lost-{n}", None)
    assert len(take(database, "w0", limit=2)) == 2
    lose(database, "w0")
    for _ in range(6):
        ask(database, "greedy", "home", steps=20_000)

    # The first suspect has its turn, and nothing beside it.
    (suspect,) = take(database, "w1", limit=4, share=0.5)
    assert (suspect.submitter, suspect.suspect_step) == ("lost-0", 0)
    assert take(database, "w1", limit=3, batch_key="k", share=0.5) == []

    # Who waits for a batch gets a share of all places, while somebody else waits who could have one.
    for n in range(2 * ADDRESS_TURNS):
        ask(database, f"fresh-{n}", "flooder", batch_key="another")
    ask(database, "late", "elsewhere", batch_key="another")
    held = take(database, "w2", limit=1, batch_key="k", share=0.25)
    held += take(database, "w2", limit=1, batch_key="k", share=0.25)
    assert [job.submitter for job in held] == ["lost-1"], "the second suspect: elsewhere, and by itself as well"
    queue.succeed(database, worker_id="w2", job_id=held[0].id)
    for _ in range(2):
        held += take(database, "w2", limit=4, batch_key="k", share=0.25)
    assert [job.submitter for job in held[1:]] == ["greedy", "greedy"], "a quarter of eight places"
    assert take(database, "w2", limit=2, batch_key="k", share=0.25) == []

    # The address of many ids gets its turns, then it is the turn of who came last, from another address.
    served = [take(database, "w2", limit=1, share=0.25)[0].submitter for _ in range(2)]
    assert served == ["fresh-0", "fresh-1"]

    # All four places are taken. A slice is over: it makes room, and its visitor stands behind all who wait.
    ran(database, held[1], 130)
    ran(database, held[2], 100)
    assert making_room(database, held[1:2], "w2") == {held[1].id}
    waits = pause(database, held[1])
    line = [job.submitter for job in queue.queued_jobs(database)]
    assert line[:3] == ["fresh-2", "fresh-3", "late"], "one of another address before the fifth of this one"
    assert line[3:6] == ["fresh-4", "fresh-5", "greedy"], "who made room goes before an address that has had its turns"
    (given,) = take(database, "w2", limit=1, share=0.25)
    assert given.submitter == "fresh-2"
    assert take(database, "w2", batch_key="k", share=0.25) == [], "no fresh job passes one's own that was paused"
    places = queue.places(database, [waits.id])
    assert places[waits.id].position > 1

    # Beside the suspect no place of the other executor counts as free.
    ran(database, suspect, 130)
    assert making_room(database, [suspect], "w1") == {suspect.id}


def test_a_paused_suspect_stays_one_and_goes_on_proving_itself(database: sa.Engine) -> None:
    register(database, "w1")
    ask(database, "ada", "home", steps=20_000)
    take(database, "w0")
    lose(database, "w0")
    (job,) = take(database, "w1")
    ran(database, job, 10, step=1)
    ran(database, job, 50, step=100)
    waits = pause(database, job, step=100)
    assert waits.suspect_step == 0
    (job,) = take(database, "w1", limit=4)
    ran(database, job, 10, step=120)
    assert queue.get(database, job.id).suspect_step == 0
    ran(database, job, 25, step=150)
    assert queue.get(database, job.id).suspect_step is None, "40 s before and 25 s now are more than a lease"


def test_the_told_waits_know_addresses_and_slices_together(database: sa.Engine) -> None:
    register(database, "w1", places=1)
    done = ask(database, "before", None)
    take(database, "w1")
    queue.heartbeat(database, worker_id="w1", job_id=done.id, step=10, spent_s=10.0, lease_s=LEASE_S)
    queue.succeed(database, worker_id="w1", job_id=done.id)
    with database.begin() as conn:
        conn.execute(sa.update(jobs).values(started_at=jobs.c.finished_at - 10.0))
    ask(database, "greedy", "home", steps=20_000)
    (long,) = take(database, "w1")
    for n in range(10):
        ask(database, f"fresh-{n}", "flooder")
    mine = ask(database, "ada", "elsewhere")
    ran(database, long, 20)
    position, wait = estimate.position_and_wait(database, mine.id)
    assert position == ADDRESS_TURNS + 1
    # The rest of the slice, then 10 s for each of those before.
    assert wait == pytest.approx(100 + 10 * ADDRESS_TURNS, rel=0.15)
