"""An executor that is stopped in the middle of a write and wakes up after another has done its job changes nothing."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from db import artefacts
from db.engine import connect, writing
from db.errors import DatabaseUnavailable, LeaseLost
from db.jobs import Job
from tests.contract.queue_steps import add, take
from tests.executor_studio import Executor, Studio


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path, lease_s=2, min_free_bytes=0)
    yield studio
    studio.close()


def stopped(studio: Studio, executor: Executor) -> None:
    """Returns when it has stopped where it was told to, and holds no lock of the database."""
    impatient = connect(studio.db.url.render_as_string(False), busy_timeout_s=0.2)
    studio.until(lambda: "State:\tT" in Path(f"/proc/{executor.pid}/status").read_text())
    while True:
        try:
            with writing(impatient):
                break
        except DatabaseUnavailable:
            executor.send_signal(signal.SIGCONT)
            time.sleep(0.2)
    impatient.dispose()


def files(studio: Studio, job: Job) -> dict[str, bytes]:
    """All that the store holds of a job, by its key."""
    return {key: studio.store.get(key) for key in studio.store.under(f"jobs/{job.id}")}


@pytest.mark.parametrize("name", ["000006.png", "preview.webp", "state.pt", "picture.png"])
def test_what_a_stalled_executor_was_about_to_write_changes_nothing(studio: Studio, name: str) -> None:
    job = studio.add("slow heart", steps=12)
    first = studio.executor(environment={"PAUSED_BEFORE": name})
    stopped(studio, first)
    studio.executor()
    (done,) = studio.ended(job)
    assert (done.state, done.attempt) == ("succeeded", 2)
    other = studio.add("slow heart", steps=12)  # nothing happens to that one
    studio.ended(other)
    before = files(studio, job)
    (studio.folder / "go").touch()
    first.send_signal(signal.SIGCONT)
    studio.until(lambda: studio.said("dropped") + studio.said("lease_lost") >= 1)
    studio.until(lambda: files(studio, job) == before)
    time.sleep(0.5)
    assert files(studio, job) == before
    assert set(before) == {one.key for one in artefacts.of_job(studio.db, job.id).values()}, "nothing that no row names"
    assert (studio.image(job) == studio.image(other)).all()
    mine, theirs = (artefacts.of_job(studio.db, one.id) for one in (job, other))
    for kind in ("gif", "webp", "mp4"):
        assert mine[kind].sha256 == theirs[kind].sha256, f"{kind}: the film shows what one without a stall shows"


def test_the_store_keeps_what_each_attempt_puts_apart_and_the_row_says_which_one_holds(
    database: sa.Engine, tmp_path: Path
) -> None:
    db, store = database, artefacts.Store(f"file://{tmp_path}/store")

    def files() -> dict[str, bytes]:
        return {key: store.get(key) for key in store.under(f"jobs/{job.id}")}

    job = add(db)
    take(db, "one", limit=1)
    what = {"job_id": job.id, "kind": "picture", "media_type": "image/png", "ext": "png"}
    artefacts.save(db, store, **what, data=b"one", held_by="one", attempt="aaa")
    with writing(db) as conn:
        conn.execute(sa.text("UPDATE jobs SET worker_id = 'two'"))
    with pytest.raises(LeaseLost):
        artefacts.save(db, store, **what, data=b"one again", held_by="one", attempt="aaa")
    made = artefacts.save(db, store, **what, data=b"two", held_by="two", attempt="bbb")
    assert artefacts.of_job(db, job.id)["picture"].key == made.key == f"jobs/{job.id}/bbb/picture.png"
    assert files() == {made.key: b"two"}, "what was replaced is gone"
    # Killed between putting and recording.
    store.put(f"jobs/{job.id}/ccc/picture.png", b"orphan")
    artefacts.tidy(db, store, job.id)
    assert files() == {made.key: b"two"}
