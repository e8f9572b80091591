"""A session that the server has lost under an open page: what the page shows is what is queued, to the last widget."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from db.artefacts import drafts
from generator import registry
from pages.components import form
from pages.shared.navigation import COMPARE, INFERENCES, REFINE
from studio import settings_form
from tests.pages.conftest import OpenPage
from tests.pages.test_generation import generate, jobs, write
from tests.pages.visits import ME, SOMEBODY, Studio, everything_shown, picture_bytes

KINDS = ("number_input", "selectbox", "toggle", "multiselect", "text_input")


def reconnected(app: AppTest) -> AppTest:
    """The page as its browser has it, sent to a server that knows nothing of it."""
    states = app._tree.get_widget_states()
    fresh = AppTest.from_file(str(app._script_path), default_timeout=60)
    fresh.session_state["visitor"] = ME
    fresh.session_state["settings"] = True  # a browser says so of what is unfolded; the test harness does not
    fresh._finished_page_script_hash = app._finished_page_script_hash
    for name in app.query_params:
        fresh.query_params[name] = app.query_params[name]
    return fresh._run(states)


def pressed(app: AppTest, label: str) -> AppTest:
    """The first that the server hears of the page again is this button."""
    next(button for button in app.button if button.label == label).click()
    return reconnected(app)


def change(app: AppTest, engine: str, checkpoint: str) -> dict[str, object]:
    """Another value in every widget of an engine that can have one; returns them by setting. Nothing is sent."""
    changed: dict[str, object] = {}
    fields = [one for group in settings_form.fields(engine, checkpoint, [checkpoint]).values() for one in group]
    for field in fields:
        found = [w for kind in KINDS for w in app.get(kind) if w.key == form.key_of(engine, checkpoint, field.name)]
        if not found or field.name in ("checkpoint", "init", "skip_steps", "tiling"):
            continue
        (widget,) = found
        if field.kind == "switch":
            changed[field.name] = not widget.value
        elif field.kind == "whole" and field.name not in ("width", "height", "batch_size", "cut_batches"):
            larger = (widget.value or 0) + 1
            changed[field.name] = larger if field.maximum is None or larger <= field.maximum else widget.value - 1
        elif field.kind == "choice" and len(field.choices) > 1 and field.name != "upscaler":
            changed[field.name] = next(one for one in field.choices if one != widget.value)
        if field.name in changed:
            widget.set_value(changed[field.name])
    return changed


@pytest.mark.parametrize("engine", registry.drawing_engines())
@pytest.mark.parametrize("sent", [True, False], ids=["changed before", "changed at the moment"])
def test_every_setting_is_what_the_page_shows(studio: Studio, open_page: OpenPage, engine: str, sent: bool) -> None:
    app = open_page()
    app.selectbox(key="set_engine").set_value(engine).run()
    checkpoint = app.selectbox(key="set_checkpoint").value if _has(app, "set_checkpoint") else None
    checkpoint = checkpoint or registry.ENGINES[engine].checkpoints[0]
    write(app, "a blue whale")
    changed = change(app, engine, checkpoint)
    assert len(changed) > 5
    if sent:
        app = app.run()
        assert not app.exception
    app = pressed(app, "Generate")
    assert not app.error and not app.exception
    (job,) = jobs(studio)
    assert (job.engine, job.checkpoint, job.prompt) == (engine, checkpoint, "a blue whale")
    assert {name: job.params[name] for name in changed} == changed


def test_other_engines_keep_their_settings_and_what_follows_still_follows(studio: Studio, open_page: OpenPage) -> None:
    app = open_page()
    app.selectbox(key="set_engine").set_value("guided-diffusion").run()
    app.number_input(key="set_guided-diffusion_mini-diffusion_seed").set_value(5).run()
    app.selectbox(key="set_engine").set_value("vqgan-clip").run()
    app = reconnected(app.run())
    app.selectbox(key="set_engine").set_value("guided-diffusion").run()
    assert app.number_input(key="set_guided-diffusion_mini-diffusion_seed").value == 5
    skipped = app.number_input(key="set_guided-diffusion_mini-diffusion_skip_steps").value
    app.file_uploader(key="upload_init_image").set_value(("p.png", picture_bytes("PNG"), "image/png")).run()
    app.run()
    assert app.number_input(key="set_guided-diffusion_mini-diffusion_skip_steps").value > skipped
    app = reconnected(app.run())
    assert "p.png" in everything_shown(app)
    app.button(key="remove_init_image").click().run()
    assert app.number_input(key="set_guided-diffusion_mini-diffusion_skip_steps").value == skipped


def test_the_forms_of_the_other_pages_too(studio: Studio, open_page: OpenPage) -> None:
    app = open_page(COMPARE)
    app.text_area(key="compare_prompt").set_value("a blue whale")
    app.selectbox(key="compare_rows").set_value("steps").run()
    app.text_area(key="compare_rows_values_steps").set_value("3, 4")
    app.text_area(key="compare_columns_values_seed").set_value("8")
    app = pressed(app, "Compare")
    assert not app.error and not app.exception
    assert {(job.params["steps"], job.params["seed"]) for job in jobs(studio)} == {(3, 8), (4, 8)}

    app = open_page(REFINE)
    app.text_area(key="set_prompt").set_value("a red whale")
    app.selectbox(key="refine_style_mini").set_value("fluent")
    app = pressed(app, "Draw candidates")
    assert not app.error and not app.exception
    assert {job.params["style"] for job in jobs(studio) if job.prompt == "a red whale"} == {"fluent"}

    app = open_page(INFERENCES)
    app.text_input(key="gallery_search").set_value("red")
    app.segmented_control(key="gallery_whose").set_value("mine")
    app = reconnected(app)
    assert app.text_input(key="gallery_search").value == "red"
    assert app.segmented_control(key="gallery_whose").value == "mine"


def test_what_a_browser_says_it_remembers_is_taken_for_no_more_than_that(studio: Studio, open_page: OpenPage) -> None:
    draft = drafts.save(studio.db, studio.store, SOMEBODY, picture_bytes("PNG"), width=48, height=32)
    theirs = {"setting": "init_image", "text": draft.key, "name": "theirs.png"}
    for remembered in (
        "no JSON",
        "[1]",
        '{"form": {"set_prompt": "\\ud83d", "set_pictures": NaN}}',
        json.dumps({"form": 3}),
        json.dumps({"form": {"pictures_given": [3, {"setting": "x", "text": "y"}, {"text": 1}], "set_checkpoint": 5}}),
        json.dumps({"form": {"set_pictures": "many", "set_vqgan-clip_mini_steps": [1], "set_style": 7}}),
        json.dumps({"form": {"pictures_given": [theirs], "uploads_init_image": "x"}}),
    ):
        app = open_page()
        app.text_input(key="form_memory").set_value(remembered)
        app = reconnected(app)
        assert not app.exception, remembered
    assert "was lost" in everything_shown(app), "somebody else's is shown to nobody"
    assert "was lost" in generate(write(app, "a red heart")).error[0].value and jobs(studio) == []


def _has(app: AppTest, key: str) -> bool:
    return any(one.key == key for one in app.selectbox)
