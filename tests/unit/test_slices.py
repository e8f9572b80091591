"""The press of a whole evening: it keeps nobody waiting longer than a slice, and loses nothing by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db import artefacts, queue
from db.jobs import Job
from generator.output.metadata import read_metadata
from tests.executor_studio import Studio

SLICE_S = 0.6
FILES = ("picture", "gif", "json", "webp", "mp4", "thumbnail")


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path, slice_s=SLICE_S, state_every_s=60, lease_s=20)
    try:
        yield studio
    finally:
        studio.close()


def add(studio: Studio, prompt: str, who: str, **values: Any) -> Job:
    """With few frames, since films take longer than the steps here."""
    return studio.add(prompt, who, **{"save_every": 10, **values})


def files(studio: Studio, job: Job) -> dict[str, bytes]:
    found = artefacts.of_job(studio.db, job.id)
    return {kind: studio.store.get(found[kind].key) for kind in FILES}


def test_one_press_keeps_another_visitor_waiting_for_a_slice_and_becomes_what_it_would_have_become(
    studio: Studio, tmp_path_factory: pytest.TempPathFactory
) -> None:
    studio.executor("--batch", "4")
    studio.wait_ready()
    press = [add(studio, "a slow red heart", "greedy", steps=40, seed=seed) for seed in range(4)]
    for job in press:
        studio.reached(job, 1)
    mine = add(studio, "a blue car", "late", steps=2, width=24)
    (done,) = studio.ended(mine)
    running = [studio.job(job.id) for job in press]
    assert sum(job.state == "running" for job in running) >= 2, "those that were in nobody's way go on"
    paused = [job for job in press if "paused" in studio.events(job)]
    assert len(paused) == 1, "one waited, so one made room"
    ended = studio.ended(*press)
    at = {event.kind: event.at for event in queue.events(studio.db, paused[0].id)}
    assert done.started_at is not None and at["paused"] <= done.started_at + 1
    assert done.finished_at is not None and all(done.finished_at < (job.finished_at or 0) for job in ended)
    assert {(job.state, job.attempt, job.step) for job in ended} == {("succeeded", 1, 40)}
    alone = Studio(tmp_path_factory.mktemp("alone"), slice_s=0)
    try:
        alone.executor("--once")
        same = add(alone, "a slow red heart", "anna", steps=40, seed=press.index(paused[0]))
        alone.ended(same)
        assert files(alone, same) == files(studio, paused[0]), "the same bytes, the film's as well"
    finally:
        alone.close()
    (was,) = [job for job in ended if job.id == paused[0].id]
    assert was.ran_s and was.ran_s >= SLICE_S and was.taken_s and was.taken_s > was.ran_s, "all its slices count"


def test_long_jobs_take_turns_on_one_place_and_all_come_to_their_end(studio: Studio) -> None:
    studio.executor("--batch", "1")
    studio.ended(add(studio, "a red heart", "anna", steps=1))  # from now on nothing has to be loaded
    jobs = [add(studio, "a slow red heart", who, steps=40, seed=seed) for seed, who in enumerate(("ada", "bob"))]
    ended = studio.ended(*jobs)
    assert {job.state for job in ended} == {"succeeded"}
    slices = [studio.events(job).count("claimed") for job in jobs]
    assert all(n >= 2 for n in slices), f"2 s of work each in slices of {SLICE_S} s: {slices}"


def test_nobody_makes_room_where_nobody_else_waits(studio: Studio) -> None:
    jobs = [add(studio, "a slow red heart", "greedy", steps=18, seed=seed) for seed in range(2)]
    studio.executor("--batch", "1", "--once")
    studio.ended(*jobs)
    assert [studio.events(job) for job in jobs] == [["queued", "claimed", "succeeded"]] * 2


def test_a_job_that_needs_all_the_memory_comes_to_its_turn_though_long_ones_run(studio: Studio) -> None:
    studio.executor("--batch", "2")
    studio.wait_ready()
    long = add(studio, "a slow red heart", "greedy", steps=120)
    studio.reached(long, 1)
    alone = add(studio, "slow, memory for 1", "late", steps=4)
    (done,) = studio.ended(alone)
    assert done.state == "succeeded" and studio.job(long.id).state != "succeeded"


def test_a_job_ends_when_it_has_cost_all_it_may_and_can_be_gone_on_from(studio: Studio) -> None:
    studio.executor("--batch", "2")
    job = add(studio, "a slow red heart", "anna", steps=500, budget_s=1.0)
    (ended,) = studio.ended(job)
    assert (ended.state, ended.error_kind) == ("failed", "over_budget")
    assert ended.error is not None and 1 <= ended.step < 30
    assert ended.error.startswith(
        f"It has had the 1 s of this executor that the host allows one job, at step {ended.step}"
    )
    assert "of 500. The picture so far is kept" in ended.error
    picture = artefacts.of_job(studio.db, job.id)["picture"]
    assert studio.image(ended).shape == (16, 16, 3) and read_metadata(studio.store.get(picture.key))
    onward = add(studio, "a slow red heart", "anna", steps=2, init="image", init_image=picture.id)
    assert studio.ended(onward)[0].state == "succeeded"


def test_what_others_draw_beside_a_job_is_not_charged_to_it(studio: Studio) -> None:
    jobs = [add(studio, "a slow red heart", who, steps=20, budget_s=600) for who in ("ada", "bob", "eve", "flo")]
    studio.executor("--batch", "4", "--once")
    ended = studio.ended(*jobs)
    assert {job.state for job in ended} == {"succeeded"}
    took = max(job.finished_at or 0 for job in ended) - min(job.started_at or 0 for job in ended)
    assert 0 < sum(job.spent_s or 0 for job in ended) <= took, "a second of the executor is charged once"


def test_a_budget_counts_all_slices_of_a_job(studio: Studio) -> None:
    studio.executor("--batch", "1")
    studio.ended(add(studio, "a red heart", "anna", steps=1))
    jobs = [add(studio, "a slow red heart", who, steps=400, budget_s=2.5) for who in ("ada", "bob")]
    ended = studio.ended(*jobs)
    assert {job.error_kind for job in ended} == {"over_budget"}
    assert "paused" in studio.events(jobs[0])
    assert all(job.spent_s is not None and 2.5 <= job.spent_s < 5 for job in ended)
