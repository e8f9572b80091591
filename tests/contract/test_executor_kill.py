"""Executors may be told to stop or die at any moment: no job is lost, none is done twice, none starts over."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from db import artefacts, queue
from db.engine import connect, writing
from db.errors import DatabaseUnavailable
from db.jobs import Job
from db.queue import workers
from executor import leaving
from executor.context import Context
from settings import Settings
from tests.executor_studio import Executor, Studio

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path)
    yield studio
    studio.close()


STEPS = 24  # of 50 ms: time enough to be stopped on the way


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Where the job that the others are stopped in is done without anything happening to it; it is the first there."""
    studio = Studio(tmp_path_factory.mktemp("uninterrupted"))
    job = studio.add("slow heart", steps=STEPS)
    studio.executor()
    assert studio.ended(job)[0].state == "succeeded"
    yield studio
    studio.close()


def same(studio: Studio, job: Job, uninterrupted: Studio) -> bool:
    """Whether picture and film are those of the job that nothing happened to."""
    (other,) = queue.list_jobs(uninterrupted.db)
    one, two = (artefacts.of_job(s.db, j.id)["gif"].key for s, j in ((studio, job), (uninterrupted, other)))
    films = studio.store.get(one) == uninterrupted.store.get(two)
    return films and np.array_equal(studio.image(job), uninterrupted.image(other))


def first_steps(studio: Studio) -> list[int]:
    """The step each run of the job with seed 1 began at, as the engine saw it."""
    steps = [int(line.split(":")[1]) for line in studio.steps_log.read_text().splitlines()]
    return [step for before, step in zip([-1, *steps], steps, strict=False) if step != before + 1 or before == -1]


def pause(studio: Studio, executor: Executor) -> None:
    """Stops the executor where it is, as a laptop does when its lid is closed, but with the database free: the other
    machines of a studio that shares one would notice nothing else than its silence."""
    impatient = connect(studio.db.url.render_as_string(False), busy_timeout_s=0.2)
    while True:
        executor.send_signal(signal.SIGSTOP)
        time.sleep(0.1)  # until each of its threads has come to a stop
        try:
            with writing(impatient):
                break
        except DatabaseUnavailable:
            executor.send_signal(signal.SIGCONT)
            time.sleep(0.05)
    impatient.dispose()


def test_a_stopped_executor_gives_its_job_back_and_another_goes_on_from_there(
    studio: Studio, uninterrupted: Studio
) -> None:
    job = studio.add("slow heart", steps=STEPS)
    first = studio.executor()
    studio.reached(job, 5)
    first.send_signal(signal.SIGTERM)
    assert first.wait(10) == 0
    given_back = studio.job(job.id)
    assert (given_back.state, given_back.attempt, given_back.worker_id) == ("queued", 1, None)
    assert "state" in studio.kinds(job)
    assert not workers.live(studio.db, within_s=30)

    studio.executor()
    (done,) = studio.ended(job)
    assert (done.state, done.step, done.attempt) == ("succeeded", STEPS, 1)
    assert [point[0] for point in done.history] == list(range(STEPS + 1))
    assert first_steps(studio) == [0], "the second executor goes on with the very step the first was about to make"
    assert same(studio, job, uninterrupted), "and its film shows every step"


def test_an_executor_in_a_long_step_stops_within_ten_seconds_all_the_same(studio: Studio) -> None:
    job = studio.add("long at 4", steps=6)
    executor = studio.executor()
    studio.reached(job, 3)
    executor.send_signal(signal.SIGTERM)
    assert executor.wait(10) == 0
    given_back = studio.job(job.id)
    assert (given_back.state, given_back.attempt) == ("queued", 1)


def test_frames_lost_with_another_machine_do_not_stop_the_job(studio: Studio) -> None:
    job = studio.add("slow heart", steps=STEPS)
    first = studio.executor()
    studio.reached(job, 5)
    first.send_signal(signal.SIGTERM)
    first.wait(10)
    for frame in (studio.folder / "data/work").rglob("*"):
        if frame.is_file():
            frame.unlink()
    studio.executor()
    (done,) = studio.ended(job)
    assert done.state == "succeeded"
    assert {"picture", "gif"} <= studio.kinds(job)


def test_a_killed_executor_loses_its_lease_and_another_resumes_from_the_saved_state(
    studio: Studio, uninterrupted: Studio
) -> None:
    job = studio.add("slow heart", steps=STEPS)
    first = studio.executor()
    studio.until(lambda: "state" in studio.kinds(job))
    first.send_signal(signal.SIGKILL)
    first.wait()
    studio.executor()
    (done,) = studio.ended(job)
    assert (done.state, done.attempt) == ("succeeded", 2)
    assert studio.events(job).count("succeeded") == 1
    began = first_steps(studio)
    assert len(began) == 2 and began[1] > 0, "the second executor does not begin at step 0"
    assert same(studio, job, uninterrupted)


def test_an_executor_that_lost_its_job_writes_nothing_more_for_it(studio: Studio) -> None:
    job = studio.add("slow heart", steps=400)
    executor = studio.executor()
    studio.reached(job, 3)
    pause(studio, executor)
    studio.until(lambda: queue.requeue_expired(studio.db) == 1)
    (other,) = queue.claim(studio.db, worker_id="another", limit=1, lease_s=60)
    assert other.id == job.id
    before = artefacts.of_job(studio.db, job.id)
    executor.send_signal(signal.SIGCONT)
    studio.until(lambda: studio.said("dropped") == 1)
    assert artefacts.of_job(studio.db, job.id) == before
    assert (studio.job(job.id).state, studio.job(job.id).worker_id) == ("running", "another")
    (fine,) = studio.ended(studio.add("a tree", steps=2))
    assert fine.state == "succeeded"


def test_a_damaged_saved_state_means_starting_anew(studio: Studio, uninterrupted: Studio) -> None:
    job = studio.add("slow heart", steps=STEPS)
    first = studio.executor()
    studio.reached(job, 5)
    first.send_signal(signal.SIGTERM)
    first.wait(10)
    studio.store.put(artefacts.of_job(studio.db, job.id)["state"].key, b"not what it was")
    studio.executor()
    (done,) = studio.ended(job)
    assert done.state == "succeeded"
    assert same(studio, job, uninterrupted)


def test_what_a_killed_executor_left_behind_is_cleared_away(studio: Studio) -> None:
    job = studio.add("a heart")
    (claimed,) = queue.claim(studio.db, worker_id="killed", limit=1, lease_s=60)
    frames = studio.folder / "data/work" / claimed.id / "frames"
    frames.mkdir(parents=True)
    artefacts.save(
        studio.db, studio.store, job_id=job.id, kind="state", data=b"x", media_type="application/octet-stream", ext="pt"
    )
    queue.succeed(studio.db, worker_id="killed", job_id=job.id)
    studio.executor()
    studio.until(lambda: not studio.kinds(job) and not frames.exists())


def test_a_second_signal_ends_the_executor_at_once(studio: Studio) -> None:
    job = studio.add("slow heart", steps=2000)
    executor = studio.executor()
    studio.reached(job, 2)
    # With the write lock taken, nothing can be given back.
    with studio.db.connect().execution_options(t2i_write=True) as conn, conn.begin():
        executor.send_signal(signal.SIGTERM)
        time.sleep(1.0)
        executor.send_signal(signal.SIGTERM)
        assert executor.wait(5) == 130
    assert studio.job(job.id).state == "running", "its lease will expire"


def test_random_kills_lose_and_double_no_job() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "scripts/stress_executor.py",
            "--kills",
            "5",
            "--jobs",
            "5",
            "--engine",
            "tests.small_engine:SmallEngine",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost 0, done twice 0" in done.stdout


def test_an_executor_that_is_to_end_while_the_database_is_away_ends_without_an_error(studio: Studio) -> None:
    impatient = connect(studio.db.url.render_as_string(False), busy_timeout_s=0.1)
    context = Context("w1", impatient, studio.store, Settings(), studio.folder / "work", logging.getLogger("leaving"))
    with writing(studio.db):
        with pytest.raises(DatabaseUnavailable):
            workers.stop(impatient, "w1")
        leaving.abandon(context, [])
    impatient.dispose()
