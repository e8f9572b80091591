"""The studio's clock is set back or ahead by hours: order, turns, leases, limits and durations stay what they are."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

import db.clock_steps
import db.engine
import db.jobs
from db import queue
from db.engine import connect, reading, upgrade, writing
from db.errors import TooManyThisHour
from db.jobs import State, new_id
from db.queue import notices, workers
from db.queue.enqueueing import NewJob
from db.queue.figures import figures
from db.queue.listing import page_query
from db.queue.orders import Order, Webhook
from db.rules import keys
from db.schema import jobs
from db.sheets import submissions
from db.sheets.submissions import NewSheet
from studio.standing import taken
from tests.contract.older import as_of
from tests.contract.queue_steps import add, take

HOUR = 3600.0
LEASE = 60.0


class Clock:
    """The time of this process and of its databases: `set` is what a hand at the clock does, `pass_` is time."""

    def __init__(self) -> None:
        self._set = self._passed = 0.0
        self._wall, self._even, self._ns = time.time, time.monotonic, time.time_ns

    def set(self, seconds: float) -> None:
        """Set the clock ahead, or back where negative."""
        self._set += seconds

    def pass_(self, seconds: float) -> None:
        """Let time pass."""
        self._passed += seconds

    def time(self) -> float:
        return self._wall() + self._set + self._passed

    def time_ns(self) -> int:
        return self._ns() + int((self._set + self._passed) * 1e9)

    def monotonic(self) -> float:
        return self._even() + self._passed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """PostgreSQL's own clock cannot be set from here: where it would be asked, this one is."""
    settable = Clock()
    for name in ("time", "time_ns", "monotonic"):
        monkeypatch.setattr(time, name, getattr(settable, name))
    asked = {name: getattr(db.engine, name) for name in ("clock", "own_clock")}
    for module in [m for name, m in sys.modules.items() if name.split(".")[0] in ("db", "studio", "executor")]:
        for name, function in asked.items():
            if getattr(module, name, None) is function:
                monkeypatch.setattr(module, name, lambda conn: settable.time())
    yield settable
    monkeypatch.undo()
    db.jobs._last_us = 0  # what was made in the future is forgotten with it
    db.clock_steps._seen.clear()


@pytest.fixture
def opened(database: sa.Engine, clock: Clock) -> sa.Engine:
    """A database that this process has open, and looks after, when the clock is set."""
    queue.requeue_expired(database)
    return database


def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process remembers of ids is not what another one does."""
    monkeypatch.setattr(db.jobs, "_last_us", 0)


@pytest.mark.parametrize("step", [-HOUR, HOUR, -20 * 365 * 24 * HOUR])
def test_jobs_are_served_and_listed_in_the_order_they_came(
    opened: sa.Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    asked = []
    for n in range(9):
        if n % 3 == 2:
            clock.set(step if n < 6 else -2 * step)
            another_process(monkeypatch)
        asked.append(add(opened).id)
    assert [job.id for job in queue.queued_jobs(opened)] == asked
    pages: list[str] = []
    while page := queue.list_jobs(opened, before_id=pages[-1] if pages else None, limit=2):
        pages += [job.id for job in page]
    assert pages == asked[::-1], "no page skips or repeats a job"
    assert [take(opened)[0].id for _ in asked] == asked


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_visitors_go_on_taking_turns(
    opened: sa.Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    for submitter in ("ada", "bob", "eve"):
        for _ in range(4):
            add(opened, submitter)
    served = []
    for n in range(12):
        if n in (2, 5):
            clock.set(step)
            another_process(monkeypatch)
        foretold = [job.submitter for job in queue.queued_jobs(opened)]
        assert foretold == (["ada", "bob", "eve"] * 4)[n:]
        served.append(take(opened)[0].submitter)
    assert served == ["ada", "bob", "eve"] * 4


def test_a_newcomer_after_the_step_waits_for_one_job_of_each_other(opened: sa.Engine, clock: Clock) -> None:
    for _ in range(5):
        add(opened, "greedy")
    take(opened)
    clock.set(-HOUR)
    add(opened, "late")
    assert "late" in [take(opened)[0].submitter for _ in range(2)]


def test_a_dead_executors_job_is_back_a_lease_after_the_clock_was_set_back(opened: sa.Engine, clock: Clock) -> None:
    workers.register(opened, worker_id="w1", device="cpu", engines=["x"], places=1, hostname="here", pid=1)
    job = add(opened, max_attempts=1)
    take(opened, "w1", lease_s=LEASE)
    clock.set(-HOUR)
    assert workers.live(opened) == []
    assert queue.requeue_expired(opened) == 0, "it may be alive, and beat again in a moment"
    clock.pass_(LEASE + 1)
    assert queue.requeue_expired(opened) == 1
    back = queue.get(opened, job.id)
    assert (back.state, back.attempt, back.worker_id, back.started_at) == ("queued", 1, None, None)
    assert queue.requeue_expired(opened) == 0


def test_an_executor_that_is_heard_of_keeps_its_job_after_the_clock_was_set_back(
    opened: sa.Engine, clock: Clock
) -> None:
    add(opened)
    (job,) = take(opened, "w1", lease_s=LEASE)
    clock.set(-HOUR)
    queue.heartbeat(opened, worker_id="w1", job_id=job.id, step=2, lease_s=LEASE)
    assert queue.requeue_expired(opened) == 0
    clock.pass_(LEASE + 1)
    assert queue.requeue_expired(opened) == 1, "and loses it when it falls silent"


@pytest.mark.parametrize("just_opened", [False, True])
def test_an_executor_at_work_has_the_time_to_beat_again_after_the_clock_was_set_back(
    opened: sa.Engine, clock: Clock, just_opened: bool
) -> None:
    job = add(opened)
    take(opened, "w1", lease_s=LEASE)
    clock.pass_(2 * LEASE)
    queue.heartbeat(opened, worker_id="w1", job_id=job.id, step=2, lease_s=LEASE)
    clock.set(-HOUR)
    looking = connect(opened.url.render_as_string(hide_password=False)) if just_opened else opened
    for _ in range(4):
        assert queue.requeue_expired(looking) == 0
        clock.pass_(LEASE / 5)
    queue.heartbeat(opened, worker_id="w1", job_id=job.id, step=3, lease_s=LEASE)
    clock.pass_(LEASE / 2)
    assert queue.requeue_expired(looking) == 0
    assert queue.succeed(opened, worker_id="w1", job_id=job.id).attempt == 1
    if just_opened:
        looking.dispose()


def test_a_jump_ahead_costs_nobody_a_job(opened: sa.Engine, clock: Clock) -> None:
    add(opened, max_attempts=1)
    (job,) = take(opened, "w1", lease_s=LEASE)
    clock.pass_(LEASE / 2)
    clock.set(HOUR)
    for _ in range(3):
        assert queue.requeue_expired(opened) == 0
        clock.pass_(LEASE / 4)
    queue.heartbeat(opened, worker_id="w1", job_id=job.id, step=5, lease_s=LEASE)
    clock.pass_(LEASE / 2)
    assert queue.requeue_expired(opened) == 0
    assert queue.succeed(opened, worker_id="w1", job_id=job.id).attempt == 1


def test_an_executor_that_died_before_a_jump_ahead_is_found_a_lease_later(opened: sa.Engine, clock: Clock) -> None:
    job = add(opened)
    take(opened, "w1", lease_s=LEASE)
    clock.set(HOUR)
    assert queue.requeue_expired(opened) == 0
    clock.pass_(LEASE + 1)
    assert queue.requeue_expired(opened) == 1
    assert (queue.get(opened, job.id).state, queue.get(opened, job.id).attempt) == ("queued", 2)


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_job_took_as_long_as_it_ran(opened: sa.Engine, clock: Clock, step: float) -> None:
    add(opened)
    clock.pass_(4)
    (job,) = take(opened, "w1", lease_s=LEASE)
    clock.pass_(5)
    clock.set(step)
    clock.pass_(5)
    queue.heartbeat(opened, worker_id="w1", job_id=job.id, step=8, ran_s=10.0, lease_s=LEASE)
    running = queue.get(opened, job.id)
    assert taken(running) == pytest.approx(10, abs=1)
    clock.pass_(2)
    done = queue.succeed(opened, worker_id="w1", job_id=job.id)
    assert taken(done) == pytest.approx(12, abs=1)
    assert done.created_at <= (done.started_at or 0) <= (done.finished_at or 0)


@pytest.mark.parametrize("when", ["waiting", "running"])
def test_nothing_takes_less_than_nothing(opened: sa.Engine, clock: Clock, when: str) -> None:
    add(opened)
    clock.set(-HOUR if when == "waiting" else 0)
    (job,) = take(opened, "w1", lease_s=LEASE)
    clock.set(-HOUR if when == "running" else 0)
    done = queue.succeed(opened, worker_id="w1", job_id=job.id)
    assert done.created_at <= (done.started_at or 0) <= (done.finished_at or 0)
    assert taken(done) >= 0


def test_nothing_in_figures_and_forecasts_is_negative(opened: sa.Engine, clock: Clock) -> None:
    def register() -> None:
        workers.register(opened, worker_id="w1", device="cpu", engines=["vqgan-clip"], places=2, hostname="h", pid=1)

    register()
    for _ in range(3):
        add(opened)
        (job,) = take(opened, "w1", lease_s=LEASE)
        clock.pass_(10)
        queue.succeed(opened, worker_id="w1", job_id=job.id)
    for submitter in ("ada", "bob"):
        for _ in range(3):
            add(opened, submitter)
    take(opened, "w1", lease_s=LEASE)
    for step in (-HOUR, HOUR, HOUR, -HOUR):
        clock.set(step)
        register()
        seen = figures(opened)
        assert (seen.oldest_wait or 0) >= 0
        assert all(wait >= 0 for wait in seen.next_wait.values())
        assert all(value >= 0 for one in seen.recent.values() for value in [*one.waited, *one.took])
        line = [job.id for job in queue.queued_jobs(opened)]
        waits = [queue.places(opened, line)[job_id].wait for job_id in line]
        assert all(wait is not None and 0 <= wait < 1000 for wait in waits)
        assert waits == sorted(waits, key=lambda wait: wait or 0)


def test_the_limit_of_an_hour_does_not_last_for_two(opened: sa.Engine, clock: Clock) -> None:
    for _ in range(2):
        add(opened, max_per_hour=2)
    clock.pass_(HOUR / 2)
    with pytest.raises(TooManyThisHour):
        add(opened, max_per_hour=2)
    clock.set(-HOUR)
    for _ in range(2):
        add(opened, max_per_hour=2)
    with pytest.raises(TooManyThisHour):
        add(opened, max_per_hour=2)
    clock.pass_(2 * HOUR)
    add(opened, max_per_hour=2)


def test_ends_are_told_when_they_were_to_be(opened: sa.Engine, clock: Clock) -> None:
    new = NewJob(engine="x", checkpoint="y", batch_key="z", prompt="a heart", params={}, total_steps=1)
    job = queue.enqueue(opened, new, submitter="ada", order=Order(webhook=Webhook("https://example.org", "whsec_")))
    queue.request_cancel(opened, job.id)
    clock.set(-HOUR)
    (notice,) = notices.due(opened, limit=8, held_s=60)
    assert notice.job_id == job.id
    assert notices.due(opened, limit=8, held_s=60) == []
    notices.not_told(opened, notice, "no answer")
    assert notices.due(opened, limit=8, held_s=60) == []
    clock.set(-HOUR)
    assert notices.due(opened, limit=8, held_s=60), "the wait of 5 s is not one of an hour"


def test_sheets_and_keys_are_listed_newest_first(
    opened: sa.Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = NewJob(engine="x", checkpoint="y", batch_key="z", prompt="a heart", params={}, total_steps=1)
    sheets, made = [], []
    for step in (0, -HOUR, 2 * HOUR, -3 * HOUR):
        clock.set(step)
        another_process(monkeypatch)
        sheet = NewSheet(kind="candidates", prompt="a heart", wanted=[("seed 1", new), ("seed 2", new)])
        sheets.append(submissions.submit(opened, sheet, submitter="ada")[0].id)
        made.append(keys.make(opened, "a program")[1].id)
    assert [one.id for one in submissions.of_submitter(opened, "ada")] == sheets[::-1]
    assert [one.id for one in keys.every(opened)] == made[::-1]
    for one in sheets:
        members = [member.job.id for member in submissions.jobs_of(opened, one)]
        assert members == sorted(members)


def test_a_ranking_that_failed_is_tried_again_as_soon_as_ever(opened: sa.Engine, clock: Clock) -> None:
    add(opened)
    (job,) = take(opened)
    failed = queue.fail(opened, worker_id="w1", job_id=job.id, kind="x", message="no")
    assert not submissions.to_be_tried([failed], clock.time())
    clock.set(-HOUR)
    assert submissions.to_be_tried([failed], clock.time())


def test_ids_made_anywhere_sort_behind_the_one_they_follow(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [new_id()]
    for step in (-HOUR, 5, -10 * HOUR, 3 * HOUR, -1):
        clock.set(step)
        another_process(monkeypatch)
        ids.append(new_id(after=ids[-1]))
    assert all(one < other for one, other in itertools.pairwise(ids))
    assert {len(one) for one in ids} == {26}
    assert len(new_id(after="f" * 26)) == 26, "an id that no clock made leads nowhere"


def test_an_older_database_keeps_the_turns_of_those_who_wait(database_url: str) -> None:
    engine = connect(database_url)
    for submitter in ("ada", "bob"):
        for _ in range(2):
            add(engine, submitter)
    (first,) = take(engine)
    with writing(engine) as conn:
        conn.execute(sa.text("UPDATE jobs SET turn = NULL, lease_s = NULL"))
        as_of(conn, "0005")
        upgrade(conn)
    engine.dispose()
    engine = connect(database_url)  # a migration comes before a studio opens its database: another id is there now
    with reading(engine) as conn:
        turn = conn.scalar(sa.select(jobs.c.turn).where(jobs.c.id == first.id))
        assert turn == f"{int((first.started_at or 0) * 1e6):014x}"
    assert queue.requeue_expired(engine) == 0, "who runs goes on"
    assert [take(engine)[0].submitter for _ in range(3)] == ["bob", "ada", "bob"]
    assert queue.succeed(engine, worker_id="w1", job_id=first.id).state == State.SUCCEEDED
    engine.dispose()


def test_jobs_since_a_time_are_found_whatever_stands_between_them(opened: sa.Engine, clock: Clock) -> None:
    early = add(opened)
    clock.set(-HOUR)
    between = add(opened)
    clock.set(HOUR)
    late = add(opened)
    found = [job.id for job in queue.list_jobs(opened, since=early.created_at)]
    assert found == [late.id, early.id]
    assert between.id in str(page_query(before_id=between.id).compile(compile_kwargs={"literal_binds": True}))
