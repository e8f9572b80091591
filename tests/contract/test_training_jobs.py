"""Runs on real executors: a model is learnt, watched, interrupted and gone on with, while pictures go first."""

from __future__ import annotations

import csv
import io
import json
import shutil
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from db import artefacts, queue
from db.evening.deleting import delete_job
from db.jobs import Job
from db.models import trained
from generator.params import validate_job
from tests import small_run
from tests.captioned_pictures import write_folder
from tests.executor_studio import Studio

COMMON: dict[str, Any] = {
    "data": "dataset:colours",
    "name": "colours",
    "licence": "CC0",
    "seed": 3,
    "captions": ("a red square", "a blue square"),
}
SMALL: dict[str, Any] = {
    **COMMON,
    "size": 16,
    "channels": (8, 16),
    "attention_up_to": 8,
    "text_width": 32,
    "text_layers": 1,
    "caption_tokens": 8,
    "vocabulary": 600,
    "batch_size": 4,
    "sample_steps": 2,
    "precision": "fp32",
}
FILES = {"model", "card", "json", "history", "curves", "samples", "picture", "thumbnail", "gif", "webp", "mp4"}


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path)
    folder = write_folder(tmp_path / "pictures")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        for path in sorted(folder.iterdir()):
            target.write(path, path.name)
    studio.store.put("datasets/colours.zip", file.getvalue())
    yield studio
    studio.close()


def train(studio: Studio, steps: int, engine: str = small_run.NAME, who: str = "tom", **changed: Any) -> Job:
    """Enqueue a run: a small one of tests/small_run.py, or a real one."""
    wanted = {**(SMALL if engine == "train" else COMMON), "steps": steps, "sample_every": max(steps // 3, 1)}
    budget_s = changed.pop("budget_s", None)
    params = validate_job(engine, wanted | changed)
    new = queue.NewJob(
        engine=engine,
        checkpoint="none",
        batch_key=params.batch_key,
        prompt=params.title,
        params=params.model_dump(mode="json"),
        total_steps=steps,
        priority=-1,
        max_attempts=30,
        budgeted=False,
        budget_s=budget_s,
    )
    return queue.enqueue(studio.db, new, submitter=who)


def history(studio: Studio, job: Job) -> dict[int, dict[str, str]]:
    """The rows of a run's CSV by their steps."""
    text = studio.store.get(artefacts.of_job(studio.db, job.id)["history"].key).decode()
    return {int(row["step"]): row for row in csv.DictReader(io.StringIO(text))}


def weights(studio: Studio, name: str = "colours") -> dict[str, np.ndarray]:
    found = load_file(studio.folder / f"data/checkpoints/caption-diffusion/{name}/model.safetensors")
    return dict(found)


def validation(studio: Studio, job: Job) -> dict[int, str]:
    return {step: row["validation"] for step, row in history(studio, job).items() if row["validation"]}


def test_a_run_leaves_a_model_everybody_can_draw_with_and_all_its_files(studio: Studio) -> None:
    job = train(studio, 6, "train")
    studio.executor()
    (done,) = studio.ended(job)
    assert (done.state, done.step) == ("succeeded", 6), done.error
    assert studio.kinds(job) >= FILES
    rows = history(studio, job)
    assert max(rows) == 6 and set(validation(studio, job)) == {2, 4, 6}
    with zipfile.ZipFile(io.BytesIO(studio.store.get(artefacts.of_job(studio.db, job.id)["samples"].key))) as sheets:
        assert sheets.namelist() == ["000002.png", "000004.png", "000006.png"]
    for kind in ("picture", "curves", "thumbnail", "gif"):
        Image.open(io.BytesIO(studio.store.get(artefacts.of_job(studio.db, job.id)[kind].key))).verify()
    card = studio.store.get(artefacts.of_job(studio.db, job.id)["card"].key).decode()
    assert "CC0" in card and "a red square" in card and "Minutes" in card
    model = trained.find(studio.db, "caption-diffusion/colours")
    assert model is not None and model.card["steps"] == 6 and model.submitter == "tom"
    assert artefacts.of_job(studio.db, job.id)["model"].sha256 == model.sha256
    # Saved states go when the run is over.
    studio.until(lambda: not any("state" in key for key in studio.store.under(f"jobs/{job.id}")))

    drawing = studio.add_raw(
        {"prompt": "a red square", "checkpoint": model.name, "steps": 2, "seed": 1}, engine="latent-diffusion"
    )
    for path in (studio.folder / "data/checkpoints").rglob("model.safetensors*"):
        path.unlink()  # as on another machine
    (drawn,) = studio.ended(drawing)
    assert drawn.state == "succeeded", drawn.error
    assert studio.said("fetching_model") == 1

    delete_job(studio.db, studio.store, job.id, "tom")
    studio.until(lambda: not list((studio.folder / "data/checkpoints").rglob("model.safetensors*")))


def test_a_run_that_is_killed_goes_on_and_no_number_is_another(studio: Studio) -> None:
    job = train(studio, 400, sample_every=100)
    first = studio.executor()
    studio.until(lambda: "state" in studio.kinds(job) and studio.job(job.id).step >= 150)
    first.send_signal(signal.SIGKILL)
    first.wait()
    studio.executor()
    (done,) = studio.ended(job)
    assert done.state == "succeeded" and done.attempt > 1, done.error
    again = train(studio, 400, sample_every=100, name="undisturbed")
    assert studio.ended(again)[0].state == "succeeded"
    assert validation(studio, job) == validation(studio, again) != {}
    ours, theirs = weights(studio), weights(studio, "undisturbed")
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    kinds = ("picture", "samples")
    assert all(
        studio.store.get(artefacts.of_job(studio.db, job.id)[kind].key)
        == studio.store.get(artefacts.of_job(studio.db, again.id)[kind].key)
        for kind in kinds
    ), "its film of learning lacks nothing"


def test_pictures_are_drawn_at_once_while_a_run_keeps_its_place_in_memory(studio: Studio) -> None:
    job = train(studio, 100_000, sample_every=100_000)
    studio.executor()
    studio.reached(job, 2)
    drawings = [studio.add("a heart", who) for who in ("ada", "ben")]
    for drawn in studio.ended(*drawings):
        assert drawn.state == "succeeded"
    at = studio.job(job.id)
    assert at.state == "running" and studio.said("given_back") == 0, "it was not thrown out for two short pictures"
    studio.reached(job, at.step + 2)
    assert studio.job(job.id).attempt == 1


def test_pause_gives_the_run_back_go_on_resumes_it_and_stop_and_keep_ends_it_with_its_model(studio: Studio) -> None:
    job = train(studio, 100_000, sample_every=100_000)
    studio.executor()
    studio.reached(job, 3)
    queue.pause(studio.db, job.id, "tom")
    studio.until(lambda: studio.job(job.id).state == "queued")
    paused = studio.job(job.id).step
    drawn = studio.add("a heart")
    assert studio.ended(drawn)[0].state == "succeeded"
    assert studio.job(job.id).state == "queued"
    queue.go_on(studio.db, job.id, "tom")
    studio.reached(job, paused + 1)
    queue.keep(studio.db, job.id, "tom")
    (done,) = studio.ended(job)
    assert done.state == "succeeded" and paused < done.step < 100_000
    assert studio.kinds(job) >= {"model", "card", "history"}
    model = trained.find(studio.db, "caption-diffusion/colours")
    assert model is not None and model.card["stopped"].endswith("as asked") and model.card["steps"] == done.step


def test_a_run_that_has_had_its_time_ends_with_the_model_it_has(studio: Studio) -> None:
    job = train(studio, 100_000, sample_every=100_000, budget_s=1.0)
    studio.executor()
    (done,) = studio.ended(job)
    assert done.state == "succeeded" and 0 < done.step < 100_000, done.error
    model = trained.of_job(studio.db, job.id)
    assert model is not None and "the host allows" in model.card["stopped"]


def test_a_diverged_run_leaves_the_model_of_its_last_interval(studio: Studio) -> None:
    job = train(studio, 100, sample_every=5, captions=("it diverges at 90",))
    studio.executor()
    (done,) = studio.ended(job)
    assert (done.state, done.error_kind) == ("failed", "diverged"), done.error
    model = trained.of_job(studio.db, job.id)
    assert model is not None and weights(studio).keys() == {"colour"}
    assert "is kept" in (done.error or "") and done.error == f"The loss is nan. {(done.error or '')[17:]}"
    assert studio.kinds(job) >= {"model", "card", "history", "curves", "samples"}


def test_a_run_whose_server_stops_leaves_the_model_it_has(studio: Studio) -> None:
    job = train(studio, 100, sample_every=100, captions=("no data at 30",))
    studio.executor()
    (done,) = studio.ended(job)
    assert (done.state, done.error) == ("failed", "The server is gone. Its model of step 30 is kept.")
    model = trained.of_job(studio.db, job.id)
    assert model is not None and model.card["steps"] == 30


def test_runs_of_several_people_take_turns_and_one_executor_can_be_for_them_alone(tmp_path: Path) -> None:
    studio = Studio(tmp_path, slice_s=0.5)
    studio.store.put("datasets/colours.zip", b"")
    jobs = [train(studio, 100_000, who=who, name=who, sample_every=100_000) for who in ("tom", "eva")]
    studio.executor("--engines", small_run.NAME)
    drawing = studio.add("a heart", "ada")
    studio.until(lambda: all(studio.job(job.id).step > 0 for job in jobs))
    assert studio.job(drawing.id).state == "queued"
    studio.close()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("dataset:gone", "is not there any more"),
        ("ws://elsewhere.example:8000/ws", "T2I_TRAIN_FROM"),
        ("/etc", "names no data here"),
    ],
)
def test_data_that_cannot_be_read_fail_the_run_with_one_sentence(studio: Studio, data: str, sentence: str) -> None:
    job = train(studio, 4, data=data)
    studio.executor()
    (done,) = studio.ended(job)
    assert (done.state, done.error_kind) == ("failed", "data_problem")
    assert sentence in (done.error or "")


def test_a_run_that_finds_no_room_for_its_states_says_so_before_its_first_step(tmp_path: Path, studio: Studio) -> None:
    free = shutil.disk_usage(tmp_path).free
    studio.settings["min_free_bytes"] = free - 200_000
    job = train(studio, 4, "train", channels=(64, 64))
    studio.executor()
    studio.until(lambda: studio.job(job.id).state == "failed" or studio.said("waiting") > 0)
    done = studio.job(job.id)
    assert done.step == 0
    assert done.error is None or "GB of disk" in done.error


def test_the_state_before_is_read_where_the_newest_is_damaged(studio: Studio) -> None:
    job = train(studio, 100_000, sample_every=100_000)
    first = studio.executor()
    studio.until(lambda: len(manifests(studio, job)) == 2)
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 0
    steps = sorted(manifests(studio, job))
    assert len(steps) == 2, "two states are kept"
    newest = manifests(studio, job)[steps[-1]]
    document = json.loads(studio.store.get(newest))
    studio.store.put(document["parts"][0]["key"], b"damaged")
    studio.executor()
    studio.until(lambda: studio.said("opened") == 2)
    assert studio.said("state_unusable") == 1
    opened = [line for line in studio.log.read_text().splitlines() if " opened " in line][-1]
    assert f"step={steps[0]} " in opened


def manifests(studio: Studio, job: Job) -> dict[int, str]:
    """The keys of the manifests of a run's saved states by their steps."""
    keys = [key for key in studio.store.under(f"jobs/{job.id}") if key.endswith("/manifest.json")]
    return {int(key.split("/state-")[1].split("/")[0]): key for key in keys}
