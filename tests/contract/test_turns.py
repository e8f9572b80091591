"""One press does not block the studio: shares of the places, slices of time, and what one job may cost."""

from __future__ import annotations

import math
from typing import Any

import pytest
import sqlalchemy as sa

from db import queue
from db.errors import BadValue, OverBudget
from db.jobs import Job, State
from db.queue import Limits, NewJob, estimate, workers
from db.queue.enqueueing import add as add_all
from db.rules import host_rules
from db.schema import jobs
from tests.contract.queue_steps import add, take

LONG = {"total_steps": 20_000, "batch_key": "vqgan-clip mini clip 256x256", "pixels": 65_536}


def register(db: sa.Engine, worker_id: str = "w1", places: int = 4, **how: Any) -> None:
    how = {"engines": ("vqgan-clip",), "slice_s": 120.0, "share": 0.5, **how}
    workers.register(db, worker_id=worker_id, device="cpu", places=places, hostname="here", pid=1, **how)


def long_ago(db: sa.Engine, job: Job, ran_s: float, step: int = 300, per_s: float = 2.5) -> None:
    """The job has run for so long, and has come to this step."""
    queue.heartbeat(db, worker_id=str(job.worker_id), job_id=job.id, step=step, steps_per_s=per_s, lease_s=60)
    with db.begin() as conn:
        conn.execute(sa.update(jobs).where(jobs.c.id == job.id).values(started_at=jobs.c.started_at - ran_s))


def making_room(db: sa.Engine, ready: list[Job], worker_id: str = "w1", places: int = 4) -> list[str]:
    """Whose jobs make room now."""
    ids = {job.id: job.submitter for job in ready}
    chosen = queue.to_make_room(db, worker_id=worker_id, engines=["vqgan-clip"], ready=ids, places=places)
    return sorted(ids[job_id] for job_id in chosen)


def pause(db: sa.Engine, job: Job, step: int = 300, spent_s: float = 30.0) -> Job:
    return queue.release(db, worker_id=str(job.worker_id), job_id=job.id, step=step, spent_s=spent_s, slice_over=True)


def measured(db: sa.Engine, cost_s: float, steps: int = 100, **fields: Any) -> None:
    """A job like this was done lately, and cost so much."""
    add(db, "before", total_steps=steps, **fields)
    (job,) = take(db, "w0")
    queue.heartbeat(db, worker_id="w0", job_id=job.id, step=steps, spent_s=cost_s, lease_s=60)
    queue.succeed(db, worker_id="w0", job_id=job.id)
    with db.begin() as conn:
        conn.execute(sa.update(jobs).where(jobs.c.id == job.id).values(started_at=jobs.c.finished_at - cost_s))


def ask(db: sa.Engine, max_job_s: float | None, jobs_asked: int = 1, **fields: Any) -> Job:
    usual = {"engine": "vqgan-clip", "checkpoint": "mini", "prompt": "x", "params": {}, "batch_key": "k"}
    new = NewJob(**{**usual, **fields})  # type: ignore[arg-type]
    with db.begin() as conn:
        return add_all(conn, [new] * jobs_asked, "ada", Limits(max_job_s=max_job_s))[0]


def test_who_waits_alone_may_have_all_places(database: sa.Engine) -> None:
    register(database)
    for _ in range(6):
        add(database, "greedy")
    assert len(take(database, limit=4, share=0.5)) == 4


def test_while_others_wait_one_visitor_gets_half_of_all_executors_places(database: sa.Engine) -> None:
    register(database, "w1", 2)
    register(database, "w2", 2)
    for _ in range(6):
        add(database, "greedy")
    add(database, "late", batch_key="another")
    first = take(database, "w1", limit=2, share=0.5)
    assert [job.submitter for job in first] == ["greedy", "greedy"]
    assert [job.submitter for job in take(database, "w2", limit=2, share=0.5)] == ["late"]
    assert [job.submitter for job in take(database, "w2", limit=1, share=0.5)] == ["greedy"], "nobody else waits now"


def test_jobs_that_fit_the_batch_do_not_pass_those_who_have_less_than_their_share(database: sa.Engine) -> None:
    register(database)
    for _ in range(6):
        add(database, "greedy")
    take(database, limit=2, share=0.5)
    add(database, "late", batch_key="another")
    (kept,) = {job.batch_key for job in queue.running_jobs(database)}
    assert take(database, limit=2, batch_key=kept, share=0.5) == []
    assert [job.submitter for job in take(database, limit=2, share=0.5)] == ["late"]
    assert [job.submitter for job in take(database, limit=1, batch_key=kept, share=0.5)] == ["greedy"]


@pytest.mark.parametrize(("places", "share", "most"), [(1, 0.5, 1), (3, 0.5, 1), (4, 0.5, 2), (10, 0.1, 1), (4, 1, 4)])
def test_a_share_is_one_place_at_least(database: sa.Engine, places: int, share: float, most: int) -> None:
    register(database, places=places)
    for _ in range(places):
        add(database, "greedy")
    for _ in range(places):
        add(database, "other")
    taken = [job.submitter for _ in range(places) for job in take(database, share=share)]
    assert taken.count("greedy") <= max(most, math.ceil(places / 2))
    assert set(taken) == ({"greedy", "other"} if places > 1 else {"greedy"})


def test_whom_the_host_serves_next_goes_before_shares(database: sa.Engine) -> None:
    register(database)
    for _ in range(5):
        add(database, "greedy")
    take(database, limit=4, share=0.5)
    add(database, "late")
    urgent = next(job for job in queue.queued_jobs(database) if job.submitter == "greedy")
    queue.to_front(database, urgent.id)
    assert [job.id for job in take(database, share=0.5)] == [urgent.id]


def test_a_long_job_makes_room_after_its_slice_and_only_where_others_wait(database: sa.Engine) -> None:
    register(database)
    for _ in range(4):
        add(database, "greedy", **LONG)
    held = take(database, limit=4)
    for job in held:
        long_ago(database, job, 130)
    assert making_room(database, held) == [], "nobody waits"
    add(database, "greedy")
    assert making_room(database, held) == [], "a fresh job of the same visitor pushes none of their own out"
    add(database, "late")
    assert making_room(database, held) == ["greedy"], "one waits, one makes room"
    assert making_room(database, held, places=5) == [], "a place is free"
    host_rules.change(database, paused=True)
    assert making_room(database, held) == [], "who waits could not be claimed"


def test_who_made_room_stands_behind_all_who_wait_and_spends_no_attempt(database: sa.Engine) -> None:
    register(database)
    first = add(database, "greedy", **LONG)
    (job,) = take(database)
    long_ago(database, job, 130)
    add(database, "late")
    add(database, "later")
    own = add(database, "greedy")
    waits = pause(database, job)
    assert (waits.state, waits.step, waits.attempt, waits.spent_s) == (State.QUEUED, 300, 1, 30.0)
    assert waits.ran_s == pytest.approx(130, abs=5)
    assert [one.submitter for one in queue.queued_jobs(database)][:2] == ["late", "later"]
    served = [take(database, batch_key=key)[0:1] for key in (None, None)]
    assert [one.submitter for (one,) in served] == ["late", "later"]
    assert take(database, batch_key=own.batch_key) == [], "a fresh job does not pass one's own that made room"
    assert [one.id for _ in range(2) for one in take(database)] == [first.id, own.id]
    assert [event.kind for event in queue.events(database, first.id)] == ["queued", "claimed", "paused", "claimed"]


def test_a_job_that_makes_room_while_it_is_cancelled_is_cancelled(database: sa.Engine) -> None:
    add(database)
    (job,) = take(database)
    queue.request_cancel(database, job.id)
    assert pause(database, job).state == State.CANCELLED


def test_places_are_not_passed_to_and_fro_between_those_who_have_as_many(database: sa.Engine) -> None:
    register(database, places=2)
    for who in ("ada", "bob"):
        for _ in range(2):
            add(database, who, **LONG)
    held = take(database, limit=2)
    for job in held:
        long_ago(database, job, 130)
    assert making_room(database, held, places=2) == []
    add(database, "eve")
    assert len(making_room(database, held, places=2)) == 1


def test_a_job_makes_room_for_nobody_before_its_slice_nor_when_it_is_nearly_done(database: sa.Engine) -> None:
    register(database, "w1", 1)
    register(database, "w2", 1)
    for _ in range(2):
        add(database, "greedy", **LONG)
    (mine,), (other,) = take(database, "w1"), take(database, "w2")
    add(database, "late")
    long_ago(database, mine, 130)
    long_ago(database, other, 100)
    assert making_room(database, [other], "w2", 1) == [], "the other executor's job has had its slice, this one not"
    assert making_room(database, [mine], "w1", 1) == ["greedy"]
    long_ago(database, mine, 0, step=19_990)
    long_ago(database, other, 0, step=19_990)
    assert making_room(database, [], "w1", 1) == []


def test_two_executors_do_not_both_make_room_for_one_who_waits(database: sa.Engine) -> None:
    register(database, "w1", 1)
    register(database, "w2", 1)
    for _ in range(2):
        add(database, "greedy", **LONG)
    held = [take(database, "w1")[0], take(database, "w2")[0]]
    for job, ran in zip(held, (130, 200), strict=True):
        long_ago(database, job, ran)
    add(database, "late")
    assert making_room(database, held[:1], "w1", 1) == []
    assert making_room(database, held[1:], "w2", 1) == ["greedy"]


def test_no_room_is_made_for_what_this_executor_does_not_serve(database: sa.Engine) -> None:
    register(database, places=1)
    add(database, "greedy", **LONG)
    held = take(database)
    long_ago(database, held[0], 130)
    add(database, "late", engine="biggan-clip")
    assert making_room(database, held, places=1) == []


def test_the_told_waits_know_slices_and_shares(database: sa.Engine) -> None:
    register(database)
    measured(database, 10.0)
    for _ in range(4):
        add(database, "greedy", **LONG)
    held = take(database, limit=4)
    late = add(database, "late")
    assert estimate.position_and_wait(database, late.id)[1] == pytest.approx(120, abs=20)
    for job in held:
        long_ago(database, job, 100)
    assert estimate.position_and_wait(database, late.id)[1] == pytest.approx(20, abs=6)
    (waits,) = [pause(database, held[0])]
    take(database)
    (place,) = queue.places(database, [waits.id]).values()
    assert place.wait is not None and place.wait < 60, "its turn comes again when the short one is done"


def test_the_time_left_knows_that_others_end_before(database: sa.Engine) -> None:
    register(database, slice_s=None)
    for _ in range(3):
        measured(database, 10.0)
    for _ in range(4):
        add(database, total_steps=100)
    held = take(database, limit=4)
    for job, step in zip(held, (90, 90, 90, 0), strict=True):
        queue.heartbeat(database, worker_id="w1", job_id=job.id, step=step, steps_per_s=1.0, lease_s=60)
    left = estimate.time_left(database)
    assert [left[job.id] for job in held[:3]] == pytest.approx([10] * 3, abs=1)
    assert 10 < left[held[3].id] < 60, "alone it is faster than beside three others, where 100 steps would take 100 s"
    add(database, "late")
    assert estimate.time_left(database)[held[3].id] == pytest.approx(100, abs=2), "its neighbours' places are taken"


def test_a_wish_that_costs_too_much_is_refused_with_what_would_fit(database: sa.Engine) -> None:
    measured(database, 50.0, batch_key="k", pixels=4096)
    with pytest.raises(
        OverBudget,
        match=r"^This would take about 2 h 50 min here, and the host allows one job 30 min; ask for "
        "3,600 steps or fewer instead of 20,000, or for a smaller size.$",
    ):
        ask(database, 1800, total_steps=20_000, pixels=4096)
    with pytest.raises(OverBudget, match=r"^Each of these 4 jobs would take about 2 h 50 min here"):
        ask(database, 1800, 4, total_steps=20_000, pixels=4096)
    assert not queue.queued_jobs(database), "none of them is queued"
    fits = ask(database, 1800, total_steps=3600, pixels=4096)
    assert fits.budget_s == 1800, "what was told is what holds"
    for none in (None, 0):
        assert ask(database, none, total_steps=20_000, pixels=4096).budget_s is None


def test_a_size_that_was_never_drawn_is_refused_only_where_it_is_certain(database: sa.Engine) -> None:
    assert ask(database, 60, total_steps=10**6, pixels=4096), "nothing is known yet"
    queue.request_cancel(database, queue.queued_jobs(database)[0].id)
    measured(database, 10.0, batch_key="vqgan-clip mini clip 64x64", pixels=4096)  # 0.1 s a step
    large = {"batch_key": "vqgan-clip mini clip 256x256", "pixels": 65_536}
    assert ask(database, 1800, total_steps=15_000, **large), "0.1 s a step is the least, it may be no more"
    with pytest.raises(OverBudget, match="at least 33 min"):
        ask(database, 1800, total_steps=20_000, **large)
    assert ask(database, 1800, total_steps=20_000, batch_key="vqgan-clip other clip 256x256", pixels=65_536)
    queue_all = [job.id for job in queue.queued_jobs(database)]
    for job_id in queue_all:
        queue.request_cancel(database, job_id)
    measured(database, 70.0, batch_key="vqgan-clip mini clip 128x128", pixels=16_384)  # a line: 3.1 s a step at 256 px
    with pytest.raises(OverBudget, match=r"at least 2 h 40 min.* 560 steps or fewer"):
        ask(database, 1800, total_steps=3_000, **large)


def test_a_size_that_only_ran_over_its_budget_is_known_from_that(database: sa.Engine) -> None:
    first = ask(database, 60, total_steps=1000, pixels=65_536)
    (job,) = take(database)
    assert job.id == first.id
    queue.heartbeat(database, worker_id="w1", job_id=job.id, step=100, spent_s=60.0, lease_s=60)
    with pytest.raises(OverBudget, match="about 10 min"):  # while it runs
        ask(database, 60, total_steps=1000, pixels=65_536)
    queue.fail(database, worker_id="w1", job_id=job.id, kind="over_budget", message="x")
    with pytest.raises(OverBudget, match="about 10 min"):
        ask(database, 60, total_steps=1000, pixels=65_536)


def test_what_downloads_take_is_not_up_to_who_asks(database: sa.Engine) -> None:
    measured(database, 500.0, batch_key="k")
    assert ask(database, 60, total_steps=100, budgeted=False).budget_s is None


def test_the_hosts_budget_goes_before_the_configured_one_and_not_for_the_host(database: sa.Engine) -> None:
    limits = Limits(max_job_s=1800.0)
    assert limits.under(host_rules.change(database, max_job_s=60)).max_job_s == 60
    assert limits.under(host_rules.change(database, max_job_s=0)).max_job_s == 0
    assert Limits(3, 4, 1800.0, own=True).under(host_rules.change(database, max_job_s=60)) == Limits(3, 4, 60, own=True)
    assert Limits().under(host_rules.get(database)).max_job_s is None, "whoever has no such limit has none"
    assert host_rules.change(database, max_job_s=None).max_job_s is None
    for bad in (-1, math.nan, math.inf, "60", True, 10**9):
        with pytest.raises(BadValue, match="max_job_s"):
            host_rules.change(database, max_job_s=bad)
