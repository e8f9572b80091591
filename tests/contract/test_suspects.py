"""After an executor was lost, what ran there runs alone: who kills executors is found, and takes nobody along."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from db import queue
from db.jobs import Job, State
from db.queue import suspects, workers
from db.schema import jobs
from db.schema import workers as workers_table
from tests.contract.queue_steps import add, take
from tests.contract.test_turns import measured


def machine(db: sa.Engine, *names: str, device: str = "cpu", hostname: str = "here", places: int = 4) -> None:
    for name in names:
        workers.register(
            db, worker_id=name, device=device, engines=["vqgan-clip"], places=places, hostname=hostname, pid=1
        )


def lose(db: sa.Engine, *worker_ids: str) -> int:
    """The executors fell silent a while ago."""
    with db.begin() as conn:
        conn.execute(sa.update(jobs).where(jobs.c.worker_id.in_(worker_ids)).values(lease_expires_at=1.0))
        conn.execute(sa.update(workers_table).where(workers_table.c.id.in_(worker_ids)).values(beat_at=1.0))
    return queue.requeue_expired(db)


def beat(db: sa.Engine, job: Job, step: int, ran_s: float | None = None, lease_s: float = 60.0) -> None:
    queue.heartbeat(db, worker_id=str(job.worker_id), job_id=job.id, step=step, ran_s=ran_s, lease_s=lease_s)


def seen(db: sa.Engine, *asked: Job) -> list[Job]:
    return [queue.get(db, job.id) for job in asked]


def kinds(db: sa.Engine, job: Job) -> list[str]:
    return [event.kind for event in queue.events(db, job.id)]


def lost_together(db: sa.Engine, count: int = 4, **fields: object) -> list[Job]:
    """Jobs of as many visitors whose executor w1 was lost."""
    made = [add(db, f"visitor {n}", **fields) for n in range(count)]
    assert len(take(db, limit=count)) == count
    assert lose(db, "w1") == count
    return made


def test_who_was_lost_beside_others_spends_no_attempt(database: sa.Engine) -> None:
    made = lost_together(database)
    assert [(job.state, job.attempt, job.worker_id) for job in seen(database, *made)] == [("queued", 1, None)] * 4
    assert kinds(database, made[0]) == ["queued", "claimed", "suspected"]
    (said,) = [e for e in queue.events(database, made[0].id) if e.kind == "suspected"]
    assert said.worker_id == "w1" and "beside 3 others; it will run alone" in str(said.detail)


def test_a_killer_fails_alone_and_the_three_beside_it_succeed_at_their_first_attempt(database: sa.Engine) -> None:
    made = [add(database, f"visitor {n}") for n in range(4)]
    killer, losses = made[1], 0
    for _ in range(40):
        claimed = take(database, "w1", limit=4)
        if not claimed:
            break
        if killer.id in [job.id for job in claimed]:
            losses += 1
            lose(database, "w1")
            continue
        for job in claimed:
            queue.succeed(database, worker_id="w1", job_id=job.id)
    assert losses == 1 + 3, "once beside the others, then alone as often as it may"
    *others, failed = seen(database, *(job for job in made if job is not killer), killer)
    assert [(job.state, job.attempt) for job in others] == [("succeeded", 1)] * 3
    assert (failed.state, failed.error_kind, failed.worker_id) == ("failed", "executor_lost", "w1")
    assert failed.error is not None and "the last of 3 attempts" in failed.error and "alone" in failed.error


def test_a_suspect_takes_no_companion_and_is_claimed_by_nobody_who_holds_something(database: sa.Engine) -> None:
    suspect = lost_together(database, 2)[0]
    (alone,) = take(database, "w2", limit=4)
    assert alone.id == suspect.id
    fresh = [add(database, "eve") for _ in range(3)]
    assert take(database, "w2", limit=4) == [], "it claims nothing beside a suspect"
    assert take(database, "w2", limit=4, batch_key=fresh[0].batch_key) == []
    (other,) = take(database, "w3", limit=4)
    assert other.suspect_step == 0, "elsewhere the second suspect runs"
    assert {job.id for job in take(database, "w4", limit=4)} == {job.id for job in fresh}, "and others go on together"


def test_a_suspect_leaves_others_their_turns(database: sa.Engine) -> None:
    add(database, "before")
    add(database, "before")
    assert len(take(database, limit=2)) == 2
    waiting = [add(database, f"other {n}") for n in range(2)]
    lose(database, "w1")
    machine(database, "busy", "idle")
    front = queue.to_front(database, waiting[0].id)
    assert [job.id for job in take(database, "busy", limit=1)] == [front.id], "whose turn it is goes first"
    assert [job.id for job in take(database, "busy", limit=4)] == [waiting[1].id], "past the suspects"
    assert [job.suspect_step for job in take(database, "idle", limit=4)] == [0]


def test_one_executor_makes_way_for_a_suspect_and_the_others_go_on(database: sa.Engine) -> None:
    lost_together(database, 2)
    with database.begin() as conn:
        conn.execute(sa.update(jobs).values(priority=1))
    machine(database, "a", "b")
    for n in range(3):
        add(database, f"other {n}", priority=9)
    held = take(database, "b", limit=2)
    (first,) = take(database, "a", limit=1)
    add(database, "late", priority=0)
    assert not queue.makes_way(database, "b") and queue.makes_way(database, "a"), "the one with the fewest jobs"
    assert take(database, "a", limit=4) == [], "it claims nothing more"
    assert take(database, "a", limit=4, batch_key=first.batch_key) == []
    assert len(take(database, "b", limit=4)) == 1, "the other goes on with who is behind"
    queue.release(database, worker_id="a", job_id=first.id)
    (suspect,) = take(database, "a", limit=4, alone=True)
    assert suspect.suspect_step == 0, "not what it just gave back"
    assert not queue.makes_way(database, "b"), "the second suspect waits for the first to be past, not for them"
    assert held


def test_the_told_waits_know_that_suspects_run_alone(database: sa.Engine) -> None:
    measured(database, 10.0)
    one, two = lost_together(database, 2, total_steps=100)
    machine(database, "w1")
    late = add(database, "late", total_steps=100)
    waits = [queue.position_and_wait(database, job.id)[1] for job in (one, two, late)]
    assert waits == [0, pytest.approx(10, rel=0.3), pytest.approx(20, rel=0.3)]
    take(database)
    assert queue.position_and_wait(database, two.id)[1] == pytest.approx(10, rel=0.3)


def test_on_one_device_suspects_run_one_after_the_other(database: sa.Engine) -> None:
    machine(database, "w1", "w2", "w3")
    machine(database, "far", hostname="there")
    lost_together(database, 3)
    assert len(take(database, "w2", limit=4)) == 1
    assert take(database, "w3", limit=4) == [], "who takes the neighbour's executor along would not be found"
    assert len(take(database, "far", limit=4)) == 1


def test_a_job_that_takes_the_neighbours_executor_along_is_found(database: sa.Engine) -> None:
    machine(database, "w1", "w2")
    killer, neighbour = add(database, "ada"), add(database, "bob")
    for n in range(1, 30):
        one = take(database, "w1", limit=1)
        two = take(database, "w2", limit=1)
        if not one + two:
            break
        if killer.id in [job.id for job in one + two]:
            lose(database, "w1", "w2")
            machine(database, "w1", "w2")
        else:
            for job in one + two:
                queue.succeed(database, worker_id=str(job.worker_id), job_id=job.id)
        if n % 2:
            add(database, f"newcomer {n}")
    everybody = queue.list_jobs(database)
    assert {job.state for job in everybody if job.id != killer.id} == {State.SUCCEEDED}
    assert {job.attempt for job in everybody if job.id != killer.id} == {1}
    assert seen(database, neighbour)[0].state == "succeeded"
    assert (seen(database, killer)[0].state, seen(database, killer)[0].error_kind) == ("failed", "executor_lost")


def test_power_cuts_fail_nobody_who_was_not_alone(database: sa.Engine) -> None:
    machine(database, "w1", "w2")
    made = [add(database, f"visitor {n}") for n in range(4)]
    take(database, "w1", limit=1)
    take(database, "w2", limit=3)
    assert lose(database, "w1", "w2") == 4
    assert [job.attempt for job in seen(database, *made)] == [1] * 4, "also not who was alone on one of them"


def test_executors_of_several_machines_lost_at_once_are_nobodys_fault(database: sa.Engine) -> None:
    machine(database, "w1")
    machine(database, "w2", hostname="there")
    one, two = add(database, "ada"), add(database, "bob")
    for _ in range(3):  # as suspects as well
        take(database, "w1", limit=1)
        take(database, "w2", limit=1)
        assert lose(database, "w1", "w2") == 2
    assert [(job.state, job.attempt) for job in seen(database, one, two)] == [("queued", 1)] * 2


def test_jobs_that_kill_executors_for_ever_do_not_go_on_for_ever(database: sa.Engine) -> None:
    machine(database, "w1")
    machine(database, "w2", hostname="there")
    for who in ("ada", "bob"):
        add(database, who)
    for _ in range(60):
        if not take(database, "w1", limit=1) + take(database, "w2", limit=1):
            break
        lose(database, "w1", "w2")
    assert {job.state for job in queue.list_jobs(database)} == {State.FAILED}


def test_all_that_an_executor_held_is_looked_at_together(database: sa.Engine) -> None:
    one, two = add(database, "ada"), add(database, "bob")
    take(database, limit=2, lease_s=60)
    expired = queue.get(database, one.id).started_at or 0.0
    with database.begin() as conn:
        conn.execute(sa.update(jobs).where(jobs.c.id == one.id).values(lease_expires_at=expired - 1))
        conn.execute(sa.update(jobs).where(jobs.c.id == two.id).values(lease_expires_at=expired + 20))
    assert queue.requeue_expired(database) == 0, "the second was renewed later: whether it is lost as well is not known"
    with database.begin() as conn:
        conn.execute(sa.update(jobs).where(jobs.c.id == two.id).values(lease_expires_at=2.0))
    assert queue.requeue_expired(database) == 2
    assert [job.attempt for job in seen(database, one, two)] == [1, 1]


def test_a_job_that_a_living_executor_let_slip_is_alone(database: sa.Engine) -> None:
    one, two = add(database, "ada"), add(database, "bob")
    take(database, limit=2)
    with database.begin() as conn:
        conn.execute(sa.update(jobs).where(jobs.c.id == one.id).values(lease_expires_at=1.0))
    assert queue.requeue_expired(database) == 1
    slipped, kept = seen(database, one, two)
    assert (slipped.state, slipped.attempt) == ("queued", 2) and (kept.state, kept.suspect_step) == ("running", None)


def test_a_suspect_that_got_well_past_the_step_of_its_loss_may_share_again(database: sa.Engine) -> None:
    made = [add(database, f"visitor {n}", total_steps=500) for n in range(2)]
    for job in take(database, limit=2):
        beat(database, job, 40)
    lose(database, "w1")
    (job,) = take(database, "w2", limit=2)
    for step, ran_s in ((40, 100.0), (41, 101.0), (60, 150.0)):
        beat(database, job, step, ran_s)
        assert seen(database, job)[0].suspect_step == 40
    late = add(database, "late")
    assert take(database, "w2", limit=2, engines=["vqgan-clip"]) == []
    beat(database, job, 70, 161.0)  # a lease of 60 s past the step
    assert (seen(database, job)[0].suspect_step, kinds(database, job)[-1]) == (None, "cleared")
    taken = take(database, "w2", limit=2, batch_key=late.batch_key)
    assert taken == [], "it makes way for the other suspect, whose turn it is"
    queue.release(database, worker_id="w2", job_id=job.id)
    (other,) = take(database, "w2", alone=True)
    assert {job.id, other.id} == {one.id for one in made}


def test_attempts_spent_on_the_way_are_given_anew_once_it_has_got_on(database: sa.Engine) -> None:
    add(database, total_steps=500)
    for n in range(5):  # more often than it may be lost at one place
        (job,) = take(database, f"w{n}")
        beat(database, job, 50 * n + 10, 1.0)
        beat(database, job, 50 * n + 40, 2.0 + suspects.probation_s(60.0, n))
        lose(database, f"w{n}")
        (now,) = seen(database, job)
        assert (now.state, now.attempt, now.max_attempts) == ("queued", n + 2, 3 + n)
    for n in (5, 6):
        (job,) = take(database, f"w{n}")
        beat(database, job, 241, 1.0)
        lose(database, f"w{n}")
    assert seen(database, job)[0].state == "failed", "three times in a row at one place"
    assert kinds(database, job).count("cleared") == 4


def test_each_loss_makes_the_time_alone_longer_but_not_endless(database: sa.Engine) -> None:
    assert [suspects.probation_s(60.0, n) for n in (1, 2, 3, 4, 9, 1000)] == [60, 240, 960, 3600, 3600, 3600]
    assert suspects.probation_s(7200.0, 5) == 7200.0
    lost_together(database, 2)
    (job,) = take(database, "w2")
    lose(database, "w2")
    (again,) = [j for j in seen(database, job)]
    assert (again.losses, again.attempt) == (2, 2)


def test_one_that_is_lost_before_its_first_step_is_alone_until_it_has_made_some(database: sa.Engine) -> None:
    lost_together(database, 2)
    (job,) = take(database, "w2")
    beat(database, job, 0, 1000.0)  # a load that takes long proves nothing
    beat(database, job, 0, 2000.0)
    assert seen(database, job)[0].suspect_step == 0
    beat(database, job, 1, 2001.0)
    beat(database, job, 9, 2062.0)
    assert seen(database, job)[0].suspect_step is None


def test_an_executor_that_comes_back_gives_the_attempt_back(database: sa.Engine) -> None:
    job = add(database)
    take(database)
    lose(database, "w1")
    assert (seen(database, job)[0].attempt, seen(database, job)[0].suspect_step) == (2, 0)
    take(database, "w2")
    assert not queue.came_back(database, worker_id="w2", job_id=job.id), "only who lost it"
    assert queue.came_back(database, worker_id="w1", job_id=job.id)
    back = seen(database, job)[0]
    assert (back.state, back.worker_id, back.attempt, back.suspect_step) == ("running", "w2", 1, None)
    assert not queue.came_back(database, worker_id="w1", job_id=job.id), "once"
    lose(database, "w2")
    queue.request_cancel(database, job.id)
    assert not queue.came_back(database, worker_id="w2", job_id=job.id), "what has ended stays so"
    assert not queue.came_back(database, worker_id="w2", job_id="none")


def test_who_was_a_suspect_before_its_executor_slept_stays_one(database: sa.Engine) -> None:
    killer, *_ = lost_together(database)
    for worker in ("w2", "w3"):
        (job,) = take(database, worker)
        assert job.id == killer.id
        lose(database, worker)
        assert queue.came_back(database, worker_id=worker, job_id=job.id)
        (job,) = seen(database, job)
        assert (job.suspect_step, job.losses, job.attempt) == (0, 1, 1), "it may have killed w1"


def test_a_clean_release_makes_nobody_a_suspect(database: sa.Engine) -> None:
    add(database)
    (job,) = take(database)
    queue.release(database, worker_id="w1", job_id=job.id)
    assert (seen(database, job)[0].suspect_step, seen(database, job)[0].attempt) == (None, 1)


def test_an_executor_that_is_stuck_says_with_which(database: sa.Engine) -> None:
    made = [add(database, f"visitor {n}", batch_key=f"key {n}", max_attempts=1) for n in range(3)]
    for job in made:
        take(database, batch_key=job.batch_key)
    queue.request_cancel(database, made[2].id)
    queue.lose(database, worker_id="w1", stuck=[made[0].id], stuck_s=1800.0)
    failed, back, ended = seen(database, *made)
    assert (failed.state, failed.error_kind) == ("failed", "executor_lost")
    assert failed.error is not None and "stuck for 1800 s after step 0" in failed.error
    assert (back.state, back.attempt, back.suspect_step) == ("queued", 1, None)
    assert ended.state == "cancelled"


def test_one_that_was_to_be_cancelled_when_it_was_lost_is(database: sa.Engine) -> None:
    one, two = add(database, "ada"), add(database, "bob")
    take(database, limit=2)
    queue.request_cancel(database, one.id)
    lose(database, "w1")
    assert [(job.state, job.attempt) for job in seen(database, one, two)] == [("cancelled", 1), ("queued", 1)]


def test_while_the_queue_is_paused_nobody_makes_way(database: sa.Engine) -> None:
    from db.rules import host_rules

    lost_together(database, 2)
    machine(database, "w2")
    held = add(database, "eve", priority=9)
    assert [job.id for job in take(database, "w2")] == [held.id]
    assert queue.makes_way(database, "w2")
    host_rules.change(database, paused=True)
    assert not queue.makes_way(database, "w2")


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_two_that_look_at_once_see_all_that_was_lost(database: sa.Engine) -> None:
    made = [add(database, f"visitor {n}") for n in range(2)]
    take(database, limit=2)
    with database.begin() as conn:
        conn.execute(sa.update(jobs).values(lease_expires_at=1.0))
    with database.begin() as other:
        other.execute(sa.select(sa.func.pg_advisory_xact_lock(0x7421_1057)))
        assert queue.requeue_expired(database) == 0, "somebody is at it"
    assert queue.requeue_expired(database) == 2
    assert [job.attempt for job in seen(database, *made)] == [1, 1]
