"""What a monitor reads of the queue, over SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from db import queue
from db.artefacts import Store
from db.engine import check, writing
from db.errors import DatabaseUnavailable, StoreUnavailable
from db.jobs import State
from db.queue import Order, Webhook, estimate, notices, workers
from db.queue.figures import MAX_KINDS, OTHER, figures
from db.rules import host_rules
from db.schema import jobs
from tests.contract.queue_steps import add, in_state, take

ENGINES = ["vqgan-clip", "latent-diffusion"]


def start(db: sa.Engine, worker_id: str = "w1", places: int = 2, **more: Any) -> None:
    usual = {"device": "cpu", "engines": ENGINES, "hostname": "here", "pid": 1}
    workers.register(db, worker_id=worker_id, places=places, **(usual | more))


def test_an_empty_queue_has_figures_too(database: sa.Engine) -> None:
    now = figures(database)
    assert (now.jobs, now.oldest_wait, now.next_wait, now.executors, now.rate, now.recent) == ({}, None, {}, [], {}, {})
    assert now.failures == {} and not now.paused
    assert now.webhooks == {"waiting": 0, "due": 0, "told": 0, "given_up": 0}


def test_jobs_are_counted_by_engine_and_state(database: sa.Engine) -> None:
    for state in State:
        in_state(database, state)
    add(database, engine="latent-diffusion")
    add(database, engine="latent-diffusion")
    now = figures(database)
    assert now.jobs == {("vqgan-clip", state): 1 for state in State} | {("latent-diffusion", State.QUEUED): 2}
    assert now.failures == {"nan": 1}
    assert set(now.recent) == {"vqgan-clip"}
    assert len(now.recent["vqgan-clip"].took) == len(now.recent["vqgan-clip"].waited) == 1


def test_the_age_is_that_of_the_job_that_has_waited_longest(database: sa.Engine) -> None:
    first, second = add(database), add(database)
    with writing(database) as conn:
        for job, ago in ((first, 100.0), (second, 50.0)):
            conn.execute(sa.update(jobs).where(jobs.c.id == job.id).values(created_at=job.created_at - ago))
    assert 100 <= (figures(database).oldest_wait or 0) < 200
    take(database)
    assert 50 <= (figures(database).oldest_wait or 0) < 100


def test_the_told_wait_is_what_the_next_newcomer_is_told(database: sa.Engine) -> None:
    start(database, places=1)
    for n in range(3):
        add(database, submitter=f"visitor-{n}")
        (done,) = take(database)
        ended = queue.succeed(database, worker_id="w1", job_id=done.id)
        with writing(database) as conn:  # a second a step
            took = {"started_at": (ended.finished_at or 0) - 10.0}
            conn.execute(sa.update(jobs).where(jobs.c.id == done.id).values(took))
    for n in range(4):
        add(database, submitter=f"visitor-{n}")
    told = figures(database).next_wait
    assert set(told) == {"vqgan-clip"}  # no other engine has ever ended a job, so nothing can be told of it
    newcomer = add(database, submitter="newcomer")
    (_, wait) = estimate.position_and_wait(database, newcomer.id)
    assert told["vqgan-clip"] == pytest.approx(wait, rel=0.2) and told["vqgan-clip"] >= 40
    host_rules.change(database, paused=True)
    now = figures(database)
    assert now.paused and now.next_wait == {}


def test_executors_their_places_and_the_steps_of_their_jobs(database: sa.Engine) -> None:
    start(database, "w1", 2)
    start(database, "w2", 4, device="cuda:0")
    start(database, "w3", 8)
    workers.stop(database, "w3")
    for rate in (4.0, 2.5):
        job = in_state(database, State.RUNNING)
        queue.heartbeat(database, worker_id="w1", job_id=job.id, step=1, steps_per_s=rate, lease_s=60)
    now = figures(database)
    assert [(one.id, one.places) for one in now.executors] == [("w1", 2), ("w2", 4)]
    assert now.rate == {"vqgan-clip": pytest.approx(6.5)}


def test_webhooks_are_waiting_due_told_or_given_up(database: sa.Engine) -> None:
    def ask() -> str:
        new = queue.NewJob(engine="vqgan-clip", checkpoint="mini", batch_key="b", prompt="p", params={}, total_steps=1)
        order = Order(webhook=Webhook("https://example.org", "c2VjcmV0c2VjcmV0c2VjcmV0"))
        return queue.enqueue(database, new, submitter="key:1", order=order).id

    for _ in range(3):
        ask()
        (job,) = take(database)
        queue.succeed(database, worker_id="w1", job_id=job.id)
    ask()
    first, second, _ = notices.due(database, limit=8, held_s=0)
    notices.told(database, first)
    notices.not_told(database, second, "410", again=False)
    assert figures(database).webhooks == {"waiting": 1, "due": 1, "told": 1, "given_up": 1}


def test_kinds_of_failures_do_not_grow_without_end(database: sa.Engine) -> None:
    for n in range(MAX_KINDS + 5):
        add(database)
        (job,) = take(database)
        queue.fail(database, worker_id="w1", job_id=job.id, kind=f"kind_{n}", message="It failed.")
    found = figures(database).failures
    assert len(found) == MAX_KINDS + 1 and found[OTHER] == 5 and sum(found.values()) == MAX_KINDS + 5


def test_a_database_that_answers_is_good(database: sa.Engine) -> None:
    check(database)


def test_a_database_whose_file_was_taken_away_is_not(tmp_path: Any) -> None:
    from db.engine import connect

    db = connect(f"sqlite:///{tmp_path}/jobs.db")
    check(db)
    (tmp_path / "jobs.db").unlink()
    with pytest.raises(DatabaseUnavailable, match="is gone"):
        check(db)
    db.dispose()


def test_a_store_is_good_before_its_folder_is_there_and_not_where_it_cannot_be(tmp_path: Any) -> None:
    store = Store(f"file://{tmp_path}/a/store")
    store.check()
    (tmp_path / "a").write_text("a file where the folder should be")
    with pytest.raises(StoreUnavailable, match="is no folder"):
        store.check()
