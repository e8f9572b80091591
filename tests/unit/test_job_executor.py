"""The executor, as its users meet it: a real process on a real queue, with a small engine."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from db import artefacts, queue
from db.queue import workers
from generator import generate, registry
from generator.drawing import Machine
from generator.output.metadata import read_sources
from generator.params import validate
from tests import small_engine
from tests.executor_studio import Studio


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """One executor lives through all tests of this file: whatever a job does to it, it goes on."""
    studio = Studio(tmp_path_factory.mktemp("studio"), lease_s=10)
    try:
        executor = studio.executor("--batch", "4")
        studio.wait_ready()
        yield studio
        assert executor.poll() is None, "the executor must be alive after all that the tests did to it"
        executor.send_signal(signal.SIGTERM)
        assert executor.wait(10) == 0
    finally:
        studio.close()


def good(studio: Studio) -> None:
    """The executor still turns a job into a picture."""
    (job,) = studio.ended(studio.add("a red heart", steps=2))
    assert job.state == "succeeded"


def test_a_job_becomes_a_picture_with_all_its_files(studio: Studio) -> None:
    (job,) = studio.ended(studio.add("a red heart", steps=12))
    assert (job.state, job.error) == ("succeeded", None)
    assert job.step == job.total_steps == 12
    assert job.score is not None
    assert [point[0] for point in job.history] == list(range(13))
    assert studio.kinds(job) >= {"picture", "thumbnail", "gif", "mp4", "webp", "json"}
    assert studio.image(job).shape == (16, 16, 3)
    studio.until(lambda: "state" not in studio.kinds(job))  # nobody goes on from it
    for artefact in artefacts.of_job(studio.db, job.id).values():
        assert len(studio.store.get(artefact.key)) == artefact.size
    # What only a job in progress needs goes right after it has ended.
    studio.until(lambda: "state" not in studio.kinds(job) and not (studio.folder / "data/work" / job.id).exists())


def test_the_pictures_on_the_way_are_stored_as_a_sheet_where_asked_for(studio: Studio) -> None:
    values = {"prompt": "a red heart", "seed": 1, "width": 32, "height": 32, "steps": 2, "cutn": 1, "upscale": 1}
    params = validate("guided-diffusion", {**values, "sprite_sheet": True})
    key = params.batch_key
    (job,) = studio.ended(studio.add_raw(params.model_dump(mode="json"), batch_key=key, engine="guided-diffusion"))
    assert (job.state, job.error) == ("succeeded", None)
    sheet = artefacts.of_job(studio.db, job.id)["sheet"]
    with Image.open(io.BytesIO(studio.store.get(sheet.key))) as pictures:
        assert pictures.size == (64, 64), "three pictures of 32 px in two rows"


def test_the_executor_is_listed_with_its_device_places_and_engines(studio: Studio) -> None:
    (worker,) = workers.live(studio.db, within_s=30)
    assert (worker.device, worker.places) == ("cpu", 4)
    assert set(worker.engines) == {*registry.ENGINES, small_engine.NAME}


def test_jobs_that_can_share_a_batch_take_every_step_together(studio: Studio) -> None:
    jobs = [studio.add("slow lake", seed=seed, submitter=f"visitor {seed}") for seed in (101, 102)]
    studio.ended(*jobs)
    steps = [line.split() for line in studio.steps_log.read_text().splitlines()]
    shared = [line for line in steps if len(line) == 2 and {"101", "102"} == {entry.split(":")[0] for entry in line}]
    assert len(shared) >= 8


def test_a_job_becomes_the_same_picture_alone_and_in_a_batch(studio: Studio) -> None:
    (alone,) = studio.ended(studio.add("slow lake", seed=7))
    crowd = [studio.add("slow lake", seed=seed, steps=14) for seed in (8, 9, 7)]
    crowd[-1] = studio.add("slow lake", seed=7)
    studio.ended(*crowd)
    assert np.array_equal(studio.image(alone), studio.image(crowd[-1]))


def test_queue_and_library_draw_the_same_bytes(studio: Studio) -> None:
    """By an embedded diffusion model, whose jobs share the executor."""
    values = {"width": 16, "height": 16, "steps": 4, "cutn": 2, "init": "noise", "upscale": 1}
    jobs = []
    for seed in (1, 2, 3):
        params = validate("guided-diffusion", {"prompt": "a red heart", "seed": seed, **values})
        row = params.model_dump(mode="json")
        jobs.append(studio.add_raw(row, batch_key=params.batch_key, engine="guided-diffusion", submitter=f"{seed}"))
    for job in studio.ended(*jobs):
        drawn = generate("a red heart", "guided-diffusion", machine=Machine("cpu"), seed=job.params["seed"], **values)
        assert np.array_equal(studio.image(job), np.asarray(drawn.image))
        assert job.score == drawn.score


def test_a_free_place_is_taken_while_the_others_go_on(studio: Studio) -> None:
    long = studio.add("slow sea", steps=40, seed=201)
    studio.reached(long, 2)
    (short,) = studio.ended(studio.add("slow sea", steps=3, seed=202))
    assert short.state == "succeeded"
    assert studio.job(long.id).state == "running"
    studio.ended(long)


def test_a_running_job_stops_within_a_step_of_being_cancelled(studio: Studio) -> None:
    job = studio.add("slow forest", steps=2000, seed=301)
    studio.reached(job, 3)
    queue.request_cancel(studio.db, job.id)
    made = _steps_of(studio, 301)
    (job,) = studio.ended(job)
    assert job.state == "cancelled"
    # One step may be under way when the request is written, and one more between that and our look at the log.
    assert _steps_of(studio, 301) - made <= 2
    studio.until(lambda: "state" not in studio.kinds(job))
    good(studio)


def test_a_picture_is_shown_while_it_forms(studio: Studio) -> None:
    job = studio.add("slow hill", steps=400, seed=401)
    studio.until(lambda: "preview" in studio.kinds(job))
    studio.until(lambda: len(studio.job(job.id).history) > 2 and studio.job(job.id).steps_per_s is not None)
    assert studio.image(job, "preview").shape == (16, 16, 3)
    queue.request_cancel(studio.db, job.id)
    studio.ended(job)


def test_a_picture_can_be_seen_before_the_first_step(studio: Studio) -> None:
    job = studio.add("shows early", seed=402)
    studio.until(lambda: "preview" in studio.kinds(job))
    assert studio.job(job.id).state == "running" and not studio.job(job.id).history
    assert studio.image(job, "preview").shape == (4, 4, 3)
    (studio.folder / "go_on").touch()
    (job,) = studio.ended(job)
    assert job.state == "succeeded" and studio.image(job).shape == (16, 16, 3)


def test_numbers_that_stop_being_finite_fail_that_job_and_keep_its_last_good_picture(studio: Studio) -> None:
    bad = studio.add("slow nan at 5", seed=501)
    fine = studio.add("slow meadow", seed=502)
    bad, fine = studio.ended(bad, fine)
    assert (bad.state, bad.error_kind) == ("failed", "not_finite")
    assert bad.error and "step 5" in bad.error
    assert studio.image(bad).shape == (16, 16, 3)
    assert fine.state == "succeeded"


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"prompt": ""}, "Write what you want to see"),
        ({"prompt": "a cat", "width": "wide"}, "width"),
        ({"prompt": "a cat", "wings": 2}, "Unknown setting 'wings'"),
        ({"prompt": "a cat", "checkpoint": "nothing"}, "Choose one of"),
        ({"prompt": "a cat:-2"}, "no part with a weight above 0"),
    ],
)
def test_bad_parameters_fail_with_a_sentence(studio: Studio, params: dict, says: str) -> None:
    (job,) = studio.ended(studio.add_raw(params))
    assert job.state == "failed"
    assert job.error_kind == "bad_params"
    assert job.error and says in job.error
    good(studio)


def test_an_error_of_the_engine_fails_only_the_job_that_caused_it(studio: Studio) -> None:
    bad = studio.add("slow broken at 3", seed=601)
    others = [studio.add("slow field", seed=seed, submitter=f"visitor {seed}") for seed in (602, 603)]
    bad, *others = studio.ended(bad, *others)
    assert (bad.state, bad.error_kind) == ("failed", "engine_error")
    assert bad.error and "shapes of a and b do not match" in bad.error
    assert [job.state for job in others] == ["succeeded", "succeeded"]


@pytest.mark.parametrize("state_every_s", [1000.0, 0.001])
def test_a_job_that_breaks_its_batch_late_fails_alone_and_the_others_become_what_they_are_alone(
    tmp_path: Path, state_every_s: float
) -> None:
    studio = Studio(tmp_path, lease_s=30, state_every_s=state_every_s)
    try:
        bad = studio.add("broken at 6", seed=1)
        others = [studio.add("field", seed=seed, submitter=f"visitor {seed}") for seed in (2, 3)]
        assert studio.executor("--once").wait(30) == 0, "it must not go back to the beginning for ever"
        failed = studio.job(bad.id)
        assert (failed.state, failed.error_kind) == ("failed", "engine_error")
        assert failed.error and "shapes of a and b do not match" in failed.error
        assert studio.image(bad).shape == (16, 16, 3), "its last good picture stays"
        assert [studio.job(job.id).state for job in others] == ["succeeded", "succeeded"]
        assert studio.said("batch_failed") == 1
        lines = studio.steps_log.read_text().splitlines()
        assert "1:6 2:6 3:6" in lines and "1:6" in lines, "together until it fails, then alone"
        assert "2:7 3:7" in lines and "2:7" not in lines, "the others share a batch again after that step"

        again = [studio.add("field", seed=seed) for seed in (2, 3)]
        assert studio.executor("--once", "--batch", "1").wait(30) == 0
        for job, alone in zip(others, again, strict=True):
            assert np.array_equal(studio.image(job), studio.image(alone))
    finally:
        studio.close()


def test_a_batch_with_two_bad_jobs_loses_those_two(tmp_path: Path) -> None:
    studio = Studio(tmp_path, lease_s=30, state_every_s=1000)
    try:
        prompts = ("broken at 3", "broken at 7", "field", "nan at 5")
        jobs = [studio.add(prompt, seed=seed, submitter=prompt) for seed, prompt in enumerate(prompts)]
        assert studio.executor("--once").wait(30) == 0
        done = [studio.job(job.id) for job in jobs]
        assert [job.state for job in done] == ["failed", "failed", "succeeded", "failed"]
        assert [job.error_kind for job in done] == ["engine_error", "engine_error", None, "not_finite"]
        assert [point[0] for point in done[2].history] == list(range(11))
    finally:
        studio.close()


def test_a_batch_too_large_for_the_memory_is_halved_and_every_job_is_done(studio: Studio) -> None:
    jobs = [studio.add("slow memory for 2", seed=seed, width=20, steps=6) for seed in (701, 702, 703, 704)]
    done = studio.ended(*jobs)
    assert [job.state for job in done] == ["succeeded"] * 4
    assert [job.attempt for job in done] == [1] * 4, "a job given back for want of memory loses no attempt"
    (alone,) = studio.ended(studio.add("slow memory for 2", seed=701, width=20, steps=6))
    assert np.array_equal(studio.image(done[0]), studio.image(alone))


def test_cutouts_too_many_for_the_memory_are_looked_at_a_few_at_a_time(studio: Studio) -> None:
    (job,) = studio.ended(studio.add("memory for 4 cutouts", cutn=32))
    assert job.state == "succeeded"


def test_a_job_too_large_even_alone_fails_and_names_what_to_lower(studio: Studio) -> None:
    (job,) = studio.ended(studio.add("memory for 0 cutouts"))
    assert (job.state, job.error_kind) == ("failed", "out_of_memory")
    assert job.error and "lower width and height" in job.error
    good(studio)


def test_a_job_that_needs_more_memory_than_there_is_fails_before_anything_is_loaded(studio: Studio) -> None:
    size = {"width": 1600, "height": 1600, "cutn": 512, "clip": ["ViT-L/14"]}
    params = {"prompt": "a cathedral", "checkpoint": "imagenet-f16-16384", **size}
    (job,) = studio.ended(studio.add_raw(params, engine="vqgan-clip"))
    assert (job.state, job.error_kind) == ("failed", "not_enough_memory"), job.error
    assert job.error and "GiB" in job.error and "lower width and height or cutn" in job.error
    good(studio)


@pytest.mark.parametrize("data", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_a_damaged_upload_fails_the_job_with_a_sentence(studio: Studio, data: bytes) -> None:
    upload = artefacts.save(
        studio.db, studio.store, job_id=None, kind="upload", data=data, media_type="image/png", ext="png"
    )
    (job,) = studio.ended(studio.add("a cat", init="image", init_image=upload.key))
    assert job.state == "failed"
    assert job.error and job.error_kind and "engine_error" not in job.error_kind
    good(studio)


@pytest.mark.parametrize("reference", ["uploads/missing.png", "uploads/../../jobs.db", "/etc/passwd", "nosuchid"])
def test_a_picture_that_is_not_in_the_store_is_never_opened(studio: Studio, reference: str) -> None:
    (job,) = studio.ended(studio.add("a cat", init="image", init_image=reference))
    assert job.state == "failed"
    assert job.error and job.error_kind in ("unknown_artefact", "bad_value")


def test_a_picture_of_another_job_can_be_the_start(studio: Studio) -> None:
    (first,) = studio.ended(studio.add("a cat"))
    picture = artefacts.of_job(studio.db, first.id)["picture"]
    (job,) = studio.ended(studio.add("a dog", init="image", init_image=picture.id))
    assert (job.state, job.error) == ("succeeded", None)
    files = artefacts.of_job(studio.db, job.id)
    made = {kind: studio.store.get(files[kind].key) for kind in ("picture", "json")}
    told = {"pictures": {picture.id: picture.sha256}}
    assert read_sources(made["picture"]).plain() == told, "which picture it was, and not only how it is called"
    assert json.loads(made["json"])["sources"] == told


def test_once_works_until_the_queue_is_empty(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    try:
        jobs = [studio.add("a tree", seed=seed) for seed in range(5)]
        assert studio.executor("--once", "--batch", "2").wait(60) == 0
        assert {studio.job(job.id).state for job in jobs} == {"succeeded"}
        assert not workers.live(studio.db, within_s=30)
    finally:
        studio.close()


def test_a_locked_database_is_waited_for(tmp_path: Path) -> None:
    studio = Studio(tmp_path, lease_s=30)
    try:
        executor = studio.executor()
        studio.wait_ready()
        job = studio.add("slow river", steps=30)
        studio.reached(job, 2)
        with studio.db.connect().execution_options(t2i_write=True) as conn, conn.begin():
            studio.until(lambda: studio.said("database_unavailable") > 0)
        (job,) = studio.ended(job)
        assert job.state == "succeeded"
        assert executor.poll() is None
    finally:
        studio.close()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"default_engine": "rank"}, "T2I_DEFAULT_ENGINE=rank is no engine that draws"),
        (
            {"default_engine": "vqgan-clip", "default_checkpoint": "imagenet-f16-1024"},
            "python -m generator.checkpoints download imagenet-f16-1024",
        ),
    ],
)
def test_a_default_that_cannot_be_had_is_said_once_and_the_rest_works(
    tmp_path: Path, settings: dict[str, str], says: str
) -> None:
    studio = Studio(tmp_path, **settings)
    try:
        executor = studio.executor()
        # The second comes when the executor has been idle, which is when it would load the default.
        for seed in (1, 2):
            (job,) = studio.ended(studio.add("a tree", steps=2, seed=seed))
            assert job.state == "succeeded"
            studio.until(lambda: not workers.live(studio.db, within_s=30)[0].status.startswith("storing"))
        assert studio.said("wrong_default") == 1 and says in studio.log.read_text()
        assert executor.poll() is None
    finally:
        studio.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--batch", "0"], "1 to 64"),
        (["--engines", "oil"], "vqgan-clip"),
        (["--device", "abacus"], "abacus"),
    ],
)
def test_a_bad_command_line_ends_with_status_2_and_says_what_is_permitted(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    studio = Studio(tmp_path)
    try:
        assert studio.executor(*arguments).wait() == 2
        assert says in studio.log.read_text()
    finally:
        studio.close()


def _steps_of(studio: Studio, seed: int) -> int:
    """Steps the engine has made for the job with this seed."""
    return sum(f"{seed}:" in line for line in studio.steps_log.read_text().splitlines())
