"""The form of a new run: every setting as it is declared, what is wrong said at the field, what it needs told before;
and LoRAs of a Stable Diffusion that is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from generator.params.train_presets import PRESETS
from pages.shared.navigation import TRAIN
from studio import train
from studio.context import Submitter
from studio.settings_form import run_fields
from tests.pages.test_train import given, press, words
from tests.pages.visits import ME, Studio
from tests.tiny_diffusers import save_stable_diffusion

OpenPage = Callable[..., AppTest]
LORA = "A style or subject for Stable Diffusion"


@pytest.fixture(autouse=True)
def open_to_visitors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("T2I_TRAIN", "true")
    monkeypatch.setenv("T2I_CHECKPOINTS_DIR", str(tmp_path / "checkpoints"))


def form(studio: Studio, open_page: OpenPage, tmp_path: Path) -> AppTest:
    given(studio, tmp_path)
    studio.start_executor()
    app = open_page(TRAIN)
    assert not app.exception
    return app


def field(app: AppTest, name: str, start: str = "tiny", engine: str = "train") -> AppTest:
    """The widget of a setting."""
    key = f"set_{engine}_{start}_{name}"
    every = [*app.number_input, *app.text_input, *app.text_area, *app.selectbox, *app.toggle]
    return next(one for one in every if one.key == key)


def test_every_setting_is_in_the_form_lists_and_texts_too(studio: Studio, open_page: OpenPage, tmp_path: Path) -> None:
    app = form(studio, open_page, tmp_path)
    apart = {"preset", "name", "captions"}
    names = {one.name for group in run_fields("train").values() for one in group} - apart
    assert {"channels", "base", "licence", "seed", "validation_share", "learning_rate"} <= names
    for name in names:
        assert field(app, name) is not None
    assert field(app, "channels").value == "32, 64, 128"
    field(app, "channels").set_value("32 64, 64").run()
    field(app, "licence").set_value("mine alone").run()
    press(app, "Start training")
    (job,) = train.runs(studio.opened(), Submitter(ME))
    assert job.params["channels"] == [32, 64, 64] and job.params["licence"] == "mine alone"
    assert job.params["learning_rate"] == PRESETS["tiny"]["learning_rate"], "what nobody has changed is the preset's"


def test_what_is_wrong_is_said_at_the_field_in_the_words_of_the_declaration(
    studio: Studio, open_page: OpenPage, tmp_path: Path
) -> None:
    app = form(studio, open_page, tmp_path)
    field(app, "channels").set_value("32, wide").run()
    assert any("valid integer" in one.value and "wide" in one.value for one in app.caption)
    field(app, "channels").set_value("32, 65").run()
    said = [one.value for one in app.caption if "multiple of 8, from 8 to 2048" in one.value]
    assert said and "Saved states" not in words(app), "no sizes are told of what cannot be trained"
    press(app, "Start training")
    assert not train.runs(studio.opened(), Submitter(ME)) and not app.exception


def test_disk_and_memory_are_told_before_it_starts(studio: Studio, open_page: OpenPage, tmp_path: Path) -> None:
    app = form(studio, open_page, tmp_path)
    assert "Model: 47 MB. Saved states, the last two: 375 MB" in words(app) and "with 32 pictures at once" in words(app)
    field(app, "micro_batch").set_value(4).run()
    assert "with 4 pictures at once" in words(app)
    app.selectbox(key="train_preset").set_value("large").run()
    assert "download stable-diffusion-1-5" in " ".join(one.value for one in app.code), "what is missing is said"


def test_a_lora_is_offered_where_a_base_is_there(studio: Studio, open_page: OpenPage, tmp_path: Path) -> None:
    app = form(studio, open_page, tmp_path)
    app.session_state["train_kind"] = "train-lora"
    app.run()
    assert "none is on this machine yet" in words(app)
    assert "Start training" not in {one.label for one in app.button}
    save_stable_diffusion(tmp_path / "checkpoints" / "diffusers" / "tiny")
    app.run()
    assert app.selectbox(key="train_base").value == "diffusers/tiny" and not app.exception
    assert "Saved states" in words(app)
    mine = {"start": "diffusers/tiny", "engine": "train-lora"}
    field(app, "trigger", **mine).set_value("ohwx ink").run()
    field(app, "rank", **mine).set_value(4).run()
    field(app, "resolution", **mine).set_value(100).run()
    assert any("multiple of 8" in one.value for one in app.caption)
    field(app, "resolution", **mine).set_value(128).run()
    app.text_area(key="train_captions").set_value("ohwx ink, a boat")
    press(app, "Start training")
    (job,) = train.runs(studio.opened(), Submitter(ME))
    assert job.engine == "train-lora" and job.params["captions"] == ["ohwx ink, a boat"]
    assert (job.params["checkpoint"], job.params["trigger"]) == ("diffusers/tiny", "ohwx ink")
    assert (job.params["rank"], job.params["resolution"]) == (4, 128)
