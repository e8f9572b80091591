"""Queue: who waits, who works, and for how long."""

from __future__ import annotations

from db import queue
from db.jobs import State
from pages.shared.navigation import GENERATION, QUEUE
from tests.pages.conftest import OpenPage
from tests.pages.visits import SOMEBODY, Studio, everything_shown

PAGE = QUEUE


def test_an_empty_queue_without_executor_says_both(studio: Studio, open_page: OpenPage) -> None:
    app = open_page(PAGE)
    assert app.title[0].value == "Queue"
    shown = everything_shown(app)
    assert "The queue is empty" in shown and "No executor is running. Start one: python job_executor.py" in shown


def test_running_waiting_and_executors_are_shown(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    studio.draw("a tree")
    studio.enqueue("a red heart", steps=40)
    studio.run(step=10)
    studio.enqueue("a penguin", SOMEBODY)
    studio.enqueue("a rocket")
    shown = everything_shown(open_page(PAGE))
    assert "Running (1)" in shown and "Step 10 of 40" in shown and 'aria-valuenow="25"' in shown
    assert "Waiting (2)" in shown and "a penguin" in shown and "Yours · Starts in about" in shown
    assert "Executors (1)" in shown and "cpu on studio" in shown and "2 places" in shown and "1 job" in shown
    assert "last heartbeat just now" in shown


def test_only_own_jobs_can_be_cancelled(studio: Studio, open_page: OpenPage) -> None:
    mine, other = studio.enqueue("a red heart"), studio.enqueue("a penguin", SOMEBODY)
    app = open_page(PAGE)
    assert [b.key for b in app.button] == [f"cancel_{mine.id}"]
    app.button[0].click().run()
    assert queue.get(studio.db, mine.id).state == State.CANCELLED
    assert queue.get(studio.db, other.id).state == State.QUEUED


def test_cancelling_a_running_job_is_asked_for_once(studio: Studio, open_page: OpenPage) -> None:
    job = studio.enqueue("a red heart")
    studio.run()
    app = open_page(PAGE)
    app.button(key=f"cancel_{job.id}").click().run()
    assert queue.get(studio.db, job.id).cancel_requested
    assert "Cancelling" in everything_shown(app) and app.button(key=f"cancel_{job.id}").disabled


def test_a_thousand_waiting_jobs_are_counted_and_ones_own_is_found(studio: Studio, open_page: OpenPage) -> None:
    for i in range(1100):
        studio.enqueue(f"picture {i}", f"somebody-number-{i % 40:04}")
    studio.enqueue("a red heart")
    shown = everything_shown(open_page(PAGE))
    assert "Waiting (1101)" in shown and "a red heart" in shown and "more wait behind these" in shown


def test_a_finished_job_that_waits_for_the_store_says_so(studio: Studio, open_page: OpenPage) -> None:
    studio.enqueue("a heart")
    job = studio.run()
    beat = {"worker_id": job.worker_id or "", "job_id": job.id, "step": job.total_steps, "lease_s": 600.0}
    queue.heartbeat(studio.db, **beat, waits_for="store")
    for page in (QUEUE, GENERATION):
        shown = everything_shown(open_page(page))
        assert "Finished; waits for the store" in shown
