"""Settings that follow from others: the form asks for what the command line would, whatever was changed first."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from streamlit.testing.v1 import AppTest

from db import artefacts, queue, schema
from db.engine import writing
from generator.params import validate
from pages.shared.navigation import GENERATION, INFERENCES
from tests.pages.conftest import OpenPage
from tests.pages.test_generation import generate, jobs, write
from tests.pages.visits import ME, Studio, picture_bytes

DIFFUSION = "set_guided-diffusion_mini-diffusion"


def diffusion(open_page: OpenPage) -> AppTest:
    app = write(open_page(), "a red heart")
    return app.selectbox(key="set_engine").set_value("guided-diffusion").run()


def drawn(studio: Studio, app: AppTest) -> dict[str, Any]:
    """The settings of the job that the form asks for."""
    app = generate(app)
    assert not app.error and not app.exception
    return jobs(studio)[0].params


@pytest.mark.parametrize(("steps", "init", "skipped"), [(10, "prior", 3), (100, "perlin", 4)])
def test_the_steps_left_out_follow_from_the_steps_and_the_start(
    studio: Studio, open_page: OpenPage, steps: int, init: str, skipped: int
) -> None:
    app = diffusion(open_page)
    app.number_input(key=f"{DIFFUSION}_steps").set_value(steps).run()
    app = app.selectbox(key=f"{DIFFUSION}_init").set_value(init).run()
    assert app.number_input(key=f"{DIFFUSION}_skip_steps").value == skipped, "the form says so before"
    params = drawn(studio, app)
    assert (params["steps"], params["init"], params["skip_steps"]) == (steps, init, skipped)
    plain = {"prompt": "a red heart", "seed": params["seed"], "steps": steps, "init": init}
    assert validate("guided-diffusion", plain) == validate("guided-diffusion", params)


def test_what_the_visitor_has_set_stays_whatever_else_changes(studio: Studio, open_page: OpenPage) -> None:
    app = diffusion(open_page)
    app.number_input(key=f"{DIFFUSION}_skip_steps").set_value(5).run()
    app.number_input(key=f"{DIFFUSION}_steps").set_value(20).run()
    assert drawn(studio, app)["skip_steps"] == 5


def test_settings_of_a_job_are_edited_as_they_are(studio: Studio, open_page: OpenPage) -> None:
    app = diffusion(open_page)
    app.number_input(key=f"{DIFFUSION}_steps").set_value(80).run()
    app.number_input(key=f"{DIFFUSION}_skip_steps").set_value(14).run()
    assert drawn(studio, app)["skip_steps"] == 14
    job = studio.finish(studio.run())
    app = diffusion(open_page)  # shows skip_steps 14 as the default, of 40 steps
    app.switch_page(INFERENCES)
    app.query_params["job"] = job.id
    app = app.run()
    next(b for b in app.button if b.label == "Edit settings").click().run()
    app = app.switch_page(GENERATION).run()
    assert app.number_input(key=f"{DIFFUSION}_skip_steps").value == 14
    app = app.selectbox(key=f"{DIFFUSION}_init").set_value("perlin").run()
    assert drawn(studio, app)["skip_steps"] == 14, "what the visitor had set stays set"


def test_settings_of_a_job_from_when_more_was_allowed_are_brought_into_range(
    studio: Studio, open_page: OpenPage
) -> None:
    old = studio.draw("a red heart", steps=20_000)
    with writing(studio.db) as conn:
        conn.execute(sa.update(schema.jobs).values(params={**old.params, "steps": 10**6}))
    app = open_page(INFERENCES, job=old.id)
    app = next(b for b in app.button if b.label == "Edit settings").click().run()
    app = app.switch_page(GENERATION).run()
    params = drawn(studio, app)
    assert params["steps"] == 20_000


def test_a_seed_that_was_typed_can_be_emptied_again(studio: Studio, open_page: OpenPage) -> None:
    app = write(open_page(), "a red heart")
    seed = "set_vqgan-clip_mini_seed"
    app.number_input(key=seed).set_value(5).run()
    app = app.run()
    assert drawn(studio, app)["seed"] == 5
    app.number_input(key=seed).set_value(None).run()
    assert app.number_input(key=seed).value is None
    assert drawn(studio, app)["seed"] != 5


def test_of_a_picture_to_start_from_half_the_steps_are_left_out(studio: Studio, open_page: OpenPage) -> None:
    app = diffusion(open_page)
    app.number_input(key=f"{DIFFUSION}_steps").set_value(12).run()
    app.file_uploader(key="upload_init_image").set_value(("me.png", picture_bytes("PNG"), "image/png")).run()
    params = drawn(studio, app)
    assert (params["init"], params["steps"], params["skip_steps"]) == ("image", 12, 6)


@pytest.mark.parametrize(
    ("engine", "checkpoint", "init"),
    [("vqgan-clip", "mini", "random"), ("guided-diffusion", "mini-diffusion", "noise"), ("biggan-clip", "", "random")],
)
def test_pictures_can_be_all_that_says_what_to_draw(
    studio: Studio, open_page: OpenPage, engine: str, checkpoint: str, init: str
) -> None:
    app = open_page()
    app.selectbox(key="set_engine").set_value(engine).run()
    app.file_uploader(key="upload_image_prompts").set_value([("a.png", picture_bytes("PNG"), "image/png")]).run()
    params = drawn(studio, app)
    assert (params["prompt"], params["init"]) == ("", init) and params["image_prompts"].startswith("uploads/")


def test_a_picture_to_resemble_is_a_source_like_any_other(studio: Studio, open_page: OpenPage) -> None:
    liked = studio.draw("a red heart")
    picture = artefacts.of_job(studio.db, liked.id)["picture"]
    guided = studio.draw("a blue car", image_prompts=f"{picture.id}:0.5 | {picture.key}")
    app = open_page(INFERENCES, job=guided.id)
    app = next(b for b in app.button if b.label == "Edit settings").click().run()
    app = app.switch_page(GENERATION).run()
    labels = [image.proto.imgs[0].alt for image in app.get("image")]
    assert labels.count("Pictures to resemble") == 2
    queue.set_hidden(studio.db, liked.id)
    app = generate(app)
    assert {"taken out by the host" in error.value for error in app.error} == {True}
    again = open_page(INFERENCES, visitor=ME, job=guided.id)
    again = next(b for b in again.button if b.label == "Run again").click().run()
    assert "taken out by the host" in again.error[0].value and len(jobs(studio)) == 1, "of the two, one is hidden"
    for _ in range(2):
        app = app.button(key="remove_image_prompts").click().run()
    assert drawn(studio, app)["image_prompts"] == ""
