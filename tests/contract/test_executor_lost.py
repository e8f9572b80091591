"""A job that kills or hangs its executor fails, and it alone: real executors, really killed, started again as
scripts/run_executor.sh does."""

from __future__ import annotations

import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from db import queue
from db.jobs import Job
from executor.stall import STALLED
from tests.executor_studio import Executor, Studio


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path, lease_s=1.0, heartbeat_s=0.2)
    yield studio
    studio.close()


@contextmanager
def kept_running(studio: Studio, executors: int = 1) -> Iterator[list[int]]:
    """So many executors, each started again when it has died; how they died."""
    died: list[int] = []
    over = threading.Event()

    def keep() -> None:
        living: list[Executor] = []
        while not over.wait(0.05):
            died.extend(status for executor in living if (status := executor.poll()) is not None)
            living = [executor for executor in living if executor.poll() is None]
            living += [studio.executor("--batch", "4") for _ in range(executors - len(living))]

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        yield died
    finally:
        over.set()
        keeper.join()


@pytest.mark.parametrize(("prompt", "most"), [("kills at 5, slow", 3), ("kills on opening", 1)])
def test_one_job_that_kills_its_executor_does_not_fail_the_three_beside_it(
    studio: Studio, prompt: str, most: int
) -> None:
    innocent = [studio.add("slow lake", seed=n, steps=20, submitter=f"visitor {n}") for n in (1, 2)]
    killer = studio.add(prompt, seed=9, submitter="killer", max_attempts=most)
    innocent += [studio.add("slow lake", seed=3, steps=20, submitter="visitor 3")]
    with kept_running(studio) as died:
        *done, failed = studio.ended(*innocent, killer)
    assert [(job.state, job.attempt) for job in done] == [("succeeded", 1)] * 3
    assert (failed.state, failed.error_kind, failed.attempt) == ("failed", "executor_lost", most)
    assert failed.error is not None and "It was alone there" in failed.error
    assert died == [-signal.SIGKILL] * (1 + most), "once beside the others, then alone"
    assert studio.events(killer).count("suspected") == 1 and studio.events(killer).count("lease_expired") == most - 1
    assert all(studio.kinds(job) >= {"picture"} for job in done)


def test_a_job_that_is_stuck_is_found_and_the_executor_ends(studio: Studio) -> None:
    studio.settings["stall_s"] = 3.0
    stuck = studio.add("long at 4", seed=1, submitter="stuck", max_attempts=2)
    other = studio.add("slow tree", seed=2, steps=60, submitter="other", width=32)
    with kept_running(studio) as died:
        failed, fine = studio.ended(stuck, other)
    assert (failed.state, failed.error_kind) == ("failed", "executor_lost")
    assert failed.error is not None and "stuck for 3 s" in failed.error
    assert (fine.state, fine.attempt) == ("succeeded", 1)
    assert "suspected" not in studio.events(other), "it was not in that step, and went back at no cost"
    assert died[:2] == [STALLED] * 2
    assert "advance" in studio.log.read_text(), "the log shows where it was stuck"


def test_an_endless_loop_that_lets_no_thread_run_ends_as_well(studio: Studio) -> None:
    studio.settings["stall_s"] = 3.0
    stuck = studio.add("hangs at 2", steps=5)
    executor = studio.executor()
    studio.until(lambda: executor.poll() is not None)
    assert executor.poll() == 1 and "Timeout" in studio.log.read_text()
    assert studio.job(stuck.id).state == "running", "its lease runs out"


def test_a_paused_executor_that_comes_back_costs_nobody_an_attempt(studio: Studio) -> None:
    job = studio.add("slow heart", steps=40)
    executor = studio.executor()
    studio.reached(job, 3)
    studio.until(lambda: paused_outside_the_database(studio, executor))
    studio.until(lambda: queue.requeue_expired(studio.db) == 1)
    assert (studio.job(job.id).attempt, studio.job(job.id).suspect_step is None) == (2, False)
    executor.send_signal(signal.SIGCONT)
    (done,) = studio.ended(job)
    assert (done.state, done.attempt) == ("succeeded", 1)
    assert "came_back" in studio.events(job)


def paused_outside_the_database(studio: Studio, executor: Executor) -> bool:
    """Whether the executor is paused; it goes on where it was in a transaction, which would let nobody write."""
    executor.send_signal(signal.SIGSTOP)
    with closing(sqlite3.connect(str(studio.db.url.database), timeout=0.2, isolation_level=None)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            executor.send_signal(signal.SIGCONT)
            return False
    return True


def test_a_busy_executor_puts_its_jobs_away_for_a_suspect(studio: Studio) -> None:
    executor = studio.executor("--batch", "2")
    long = [studio.add("slow sea", seed=n, steps=400, submitter=f"visitor {n}") for n in (1, 2)]
    for job in long:
        studio.reached(job, 2)
    suspect = studio.add("slow tree", seed=3, steps=10, submitter="waits")
    queue.to_front(studio.db, suspect.id)
    as_if_lost(studio, suspect)
    (done,) = studio.ended(suspect)
    assert done.state == "succeeded" and studio.job(long[0].id).state != "succeeded"
    alone = [line for line in studio.steps_log.read_text().splitlines() if "3:" in line]
    assert len(alone) == 11 and all(len(line.split()) == 1 for line in alone)
    for job in long:
        studio.reached(job, 3)
        assert (studio.job(job.id).attempt, "state" in studio.kinds(job)) == (1, True)
    assert executor.poll() is None


def as_if_lost(studio: Studio, job: Job) -> None:
    with studio.db.connect().execution_options(t2i_write=True) as conn, conn.begin():
        conn.exec_driver_sql(f"UPDATE jobs SET suspect_step = total_steps, losses = 1 WHERE id = '{job.id}'")
