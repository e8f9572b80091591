"""The page Train: data given and reported on, a run started, watched, held back, compared, and drawn with."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from db import artefacts, queue
from db.jobs import Job
from db.models import trained
from generator.output.learning import History, Row
from pages.shared.navigation import MODELS, TRAIN
from studio import datasets, train
from studio.context import Submitter
from tests.captioned_files import write_zip
from tests.pages.visits import EXECUTOR, ME, SOMEBODY, Studio

OpenPage = Callable[..., AppTest]
MINE = Submitter(ME)


@pytest.fixture(autouse=True)
def open_to_visitors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T2I_TRAIN", "true")


def words(app: AppTest) -> str:
    parts = [*app.markdown, *app.header, *app.caption, *app.error, *app.info, *app.warning, *app.get("html")]
    return " ".join(str(getattr(one, "value", "") or getattr(one.proto, "body", "")) for one in parts)


def given(studio: Studio, tmp_path: Path) -> str:
    file = write_zip(tmp_path / "discs.zip", 12)
    return datasets.add_zip(studio.opened(train=True), MINE, file, name="Discs", licence="CC0").reference


def run(studio: Studio, tmp_path: Path, name: str = "discs", **more: Any) -> Job:
    values = {"data": given(studio, tmp_path), "name": name, "steps": 40, "seed": 1, **more}
    return train.submit(studio.opened(train=True), MINE, "train", values)


def learnt(studio: Studio, job: Job, step: int = 20) -> None:
    """The executor has the run, and has learnt for some steps."""
    queue.claim(studio.db, worker_id=EXECUTOR, limit=1, engines=["train"], lease_s=600)
    told: dict[str, Any] = {"score": None, "steps_per_s": 4.0, "history": [], "lease_s": 600}
    queue.heartbeat(studio.db, worker_id=EXECUTOR, job_id=job.id, step=step, **told)
    rows = History([Row(10, 2.0, 0.5, 0.6, 5.0, 2**20), Row(step, 4.0, 0.3, 0.4, 4.0, 2**30)])
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "PNG")
    for kind, data, media, ext in (
        ("history", rows.csv(), "text/csv", "csv"),
        ("preview", buffer.getvalue(), "image/png", "png"),
    ):
        artefacts.save(studio.db, studio.store, job_id=job.id, kind=kind, data=data, media_type=media, ext=ext)


def press(app: AppTest, text: str) -> AppTest:
    return next(one for one in app.button if one.label == text).click().run()


def test_visitors_are_told_where_the_host_does_not_let_them_train(
    studio: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T2I_TRAIN", "false")
    assert "not open to visitors" in words(open_page(TRAIN))


@pytest.mark.parametrize("closed", [{"T2I_TRAIN": "false"}, {"T2I_MIN_FREE_BYTES": str(1 << 60)}])
def test_what_was_given_can_be_deleted_though_nothing_is_trained_any_more(
    studio: Studio, open_page: OpenPage, tmp_path: Path, closed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given(studio, tmp_path)
    for name, value in closed.items():
        monkeypatch.setenv(name, value)
    app = open_page(TRAIN)
    assert "CC0" in words(app) and not app.file_uploader
    press(app, "Delete it for good")
    assert not app.exception and "CC0" not in words(app)
    assert datasets.listed(studio.opened(train=True), MINE) == []


def test_what_is_in_the_data_is_reported_and_a_run_starts(studio: Studio, open_page: OpenPage, tmp_path: Path) -> None:
    given(studio, tmp_path)
    studio.start_executor()
    app = open_page(TRAIN)
    assert not app.exception
    assert "32 × 32 px" in words(app) and "CC0" in words(app)
    app.text_input(key="train_name").set_value("my-discs")
    app.text_area(key="train_captions").set_value("a red disc\n\na blue disc")
    press(app, "Start training")
    (job,) = train.runs(studio.opened(), MINE)
    assert job.params["name"] == "my-discs" and job.params["captions"] == ["a red disc", "a blue disc"]
    assert job.params["licence"] == "CC0" and job.params["preset"] == "tiny"
    assert app.query_params["run"] in (job.id, [job.id])


def test_a_zip_that_is_none_is_one_sentence_on_the_page(studio: Studio, open_page: OpenPage) -> None:
    app = open_page(TRAIN)
    press(app, "Check and keep")
    assert "Choose a zip first" in words(app)
    app.file_uploader[0].set_value(("bad.zip", b"no zip", "application/zip")).run()
    press(app, "Check and keep")
    assert "not a zip archive" in words(app) and not app.exception


def test_a_zip_waits_while_its_name_is_typed_and_nothing_typed_is_lost(
    studio: Studio, open_page: OpenPage, tmp_path: Path
) -> None:
    app = open_page(TRAIN)
    app.text_input[0].set_value("Discs").run()
    press(app, "Check and keep")
    assert "Choose a zip first" in words(app) and app.text_input[0].value == "Discs"
    app.file_uploader[0].set_value(("a [b].zip", write_zip(tmp_path / "discs.zip", 12).read_bytes(), "application/zip"))
    app.run()
    assert not app.file_uploader, "it is on the disk: whoever is long in typing finds it there"
    press(app, "Check and keep")
    assert [one.name for one in datasets.listed(studio.opened(train=True), MINE)] == ["Discs"]


def test_a_run_is_watched_paused_gone_on_with_and_ended_with_its_model(
    studio: Studio, open_page: OpenPage, tmp_path: Path
) -> None:
    job = run(studio, tmp_path)
    learnt(studio, job)
    app = open_page(TRAIN, run=job.id)
    said = words(app)
    assert not app.exception
    assert all(one in said for one in ("step 20 of 40", "0.3000", "0.4000 at step 20", "4.00 steps/s", "1.07 GB"))
    press(app, "Pause")
    assert queue.get(studio.db, job.id).asked == "pause" and "paused" in words(app)
    press(app, "Go on")
    assert queue.get(studio.db, job.id).asked is None
    press(app, "Stop and keep the model")
    assert queue.get(studio.db, job.id).asked == "keep" and "ends with the model" in words(app)


def test_others_watch_and_ask_nothing_of_it(studio: Studio, open_page: OpenPage, tmp_path: Path) -> None:
    job = run(studio, tmp_path)
    learnt(studio, job)
    app = open_page(TRAIN, visitor=SOMEBODY, run=job.id)
    assert "step 20 of 40" in words(app)
    assert not {"Pause", "Stop and keep the model", "Cancel"} & {one.label for one in app.button}


def test_two_runs_are_compared(studio: Studio, open_page: OpenPage, tmp_path: Path) -> None:
    first, second = run(studio, tmp_path), run(studio, tmp_path, "slower", learning_rate=0.0001)
    app = open_page(TRAIN, **{"run": first.id, "with": second.id})
    assert not app.exception and "learning_rate" in words(app) and "0.0001" in words(app)


def finished(studio: Studio, tmp_path: Path) -> tuple[Job, str]:
    """A run that is done, and the name of its model."""
    job = run(studio, tmp_path)
    learnt(studio, job, 40)
    queue.succeed(studio.db, worker_id=EXECUTOR, job_id=job.id)
    key, name = f"jobs/{job.id}/model.safetensors", "caption-diffusion/discs"
    studio.store.put(key, b"model")
    facts: dict[str, Any] = {"key": key, "sha256": "0" * 64, "size": 10}
    recipe = {"preset": "tiny", "learning_rate": 0.001}
    card = {"captions": ["a red disc", "<b>2"], "steps": 1040, "scores": {"train_loss": 0.25}, "recipe": recipe}
    trained.add(studio.db, name=name, job_id=job.id, licence="CC0", submitter=ME, card=card, **facts)
    return job, name


def test_the_finished_model_is_listed_and_leads_to_the_form(
    studio: Studio, open_page: OpenPage, tmp_path: Path
) -> None:
    job, name = finished(studio, tmp_path)
    models = open_page(MODELS)
    assert "Trained here" in words(models) and name in words(models)
    app = press(open_page(TRAIN, run=job.id), "Draw with it")
    assert app.text_area(key="set_prompt").value == "a red disc"
    assert app.selectbox(key="set_checkpoint").value == name


def test_the_card_of_a_model_is_told_in_words_with_every_setting_behind_it(
    studio: Studio, open_page: OpenPage, tmp_path: Path
) -> None:
    finished(studio, tmp_path)
    models = open_page(MODELS, visitor=SOMEBODY)
    told = words(models)
    assert "<dt>Captions</dt><dd>a red disc · &lt;b&gt;2</dd>" in told
    assert "<dt>Steps</dt><dd>1,040</dd>" in told and "<dt>Loss in training</dt><dd>0.25</dd>" in told
    assert "learning_rate" not in told and any("learning_rate" in one.value for one in models.get("code"))


@pytest.mark.parametrize("page", [TRAIN, MODELS])
def test_a_run_is_deleted_with_its_model_by_whoever_asked_for_it(
    page: str, studio: Studio, open_page: OpenPage, tmp_path: Path
) -> None:
    job, name = finished(studio, tmp_path)
    key = f"delete_{job.id}"
    assert key not in {one.key for one in open_page(page, visitor=SOMEBODY, run=job.id).button}
    app = open_page(page, run=job.id)
    assert not app.button(key=key).click().run().exception
    assert trained.find(studio.db, name) is None and not studio.store.names(f"jobs/{job.id}")
    assert "discs" not in words(open_page(TRAIN).run())
