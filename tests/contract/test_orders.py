"""What programs send along holds on both databases: a request made twice is queued once, and its end is told."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from db import queue
from db.artefacts import Store
from db.engine import writing
from db.errors import AlreadyOrdered, BadValue, OrderReused, TooManyQueued
from db.evening.erasing import forget_everything
from db.jobs import Job
from db.queue import Limits, NewJob, Order, Webhook, notices
from db.queue.notices import BACKOFF_S
from db.queue.orders import KEPT_S
from db.rules import host_rules
from db.schema import orders, webhooks
from db.sheets import refinements, submissions
from db.sheets.submissions import NewSheet
from tests.contract.queue_steps import take

HOOK = Webhook("https://example.org/told", "c2VjcmV0IHNlY3JldCBzZWNyZXQ=")
NEW = NewJob(engine="vqgan-clip", checkpoint="mini", batch_key="b", prompt="a heart", params={"seed": 1}, total_steps=1)


def ordered(db: sa.Engine, order: Order, submitter: str = "ada") -> Job:
    return queue.enqueue(db, NEW, submitter=submitter, order=order)


def test_the_same_order_again_finds_its_jobs(database: sa.Engine) -> None:
    job = ordered(database, Order("one", "heart"))
    with pytest.raises(AlreadyOrdered) as before:
        ordered(database, Order("one", "heart"))
    assert before.value.job_ids == [job.id]
    with pytest.raises(AlreadyOrdered):
        queue.check_order(database, "ada", Order("one", "heart"))
    with pytest.raises(OrderReused):
        ordered(database, Order("one", "car"))
    ordered(database, Order("one", "car"), submitter="bob")  # another's key is another key
    ordered(database, Order("two", "heart"))
    ordered(database, Order(None, "heart"))
    queue.check_order(database, "ada", Order(None, "heart"))
    assert len(queue.list_jobs(database)) == 4


def test_an_order_that_was_refused_is_not_remembered(database: sa.Engine) -> None:
    ordered(database, Order("first", "x"))
    with pytest.raises(TooManyQueued):
        queue.enqueue(database, NEW, submitter="ada", limits=Limits(1), order=Order("second", "x", HOOK))
    ordered(database, Order("second", "x"))
    with database.connect() as conn:
        assert conn.scalar(sa.select(sa.func.count()).select_from(webhooks)) == 0


def test_a_key_is_free_again_after_a_day(database: sa.Engine) -> None:
    first = ordered(database, Order("one", "heart"))
    with writing(database) as conn:
        conn.execute(sa.update(orders).values(created_at=orders.c.created_at - KEPT_S - 1))
    queue.check_order(database, "ada", Order("one", "car"))
    assert ordered(database, Order("one", "car")).id != first.id


def test_orders_of_a_sheet_and_of_a_refinement_remember_all_jobs(database: sa.Engine) -> None:
    sheet = NewSheet(kind="candidates", prompt="a heart", wanted=[("1", NEW), ("2", NEW)])
    _, made = submissions.submit(database, sheet, submitter="ada", order=Order("sheet", "x"))
    with pytest.raises(AlreadyOrdered) as before:
        submissions.submit(database, sheet, submitter="ada", order=Order("sheet", "x"))
    assert before.value.job_ids == [job.id for job in made]
    begun = refinements.start(database, sheet, submitter="ada", order=Order("begun", "x"))
    with pytest.raises(AlreadyOrdered) as before:
        refinements.start(database, sheet, submitter="ada", order=Order("begun", "x"))
    (stage,) = refinements.stages_of(database, begun.id)
    assert refinements.of_submission(database, stage.submission.id) == begun.id
    assert len(refinements.of_submitter(database, "ada")) == 1, "nothing is left of the second"
    assert len(before.value.job_ids) == 2 and len(queue.list_jobs(database)) == 4


def test_one_order_at_the_same_time_is_queued_once(database: sa.Engine) -> None:
    found: list[str] = []

    def ask() -> None:
        try:
            found.append(ordered(database, Order("at once", "x")).id)
        except AlreadyOrdered as before:
            found.extend(before.job_ids)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and len(set(found)) == 1 and len(queue.list_jobs(database)) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "\x00", "\ud800"])
def test_a_key_that_cannot_be_kept_is_refused(database: sa.Engine, key: str) -> None:
    with pytest.raises(BadValue, match="idempotency key"):
        ordered(database, Order(key, "x"))
    assert queue.list_jobs(database) == []


def test_the_end_of_a_job_is_due_once_it_has_ended(database: sa.Engine) -> None:
    job = ordered(database, Order(webhook=HOOK))
    ordered(database, Order())
    assert notices.due(database, limit=8, held_s=60.0) == []
    take(database)
    assert notices.due(database, limit=8, held_s=60.0) == []
    queue.succeed(database, worker_id="w1", job_id=job.id)
    (notice,) = notices.due(database, limit=8, held_s=60.0)
    assert (notice.job_id, notice.url, notice.secret, notice.tries) == (job.id, HOOK.url, HOOK.secret, 0)
    assert notices.due(database, limit=8, held_s=60.0) == [], "it is held by whoever took it"
    notices.told(database, notice)
    assert notices.due(database, limit=8, held_s=-1.0) == []


def test_a_notice_that_nobody_told_is_due_again(database: sa.Engine) -> None:
    job = ordered(database, Order(webhook=HOOK))
    queue.request_cancel(database, job.id)
    assert [one.job_id for one in notices.due(database, limit=8, held_s=-1.0)] == [job.id]
    assert [one.job_id for one in notices.due(database, limit=8, held_s=-1.0)] == [job.id], "its server has died"


def test_a_notice_is_tried_again_later_and_given_up_at_last(database: sa.Engine) -> None:
    job = ordered(database, Order(webhook=HOOK))
    queue.request_cancel(database, job.id)
    for tries in range(len(BACKOFF_S) + 1):
        (notice,) = notices.due(database, limit=8, held_s=60.0)
        assert notice.tries == tries
        notices.not_told(database, notice, "nobody answers")
        assert notices.due(database, limit=8, held_s=60.0) == []
        with writing(database) as conn:
            conn.execute(sa.update(webhooks).values(due_at=webhooks.c.due_at - 60_000.0))
    assert notices.due(database, limit=8, held_s=60.0) == []
    with database.connect() as conn:
        row = conn.execute(sa.select(webhooks)).one()
    assert (row.due_at, row.error, row.told_at) == (None, "nobody answers", None)


def test_a_notice_that_is_of_no_use_is_given_up_at_once(database: sa.Engine) -> None:
    job = ordered(database, Order(webhook=HOOK))
    queue.request_cancel(database, job.id)
    (notice,) = notices.due(database, limit=8, held_s=-1.0)
    notices.not_told(database, notice, "x" * 2000, again=False)
    assert notices.due(database, limit=8, held_s=-1.0) == []


def test_two_servers_do_not_take_the_same_notice(database: sa.Engine) -> None:
    for _ in range(6):
        queue.request_cancel(database, ordered(database, Order(webhook=HOOK)).id)
    taken: list[str] = []

    def look() -> None:
        taken.extend(notice.job_id for notice in notices.due(database, limit=2, held_s=60.0))

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken += [notice.job_id for notice in notices.due(database, limit=8, held_s=60.0)]
    assert len(taken) == len(set(taken)) == 6


def test_parameters_that_no_database_can_hold_are_refused(database: sa.Engine) -> None:
    new = replace(NEW, params={"init_image": "half \ud800 of one"})
    with pytest.raises(BadValue, match="half of a character"):
        queue.enqueue(database, new, submitter="ada")


def test_orders_and_notices_go_with_the_evening(database: sa.Engine, tmp_path: Path) -> None:
    ordered(database, Order("one", "x", HOOK))
    host_rules.change(database, paused=True)
    forget_everything(database, Store(f"file://{tmp_path}"))
    queue.check_order(database, "ada", Order("one", "y"))
    assert notices.due(database, limit=8, held_s=0.0) == []
