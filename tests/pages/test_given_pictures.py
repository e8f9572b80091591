"""Pictures given to the form: beside the prompt until they are removed, sent only where the engine reads them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from streamlit.elements.widgets import file_uploader
from streamlit.runtime.uploaded_file_manager import DeletedFile
from streamlit.testing.v1 import AppTest

from db import artefacts, queue, schema
from db.evening import moderation
from pages.shared.navigation import GENERATION, INFERENCES, QUEUE
from scripts.full_studio import ask
from studio.uploads import MAX_IMAGE_PROMPTS
from tests.pages.conftest import OpenPage
from tests.pages.test_generation import generate, jobs, write
from tests.pages.visits import ME, SOMEBODY, Studio, everything_shown, picture_bytes


def give(app: AppTest, setting: str, *names: str) -> AppTest:
    uploader = next(one for one in app.file_uploader if one.key.startswith(f"upload_{setting}"))
    files = [(name, picture_bytes("PNG"), "image/png") for name in names]
    return uploader.set_value(files if setting == "image_prompts" else files[0]).run()


def engine(app: AppTest, name: str) -> AppTest:
    return app.selectbox(key="set_engine").set_value(name).run()


def drawn(studio: Studio, app: AppTest) -> dict[str, object]:
    before = len(jobs(studio))
    app = generate(app)
    assert not app.error and not app.exception
    assert len(jobs(studio)) == before + 1
    return jobs(studio)[0].params


def test_a_picture_stays_through_other_engines_and_pages(studio: Studio, open_page: OpenPage) -> None:
    app = give(write(open_page(), "a red heart"), "init_image", "photo.png")
    assert "photo.png" in everything_shown(app) and "until you remove it" in everything_shown(app)
    app = engine(app, "biggan-clip")
    shown = everything_shown(app)
    assert "photo.png" in shown and "BigGAN + CLIP does not start from a picture; it is kept" in shown
    assert "init_image" not in drawn(studio, app), "what the engine does not read is not sent"
    app.switch_page(QUEUE).run()
    app.switch_page(GENERATION).run()
    app = engine(app, "guided-diffusion")
    first = drawn(studio, app)
    assert first["init"] == "image" and studio.store.get(str(first["init_image"])).startswith(b"\x89PNG")
    assert drawn(studio, app)["init_image"] == first["init_image"], "once more, of the same file"
    app = app.button(key="remove_init_image").click().run()
    assert "photo.png" not in everything_shown(app)
    assert drawn(studio, app)["init_image"] is None


def test_a_mask_is_kept_for_the_engines_that_take_one(studio: Studio, open_page: OpenPage) -> None:
    app = give(write(open_page(), "a red heart"), "init_image", "photo.png")
    app = engine(give(app, "mask_image", "mask.png"), "biggan-clip")
    assert "takes no mask; it is kept" in everything_shown(app) and "mask.png" in everything_shown(app)
    assert "mask_image" not in drawn(studio, app)
    for name, begins in (("vqgan-clip", ("init", "prior")), ("latent-diffusion", ("strength", 1.0))):
        params = drawn(studio, engine(app, name))
        assert params["init_image"] and params["mask_image"]
        assert params[begins[0]] == begins[1], "what is drawn anew begins as it does without a picture"


def test_pictures_to_resemble_come_together_and_go_one_by_one(studio: Studio, open_page: OpenPage) -> None:
    app = give(open_page(), "image_prompts", "one.png", "two.png")
    app = give(app, "image_prompts", "three.png")
    app = app.button(key="remove_image_prompts_1").click().run()
    assert "two.png" not in everything_shown(app)
    app = engine(app, "latent-diffusion")
    assert "takes no pictures to resemble" in everything_shown(app)
    app = engine(app, "vqgan-clip")
    assert str(drawn(studio, app)["image_prompts"]).count("uploads/") == 2
    app = give(app, "image_prompts", *(f"{n}.png" for n in range(MAX_IMAGE_PROMPTS)))
    app = generate(app)
    assert "6 pictures to resemble; at most 4" in app.error[0].value.replace("\\", "")
    assert len(jobs(studio)) == 1


def test_a_finished_picture_is_shown_where_it_is_used(studio: Studio, open_page: OpenPage) -> None:
    made = studio.draw("a red heart", SOMEBODY)
    picture = artefacts.of_job(studio.db, made.id)["picture"]
    app = open_page(INFERENCES, job=made.id)
    app = next(b for b in app.button if b.label == "Use as init image").click().run()
    app = app.switch_page(GENERATION).run()
    assert "a finished picture" in everything_shown(app)
    assert "Picture to start from" in [image.proto.imgs[0].alt for image in app.get("image")]
    drawn(studio, app)
    child = jobs(studio)[0]
    assert (child.parent_id, child.source_artefact_id) == (made.id, picture.id)
    app = app.button(key="remove_init_image").click().run()
    assert drawn(studio, app)["init"] == "prior"
    assert jobs(studio)[0].parent_id is None


def test_a_picture_of_an_engine_that_starts_from_none_is_taken_to_one_that_does(
    studio: Studio, open_page: OpenPage
) -> None:
    ask(studio.db, "biggan-clip", ME, {"prompt": "a red heart"})
    (job,) = queue.claim(studio.db, worker_id="w", limit=1, lease_s=600, engines=["biggan-clip"])
    studio.put(job, "picture", "png", "image/png")
    queue.succeed(studio.db, worker_id="w", job_id=job.id)
    app = open_page(INFERENCES, job=job.id)
    app = next(b for b in app.button if b.label == "Use as init image").click().run()
    app = app.switch_page(GENERATION).run()
    assert app.selectbox(key="set_engine").value == "vqgan-clip"
    drawn(studio, app)
    assert jobs(studio)[0].engine == "vqgan-clip" and jobs(studio)[0].parent_id == job.id


def test_a_picture_that_is_gone_is_named_and_nothing_is_drawn_without_it(studio: Studio, open_page: OpenPage) -> None:
    app = give(write(open_page(), "a red heart"), "init_image", "photo.png")
    for key in _drafts(studio):
        studio.store.delete(key)
    app = app.run()
    assert "photo.png" in everything_shown(app) and "was lost: give it again." in everything_shown(app)
    app = generate(app)
    assert "photo.png" in app.error[0].value.replace("\\", "") and jobs(studio) == []
    app = give(app, "init_image", "again.png")
    assert drawn(studio, app)["init"] == "image"


def test_an_upload_that_the_server_has_lost_is_said_to_be(
    studio: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = write(open_page(), "a red heart")
    monkeypatch.setattr(file_uploader, "_get_upload_files", lambda value: [DeletedFile("1")] if value else [])
    app = app.file_uploader(key="upload_init_image").set_value(("p.png", picture_bytes("PNG"), "image/png")).run()
    assert "lost with the connection while it was sent" in everything_shown(app)
    assert "give it again" in generate(app).error[0].value and jobs(studio) == []


def test_a_file_that_is_no_picture_does_not_take_the_place_of_one(studio: Studio, open_page: OpenPage) -> None:
    app = give(write(open_page(), "a red heart"), "init_image", "photo.png")
    uploader = next(one for one in app.file_uploader if one.key.startswith("upload_init_image"))
    app = uploader.set_value(("notes.png", b"no picture", "image/png")).run()
    shown = everything_shown(app)
    assert "photo.png" in shown and "This is not a picture" in shown
    assert "This is not a picture" in generate(app).error[0].value and jobs(studio) == []
    app = app.button(key="remove_init_image_1").click().run()
    assert "notes.png" not in everything_shown(app)
    assert drawn(studio, app)["init"] == "image"


def test_who_is_banned_keeps_no_pictures(studio: Studio, open_page: OpenPage) -> None:
    studio.enqueue("a red fish")
    moderation.ban(studio.db, ME)
    app = give(write(open_page(), "a red heart"), "init_image", "photo.png")
    assert _drafts(studio) == [] and "upload_init_image_1" in [one.key for one in app.file_uploader]


def _drafts(studio: Studio) -> list[str]:
    """The keys of the drafts in the database."""
    with studio.db.connect() as conn:
        return list(conn.scalars(sa.select(schema.artefacts.c.key).where(schema.artefacts.c.kind == "draft")))


def test_a_mask_is_painted_on_the_picture_and_goes_with_it(studio: Studio, open_page: OpenPage) -> None:
    app = give(write(open_page(), "a red heart"), "init_image", "photo.png")
    app = app.button(key="paint_picture").click().run()
    shown = everything_shown(app)
    assert "Use this mask" in shown and 'data-picture="data:image/jpeg' in shown and 'data-mask=""' in shown
    app = app.file_uploader(key="painted_mask").set_value(("mask.png", picture_bytes("PNG"), "image/png")).run()
    assert "goes with the picture" in everything_shown(app)
    params = drawn(studio, app)
    assert params["mask_image"] and params["mask_image"] != params["init_image"]
    app = app.button(key="paint_picture").click().run()
    assert 'data-mask="data:image/png' in everything_shown(app), "it is painted further"
    app = give(app, "init_image", "another.png")
    assert "goes with the picture" not in everything_shown(app), "a mask is of one picture"
    assert not drawn(studio, app)["mask_image"]
