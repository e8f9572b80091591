"""The first page: what is folded and what is seen, where others' pictures lead, and what a card does at one tap."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from db import artefacts, queue
from db.jobs import State
from tests.pages.conftest import OpenPage
from tests.pages.visits import ME, SOMEBODY, Studio, everything_shown, generate, jobs, write


def test_who_has_drawn_nothing_begins_from_what_others_made(studio: Studio, open_page: OpenPage) -> None:
    best, _, newest = (studio.draw(prompt, SOMEBODY, steps=30) for prompt in ("a blue whale", "a car", "a tree"))
    hidden = studio.draw("something bad", SOMEBODY)
    queue.set_hidden(studio.db, hidden.id)
    app = open_page()
    offered = [button.key for button in app.button if (button.key or "").startswith("begin_")]
    assert len(offered) == 3 and offered[0] == f"begin_{newest.id}" and "Made here lately" in everything_shown(app)
    app = app.button(key=f"begin_{best.id}").click().run()
    assert app.text_area(key="set_prompt").value == "a blue whale"
    generate(app)
    (mine,) = (job for job in jobs(studio) if job.submitter == ME)
    assert (mine.prompt, mine.params["steps"]) == ("a blue whale", 30)
    assert "Made here lately" not in everything_shown(open_page())


def test_what_was_changed_is_seen_while_the_settings_are_folded_and_taken_back_at_a_tap(
    studio: Studio, open_page: OpenPage
) -> None:
    def changed(app: AppTest) -> dict[str, str]:
        return {button.key: button.label for button in app.button if (button.key or "").startswith("changed_")}

    app = open_page()
    assert changed(app) == {}, "nothing was changed"
    app = app.number_input(key="set_vqgan-clip_mini_steps").set_value(33).run()
    app = app.selectbox(key="set_engine").set_value("guided-diffusion").run()
    assert list(changed(app)) == ["changed_engine"], "the steps are those of the other engine"
    app = app.button(key="changed_engine").click().run()
    assert list(changed(app)) == ["changed_steps"] and "33" in changed(app)["changed_steps"]
    app = app.button(key="changed_steps").click().run()
    assert changed(app) == {} and app.number_input(key="set_vqgan-clip_mini_steps").value == 24


@pytest.mark.parametrize(("shape", "size"), [("Wide", (96, 64)), ("Tall", (64, 96)), ("Square", (64, 64))])
def test_a_usual_shape_is_one_tap(studio: Studio, open_page: OpenPage, shape: str, size: tuple[int, int]) -> None:
    app = open_page()
    app = app.number_input(key="set_vqgan-clip_mini_width").set_value(128).run()
    app = app.button(key=f"shape_{shape}").click().run()
    generate(write(app, "a red heart"))
    (job,) = jobs(studio)
    assert (job.params["width"], job.params["height"]) == size


def test_a_finished_card_acts_at_one_tap(studio: Studio, open_page: OpenPage) -> None:
    mine = studio.draw("a red heart", steps=20, seed=5)
    picture = artefacts.of_job(studio.db, mine.id)["picture"]
    app = open_page().button(key=f"again_{mine.id}").click().run()
    app = app.button(key=f"upscale_{mine.id}").click().run()
    started = app.button(key=f"start_{mine.id}").click().run()
    assert not app.error and "remove_init_image" in {button.key for button in started.button}
    again, larger = sorted((job for job in jobs(studio) if job.id != mine.id), key=lambda job: job.id)
    assert again.params["steps"] == 20 and again.params["seed"] != 5 and again.parent_id == mine.id
    assert (larger.engine, larger.source_artefact_id) == ("upscale", picture.id)
    varied = open_page().button(key=f"vary_{mine.id}").click().run()
    assert (
        varied.title[0].value == "Sheets" and len([j for j in jobs(studio) if j.source_artefact_id == picture.id]) == 5
    )


def test_what_failed_can_be_taken_off_the_page_and_is_still_in_the_gallery(studio: Studio, open_page: OpenPage) -> None:
    job = studio.enqueue("a broken heart")
    app = open_page().button(key=f"cancel_{job.id}").click().run()
    assert "a broken heart" in everything_shown(app)
    app = app.button(key=f"dismiss_{job.id}").click().run()
    assert 't2i-prompt">a broken heart' not in everything_shown(app)
    assert queue.get(studio.db, job.id).state == State.CANCELLED


def test_what_was_put_back_follows_other_settings_again(studio: Studio, open_page: OpenPage) -> None:
    app = open_page().selectbox(key="set_engine").set_value("guided-diffusion").run()
    of = "set_guided-diffusion_mini-diffusion"
    app = app.number_input(key=f"{of}_steps").set_value(100).run()
    usual = app.number_input(key=f"{of}_skip_steps").value
    app = app.number_input(key=f"{of}_skip_steps").set_value(20).run()
    app = app.button(key="changed_skip_steps").click().run()
    assert app.number_input(key=f"{of}_skip_steps").value == usual > 20
    app = app.number_input(key=f"{of}_steps").set_value(20).run()
    assert app.number_input(key=f"{of}_skip_steps").value < 20 and not app.exception
    assert "changed_skip_steps" not in {button.key for button in app.button}


def test_what_a_tab_kept_of_another_version_breaks_nothing(studio: Studio, open_page: OpenPage) -> None:
    kept = {"set_prompt": 5, "set_pictures": 99, "set_vqgan-clip_mini_steps": "many", "set_vqgan-clip_mini_cutn": 4}
    app = open_page()
    app.text_input(key="form_memory").set_value(json.dumps({"form": kept, "defaults": {}, "again": {}})).run()
    assert not app.exception and app.text_area(key="set_prompt").value == ""
    steps, cutn = (app.number_input(key=f"set_vqgan-clip_mini_{name}").value for name in ("steps", "cutn"))
    assert (app.number_input(key="set_pictures").value, steps, cutn) == (1, 24, 4)


def test_whatever_failed_can_be_taken_off(studio: Studio, open_page: OpenPage) -> None:
    parent = studio.draw("a red heart")
    app = open_page().button(key=f"upscale_{parent.id}").click().run()
    job = next(job for job in jobs(studio) if job.engine == "upscale")
    app = app.button(key=f"cancel_{job.id}").click().run()
    app = app.button(key=f"dismiss_{job.id}").click().run()
    assert not app.exception and f"dismiss_{job.id}" not in {button.key for button in app.button}


def test_what_was_asked_for_before_is_a_list_to_choose_from(studio: Studio, open_page: OpenPage) -> None:
    for prompt in ("a penguin", "a rocket", "a penguin"):
        studio.enqueue(prompt)
    studio.enqueue("somebody's idea", SOMEBODY)
    app = open_page()
    assert [b.label for b in app.button if (b.key or "").startswith("earlier_")] == ["a penguin", "a rocket"]
    app.button(key="earlier_1").click().run()
    assert app.text_area(key="set_prompt").value == "a rocket"
