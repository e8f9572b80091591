"""A job moves only along the legal transitions, each leaves one event, and a lost lease changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from db import queue
from db.errors import BadValue, IllegalTransition, LeaseLost, NotYours, TooManyQueued, UnknownJob
from db.jobs import ENDED, LEGAL, Job, State, check_transition
from db.rules import host_rules
from db.schema import jobs
from tests.contract.queue_steps import add, in_state, take

STEPS: dict[str, Callable[[sa.Engine, str], object]] = {
    "heartbeat": lambda db, job: queue.heartbeat(db, worker_id="w1", job_id=job, step=1, lease_s=60),
    "succeed": lambda db, job: queue.succeed(db, worker_id="w1", job_id=job),
    "fail": lambda db, job: queue.fail(db, worker_id="w1", job_id=job, kind="nan", message="NaN"),
    "cancel_now": lambda db, job: queue.cancel_now(db, worker_id="w1", job_id=job),
    "release": lambda db, job: queue.release(db, worker_id="w1", job_id=job),
}
LEADS_TO = {
    "heartbeat": State.RUNNING,
    "succeed": State.SUCCEEDED,
    "fail": State.FAILED,
    "cancel_now": State.CANCELLED,
    "release": State.QUEUED,
}


def kinds(db: sa.Engine, job_id: str) -> list[str]:
    return [event.kind for event in queue.events(db, job_id)]


def lapse(db: sa.Engine, job_id: str) -> None:
    with db.begin() as conn:
        conn.execute(sa.update(jobs).where(jobs.c.id == job_id).values(lease_expires_at=1.0))


def test_a_new_job_holds_what_was_asked_for(database: sa.Engine) -> None:
    parent = add(database)
    params = {"seed": 7, "prompt": "ein rotes Herz ❤", "nested": [1, 2.5, None]}
    job = add(database, "bob", prompt="Ein ROTES  Herz ❤", params=params, priority=2, parent_id=parent.id)
    assert queue.get(database, job.id) == job
    assert (job.state, job.prompt, job.params) == (State.QUEUED, "Ein ROTES  Herz ❤", params)
    assert (job.parent_id, job.priority, job.attempt, job.step, job.history) == (parent.id, 2, 1, 0, [])
    assert kinds(database, job.id) == ["queued"]


def test_a_job_from_claim_to_picture(database: sa.Engine) -> None:
    add(database)
    (job,) = take(database)
    assert (job.state, job.worker_id) == (State.RUNNING, "w1")
    assert job.started_at is not None and job.lease_expires_at == pytest.approx(job.started_at + 60)
    cancel = queue.heartbeat(
        database,
        worker_id="w1",
        job_id=job.id,
        step=4,
        score=0.25,
        steps_per_s=2.0,
        history=[[1, 0.1], [4, 0.25]],
        lease_s=60,
    )
    seen = queue.get(database, job.id)
    assert (cancel, seen.step, seen.score, seen.steps_per_s) == (False, 4, 0.25, 2.0)
    assert seen.history == [[1, 0.1], [4, 0.25]]
    done = queue.succeed(database, worker_id="w1", job_id=job.id, score=0.5)
    assert (done.state, done.step, done.score, done.lease_expires_at) == (State.SUCCEEDED, 10, 0.5, None)
    assert done.finished_at is not None and done.finished_at >= job.started_at
    assert kinds(database, job.id) == ["queued", "claimed", "succeeded"]


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("step", list(STEPS))
def test_an_executor_changes_only_a_job_it_runs(database: sa.Engine, state: State, step: str) -> None:
    before = in_state(database, state)
    if state == State.RUNNING:
        STEPS[step](database, before.id)
        assert queue.get(database, before.id).state == LEADS_TO[step]
        return
    with pytest.raises(LeaseLost, match=before.id):
        STEPS[step](database, before.id)
    assert queue.get(database, before.id) == before


@pytest.mark.parametrize("step", list(STEPS))
def test_another_executor_cannot_touch_a_running_job(database: sa.Engine, step: str) -> None:
    before = in_state(database, State.RUNNING, worker_id="w2")
    with pytest.raises(LeaseLost):
        STEPS[step](database, before.id)
    assert queue.get(database, before.id) == before
    assert kinds(database, before.id) == ["queued", "claimed"]


def test_a_failed_job_says_why(database: sa.Engine) -> None:
    job = in_state(database, State.FAILED)
    assert (job.error_kind, job.error) == ("nan", "The picture became NaN.")


@pytest.mark.parametrize("state", ENDED)
def test_a_job_that_has_ended_is_never_claimed_again(database: sa.Engine, state: State) -> None:
    in_state(database, state)
    assert take(database, "w2") == []


@pytest.mark.parametrize("source", list(State))
@pytest.mark.parametrize("target", list(State))
def test_the_table_of_transitions_is_held(source: State, target: State) -> None:
    if target in LEGAL[source]:
        check_transition(source, target)
    else:
        with pytest.raises(IllegalTransition, match=f"A {source} job cannot become {target}"):
            check_transition(source, target)


def test_cancelling_a_waiting_job_is_done_at_once(database: sa.Engine) -> None:
    job = queue.request_cancel(database, add(database).id, submitter="ada")
    assert (job.state, job.cancel_requested) == (State.CANCELLED, True)
    assert take(database) == []
    assert kinds(database, job.id) == ["queued", "cancelled"]


def test_cancelling_a_running_job_asks_its_executor(database: sa.Engine) -> None:
    job = in_state(database, State.RUNNING)
    asked = queue.request_cancel(database, job.id)
    assert (asked.state, asked.cancel_requested) == (State.RUNNING, True)
    assert queue.request_cancel(database, job.id) == asked
    assert queue.heartbeat(database, worker_id="w1", job_id=job.id, step=2, lease_s=60) is True
    assert queue.cancel_now(database, worker_id="w1", job_id=job.id).state == State.CANCELLED
    assert kinds(database, job.id) == ["queued", "claimed", "cancel_requested", "cancelled"]


@pytest.mark.parametrize("state", ENDED)
def test_cancelling_a_job_that_has_ended_changes_nothing(database: sa.Engine, state: State) -> None:
    before = in_state(database, state)
    assert queue.request_cancel(database, before.id, submitter="ada") == before


def test_only_the_submitter_cancels(database: sa.Engine) -> None:
    job = add(database, "ada")
    with pytest.raises(NotYours, match="somebody else"):
        queue.request_cancel(database, job.id, submitter="bob")
    assert queue.get(database, job.id) == job


def test_a_released_job_waits_again_at_no_cost(database: sa.Engine) -> None:
    job = in_state(database, State.RUNNING)
    queue.heartbeat(database, worker_id="w1", job_id=job.id, step=6, lease_s=60)
    back = queue.release(database, worker_id="w1", job_id=job.id)
    assert (back.state, back.attempt, back.worker_id, back.step) == (State.QUEUED, 1, None, 6)
    (again,) = take(database, "w2")
    assert (again.id, again.attempt) == (job.id, 1)
    assert kinds(database, job.id) == ["queued", "claimed", "released", "claimed"]


def test_a_released_job_that_was_to_be_cancelled_is(database: sa.Engine) -> None:
    job = in_state(database, State.RUNNING)
    queue.request_cancel(database, job.id)
    assert queue.release(database, worker_id="w1", job_id=job.id).state == State.CANCELLED


def test_a_job_whose_executor_fell_silent_goes_to_another(database: sa.Engine) -> None:
    job = in_state(database, State.RUNNING)
    assert queue.requeue_expired(database) == 0
    lapse(database, job.id)
    assert queue.requeue_expired(database) == 1
    assert queue.requeue_expired(database) == 0
    back = queue.get(database, job.id)
    assert (back.state, back.attempt, back.worker_id) == (State.QUEUED, 2, None)
    (again,) = take(database, "w2")
    assert again.id == job.id
    with pytest.raises(LeaseLost):
        queue.heartbeat(database, worker_id="w1", job_id=job.id, step=5, lease_s=60)
    with pytest.raises(LeaseLost):
        queue.succeed(database, worker_id="w1", job_id=job.id)
    assert kinds(database, job.id) == ["queued", "claimed", "lease_expired", "claimed"]


def test_a_job_that_loses_every_executor_fails_with_the_reason(database: sa.Engine) -> None:
    job = add(database, max_attempts=2)
    for _ in range(2):
        take(database)
        lapse(database, job.id)
        queue.requeue_expired(database)
    lost = queue.get(database, job.id)
    assert (lost.state, lost.error_kind) == (State.FAILED, "executor_lost")
    assert lost.error is not None and "the last of 2 attempts" in lost.error


def test_a_lost_job_that_was_to_be_cancelled_is(database: sa.Engine) -> None:
    job = in_state(database, State.RUNNING)
    queue.request_cancel(database, job.id)
    lapse(database, job.id)
    queue.requeue_expired(database)
    assert queue.get(database, job.id).state == State.CANCELLED


def test_a_heartbeat_renews_the_lease(database: sa.Engine) -> None:
    job = in_state(database, State.RUNNING)
    lapse(database, job.id)
    queue.heartbeat(database, worker_id="w1", job_id=job.id, step=1, lease_s=60)
    assert queue.requeue_expired(database) == 0


def test_an_executor_reports_all_its_jobs_at_once_and_hears_which_are_to_stop_and_which_it_has_lost(
    database: sa.Engine,
) -> None:
    going, stopping, lost = (in_state(database, State.RUNNING) for _ in range(3))
    queue.request_cancel(database, stopping.id)
    queue.release(database, worker_id="w1", job_id=lost.id)
    said = [queue.Progress(job_id=job.id, step=n, score=0.25) for n, job in enumerate((lost, stopping, going), 3)]
    heard = queue.heartbeats(database, worker_id="w1", progress=said, lease_s=600.0)
    assert heard == {going.id: False, stopping.id: True}
    now = queue.get(database, going.id)
    assert (now.step, now.score) == (5, 0.25)
    assert (now.lease_expires_at or 0.0) > (going.lease_expires_at or 0.0) + 500.0
    assert queue.get(database, lost.id).step == 0


def test_a_long_score_curve_is_thinned_and_nan_left_out(database: sa.Engine) -> None:
    job = in_state(database, State.RUNNING)
    curve = [[i, i / 1000] for i in range(1000)] + [[1000, float("nan")]]
    queue.heartbeat(database, worker_id="w1", job_id=job.id, step=9, score=float("nan"), history=curve, lease_s=60)
    seen = queue.get(database, job.id)
    assert seen.score is None
    assert len(seen.history) == 200
    assert (seen.history[0], seen.history[-1]) == ([0, 0.0], [999, 0.999])


def test_one_visitor_may_have_so_many_jobs_waiting(database: sa.Engine) -> None:
    for _ in range(3):
        add(database, max_queued=3)
    with pytest.raises(TooManyQueued, match="3 jobs waiting") as refused:
        add(database, max_queued=3)
    assert refused.value.limit == 3
    add(database, "bob", max_queued=3)
    take(database)
    add(database, max_queued=3)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"prompt": "a\x00b"}, "NUL"),
        ({"params": {"style": "a\x00b"}}, "The style holds a NUL"),
        ({"params": {"clip": ["mini", "\ud800"]}}, "half of a character"),
        ({"prompt": "a\ud800b"}, "lone surrogate"),
        ({"params": {"lr": float("nan")}}, "no JSON"),
        ({"params": {"lr": object()}}, "no JSON"),
        ({"total_steps": 0}, "total_steps is 0; at least 1"),
        ({"engine": ""}, "1 to 64 are permitted"),
        ({"submitter": "x" * 129}, "129 characters; 1 to 128"),
    ],
)
def test_what_no_database_can_hold_is_refused(database: sa.Engine, fields: dict[str, object], said: str) -> None:
    with pytest.raises(BadValue, match=said):
        add(database, **fields)
    assert queue.list_jobs(database) == []


@pytest.mark.parametrize("prompt", ["x" * 20_000, "'; DROP TABLE jobs; --", "<b>hi</b>", "%_\\", "火の玉 🔥", ""])
def test_any_other_prompt_is_kept_as_it_is(database: sa.Engine, prompt: str) -> None:
    assert queue.get(database, add(database, prompt=prompt).id).prompt == prompt


def test_an_unknown_job_is_named(database: sa.Engine) -> None:
    calls: list[Callable[[], Job | list[queue.Event] | tuple[int, float | None]]] = [
        lambda: queue.get(database, "nope"),
        lambda: queue.request_cancel(database, "nope"),
        lambda: queue.events(database, "nope"),
        lambda: queue.position_and_wait(database, "nope"),
        lambda: queue.set_hidden(database, "nope"),
        lambda: add(database, parent_id="nope"),
    ]
    for call in calls:
        with pytest.raises(UnknownJob, match="'nope'"):
            call()


def test_a_finished_job_says_that_it_waits_for_the_store_until_it_does_not(database: sa.Engine) -> None:
    add(database)
    (job,) = take(database, "w1")
    beat = {"worker_id": "w1", "job_id": job.id, "step": 10, "lease_s": 60.0}
    queue.heartbeat(database, **beat, waits_for="store")
    assert queue.get(database, job.id).waits_for == "store"
    queue.heartbeat(database, **beat)
    assert queue.get(database, job.id).waits_for is None
    queue.heartbeat(database, **beat, waits_for="store")
    assert queue.succeed(database, worker_id="w1", job_id=job.id).waits_for is None


def test_who_falls_silent_while_a_finished_job_waits_for_the_store_costs_it_no_attempt(database: sa.Engine) -> None:
    add(database, max_attempts=1)
    (job,) = take(database, "w1", lease_s=0.01)
    queue.heartbeat(database, worker_id="w1", job_id=job.id, step=10, waits_for="store", lease_s=0.01)
    time.sleep(0.05)
    assert queue.requeue_expired(database) == 1
    back = queue.get(database, job.id)
    assert (back.state, back.attempt, back.waits_for) == (State.QUEUED, 1, None)


def test_an_executor_takes_the_job_whose_files_it_has_and_nobody_elses(database: sa.Engine) -> None:
    first, job = add(database), add(database)
    taken = queue.claim_this(database, worker_id="w1", job_id=job.id, lease_s=60)
    assert taken is not None and (taken.state, taken.worker_id) == (State.RUNNING, "w1")
    assert queue.claim_this(database, worker_id="w2", job_id=job.id, lease_s=60) is None
    assert queue.claim_this(database, worker_id="w2", job_id="0" * 26, lease_s=60) is None
    assert queue.get(database, job.id).worker_id == "w1"
    assert [event.kind for event in queue.events(database, job.id)][-1] == "claimed"
    host_rules.change(database, paused=True)
    assert queue.claim_this(database, worker_id="w1", job_id=first.id, lease_s=60) is None
