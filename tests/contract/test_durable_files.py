"""A store or a disk that does not take files: nothing finished is lost, nothing running fails."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from db import artefacts, queue
from db.engine import writing
from db.jobs import Job
from db.queue import workers
from db.schema import jobs
from executor.attempt import Attempt, Finished, kept
from executor.outputs import File
from tests.executor_studio import Executor, Studio

MAKES = {"picture", "thumbnail", "gif", "mp4", "webp", "json"}


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path, lease_s=3, min_free_bytes=0)
    yield studio
    studio.close()


@contextmanager
def small_disk(folder: Path, kibibytes: int) -> Iterator[Path]:
    """A real file system of its own, of that size."""
    folder.mkdir(parents=True)
    options = f"size={kibibytes}k,mode=777"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "t2i-test", str(folder)], capture_output=True).returncode:
        pytest.skip("Only root may mount a small file system.")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> None:
    """A file that takes the room, but for so many bytes."""
    (folder / "filler").unlink(missing_ok=True)
    with suppress(OSError), open(folder / "filler", "wb") as filler:  # others write there at the same time
        while (room := shutil.disk_usage(folder).free - leave) > 0:
            filler.write(bytes(min(room, 1 << 16)))
            filler.flush()


def waiting(studio: Studio, job: Job) -> bool:
    return studio.job(job.id).waits_for == "store"


def in_the_way(studio: Studio) -> Path:
    """What makes every put of any job fail, for root as well: a file where a folder should be."""
    folder = studio.folder / "data/artefacts/jobs"
    if folder.exists():
        folder.rename(folder.with_name("jobs.away"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("in the way")
    return folder


def out_of_the_way(folder: Path) -> None:
    folder.unlink()
    if folder.with_name("jobs.away").exists():
        folder.with_name("jobs.away").rename(folder)


def test_finished_pictures_wait_for_a_store_that_cannot_be_written_and_no_job_is_claimed_meanwhile(
    studio: Studio,
) -> None:
    folder = in_the_way(studio)
    done = [studio.add("a tree", seed=seed, steps=2) for seed in (1, 2)]
    executor = studio.executor("--batch", "2")
    studio.until(lambda: all(waiting(studio, job) for job in done))
    late = studio.add("a house", steps=2)
    studio.until(lambda: any("2 finished, waiting for the store" in w.status for w in workers.live(studio.db, 30)))
    assert studio.job(late.id).state == "queued"
    out_of_the_way(folder)
    for job in studio.ended(*done, late):
        assert (job.state, job.attempt, job.waits_for) == ("succeeded", 1, None)
        assert studio.kinds(job) >= MAKES
    assert studio.said("store_back") >= 1 and executor.poll() is None
    assert not kept(studio.folder / "data/work", "any") and not list((studio.folder / "data/work").glob("*/*/finished"))


def test_a_running_job_goes_on_while_the_store_is_away_and_its_film_is_whole(studio: Studio) -> None:
    job = studio.add("slow heart", steps=30)
    studio.executor()
    studio.until(lambda: "state" in studio.kinds(job))
    folder = in_the_way(studio)
    studio.until(lambda: waiting(studio, job))
    out_of_the_way(folder)
    (done,) = studio.ended(job)
    assert (done.state, done.attempt, done.step) == ("succeeded", 1, 30)
    assert studio.kinds(job) >= MAKES


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_finished_files_outlive_the_executor_and_are_stored_by_the_next_one_without_a_step(
    studio: Studio, how: signal.Signals
) -> None:
    studio.settings["lease_s"] = 2
    folder = in_the_way(studio)
    job = studio.add("a tree", steps=4)
    first = studio.executor()
    studio.until(lambda: waiting(studio, job))
    first.send_signal(how)
    assert first.wait(12) == (0 if how == signal.SIGTERM else -9)
    steps = studio.steps_log.read_text()
    assert list((studio.folder / "data/work").glob(f"{job.id}/*/finished/picture"))
    with writing(studio.db) as conn:  # the last attempt it has
        conn.execute(jobs.update().values(max_attempts=1))
    out_of_the_way(folder)
    studio.executor()
    (done,) = studio.ended(job)
    assert (done.state, done.attempt) == ("succeeded", 1), "a store that is full costs no attempt"
    assert studio.kinds(job) >= MAKES
    assert studio.steps_log.read_text() == steps, "nothing is drawn twice"
    studio.until(lambda: not (studio.folder / "data/work" / job.id).exists())


def test_files_kept_of_a_job_that_has_moved_on_are_not_stored(studio: Studio) -> None:
    job = studio.add("a tree", steps=4)
    (claimed,) = queue.claim(studio.db, worker_id="another", limit=1, lease_s=60)
    keep(studio, claimed, b"an older one")
    studio.executor()
    studio.wait_ready()
    other = studio.add("a house", steps=2)
    studio.ended(other)
    assert studio.job(job.id).worker_id == "another" and "picture" not in studio.kinds(job)
    queue.succeed(studio.db, worker_id="another", job_id=job.id)
    studio.executor()  # which sweeps as it starts
    studio.until(lambda: not (studio.folder / "data/work" / job.id).exists())
    assert "picture" not in studio.kinds(job)


def keep(studio: Studio, job: Job, data: bytes) -> Attempt:
    from db import identity

    attempt = Attempt(studio.folder / "data/work", job.id, identity.of(studio.db))
    attempt.keep_finished(Finished([File("picture", data, (4, 4))], 0.5))
    return attempt


def test_kept_files_that_are_damaged_are_drawn_anew(studio: Studio) -> None:
    job = studio.add("a tree", steps=4)
    attempt = keep(studio, job, b"whole")
    (attempt.folder / "finished/picture").write_bytes(b"half")
    studio.executor()
    (done,) = studio.ended(job)
    assert done.state == "succeeded" and studio.image(done).shape == (16, 16, 3)


def test_kept_files_of_another_studio_in_the_same_folder_are_left_alone(studio: Studio) -> None:
    job = studio.add("a tree", steps=4)
    theirs = Attempt(studio.folder / "data/work", "0" * 26, "another-studio")
    theirs.keep_finished(Finished([File("picture", b"theirs")], None))
    studio.executor()
    studio.ended(job)
    assert (theirs.folder / "finished/picture").read_bytes() == b"theirs"


@pytest.mark.parametrize("where", ["store", "both"])
def test_a_full_disk_costs_no_picture(studio: Studio, where: str) -> None:
    with small_disk(studio.folder / "small", 4096) as disk:
        if where == "store":
            (studio.folder / "data/artefacts").symlink_to(disk)
        else:  # frames and pictures on one disk, as they are unless somebody says otherwise
            for name in ("artefacts", "work"):
                (disk / name).mkdir()
                (studio.folder / "data" / name).symlink_to(disk / name)
        job = studio.add("slow heart", steps=30)
        executor = studio.executor()
        studio.until(lambda: "state" in studio.kinds(job))
        fill(disk)
        studio.until(lambda: waiting(studio, job))
        late = studio.add("a tree", steps=2)
        fill(disk, leave=900_000)  # the files of a small picture fit, and those of a large one do not
        studio.until(lambda: studio.job(job.id).state == "succeeded")
        time.sleep(1.5)
        assert studio.job(late.id).state == "queued" and studio.said("store_back") == 0
        (disk / "filler").unlink()
        (done, _) = studio.ended(job, late)
        assert (done.state, done.attempt) == ("succeeded", 1)
        assert "picture" in studio.kinds(done) and studio.image(done).shape == (16, 16, 3)
        assert executor.poll() is None
        stop(executor)


def stop(executor: Executor) -> None:
    executor.send_signal(signal.SIGTERM)
    assert executor.wait(12) == 0


def test_a_full_work_folder_costs_frames_and_not_the_picture(studio: Studio) -> None:
    with small_disk(studio.folder / "small", 64) as disk:
        (studio.folder / "data/work").symlink_to(disk)
        fill(disk)
        executor = studio.executor()
        (done,) = studio.ended(studio.add("a tree", steps=10))
        assert (done.state, done.error) == ("succeeded", None)
        assert {"picture", "thumbnail", "json", "gif"} <= studio.kinds(done)
        assert studio.said("frames_missing") == 1
        stop(executor)


def test_a_work_folder_that_cannot_be_made_costs_frames_and_not_the_picture(studio: Studio) -> None:
    (studio.folder / "data/work").write_text("in the way")
    studio.executor()
    (done,) = studio.ended(studio.add("a tree", steps=4))
    assert done.state == "succeeded" and {"picture", "thumbnail", "json"} <= studio.kinds(done)


def test_nothing_is_claimed_below_the_mark_of_free_space(studio: Studio) -> None:
    studio.settings["min_free_bytes"] = 1 << 60
    job = studio.add("a tree", steps=2)
    executor = studio.executor()
    studio.until(lambda: any("nearly full" in worker.status for worker in workers.live(studio.db, 30)))
    assert studio.job(job.id).state == "queued" and studio.said("waiting") == 1
    stop(executor)
    studio.settings["min_free_bytes"] = 0
    studio.executor()
    assert studio.ended(job)[0].state == "succeeded"


def test_a_job_whose_start_cannot_be_read_goes_back_and_fails_no_sooner_than_the_store_is_back(studio: Studio) -> None:
    first = studio.add("a cat", steps=2)
    executor = studio.executor()
    studio.ended(first)
    picture = artefacts.of_job(studio.db, first.id)["picture"]
    folder = studio.folder / "data/artefacts"
    away = folder.rename(folder.with_name("unplugged"))
    job = studio.add("a dog", init="image", init_image=picture.key, steps=2)
    studio.until(lambda: studio.said("given_back") > 0)
    assert studio.job(job.id).state in ("queued", "running") and not folder.exists(), "no store where a disk was"
    away.rename(folder)
    (done,) = studio.ended(job)
    assert (done.state, done.attempt) == ("succeeded", 1) and executor.poll() is None


def test_a_waiting_job_can_be_cancelled(studio: Studio) -> None:
    in_the_way(studio)
    job = studio.add("a tree", steps=2)
    studio.executor()
    studio.until(lambda: waiting(studio, job))
    queue.request_cancel(studio.db, job.id)
    (done,) = studio.ended(job)
    assert (done.state, done.waits_for) == ("cancelled", None)
    studio.until(lambda: not os.path.exists(studio.folder / "data/work" / job.id))


def test_a_store_elsewhere_that_is_down_loses_nothing(studio: Studio) -> None:
    folder = studio.folder / "elsewhere"
    folder.mkdir()
    studio.settings["store_url"] = f"elsewhere://{folder}"
    job = studio.add("slow heart", steps=12)
    executor = studio.executor()
    studio.reached(job, 3)
    (studio.folder / "down").write_text("503 Slow Down")
    studio.until(lambda: waiting(studio, job))
    late = studio.add("a tree", steps=2)
    stop(executor)
    assert studio.job(job.id).state == studio.job(late.id).state == "queued"
    studio.executor()
    studio.until(lambda: waiting(studio, job))
    (studio.folder / "down").unlink()
    for done in studio.ended(job, late):
        assert (done.state, done.attempt) == ("succeeded", 1)
        for artefact in artefacts.of_job(studio.db, done.id).values():
            assert (folder / artefact.key).stat().st_size == artefact.size
