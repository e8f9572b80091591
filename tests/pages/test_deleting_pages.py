"""What a visitor gave and asked for is theirs on the pages: others are not shown it, and they can delete it."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from db import artefacts, queue
from db.artefacts import givers
from db.jobs import Job
from pages.shared.navigation import GENERATION, INFERENCES
from settings import Settings
from studio import deleting
from studio.context import Submitter
from studio.submit import Wish, submit
from studio.uploads import Upload, keep_one
from tests.pages.conftest import OpenPage
from tests.pages.visits import ME, SOMEBODY, Studio, everything_shown, picture_bytes

PHOTO = Upload("photo.png", picture_bytes("PNG"))


def with_photo(studio: Studio, who: str) -> Job:
    submit(studio.opened(), Submitter(who), Wish("vqgan-clip", {"prompt": "a face"}, uploads={"init_image": [PHOTO]}))
    return studio.finish(studio.run())


def press(app, key: str):
    return app.button(key=key).click().run()


def test_settings_of_somebody_elses_job_come_without_the_picture_given_with_it(
    studio: Studio, open_page: OpenPage
) -> None:
    job = with_photo(studio, SOMEBODY)
    (photo,) = givers.given_among(studio.db, givers.named_in(job.params))
    app = open_page(INFERENCES, job=job.id)
    shown = everything_shown(app)
    assert photo not in shown and "given by whoever asked for it" in shown
    assert "shown to nobody else" in shown and not [b for b in app.button if (b.key or "").startswith("delete_")]
    next(b for b in app.button if b.label == "Edit settings").click().run()
    form = app.session_state["form"]
    assert form["pictures_given"] == [] and form["set_prompt"] == "a face"
    assert photo not in str(dict(form))
    app.switch_page(GENERATION).run()
    assert "somebody else gave; it is theirs and was left out" in everything_shown(app) and not app.exception


def test_ones_own_job_keeps_its_picture(studio: Studio, open_page: OpenPage) -> None:
    job = with_photo(studio, ME)
    app = open_page(INFERENCES, job=job.id)
    assert "shown to nobody else" not in everything_shown(app)
    next(b for b in app.button if b.label == "Edit settings").click().run()
    assert [one["text"] for one in app.session_state["form"]["pictures_given"]] == [job.params["init_image"]]


def test_a_picture_is_deleted_from_its_page(studio: Studio, open_page: OpenPage) -> None:
    job, other = studio.draw("a red heart"), studio.draw("a blue car", SOMEBODY)
    app = press(open_page(INFERENCES, job=job.id), f"delete_{job.id}")
    assert "The picture is deleted." in [one.value for one in app.success] and not app.exception
    assert artefacts.of_job(studio.db, job.id) == {} and queue.get(studio.db, job.id).prompt == ""
    assert [b.label for b in app.button if (b.key or "").startswith("open_")] == ["a blue car"]
    assert "It was deleted" in everything_shown(open_page(INFERENCES, job=job.id))
    assert artefacts.of_job(studio.db, other.id)


def test_a_link_deletes_one_picture_after_one_question(
    studio: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T2I_PUBLIC_URL", "https://studio.example")
    job = studio.draw("a red heart", ME)
    app = open_page(INFERENCES, job=job.id)
    (link,) = [code.value for code in app.code if "delete=" in code.value]
    assert link.startswith("https://studio.example/previous_inferences?job=")
    query = {name: value for name, (value,) in parse_qs(urlsplit(link).query).items()}
    assert query["job"] == job.id and Settings().public_url

    theirs = studio.draw("a blue car", SOMEBODY)
    token = deleting.link_for(studio.opened(), theirs.id)
    for wrong in (query["delete"], token[:-1], "x"):
        app = open_page(INFERENCES, job=theirs.id, delete=wrong)
        assert "deletes nothing here" in app.error[0].value and not app.exception
        assert "delete_by_link_now" not in [b.key for b in app.button]
    app = press(open_page(INFERENCES, job=theirs.id, delete=token), "delete_by_link_not")
    assert artefacts.of_job(studio.db, theirs.id) and "Delete this picture?" not in everything_shown(app)
    app = press(open_page(INFERENCES, job=theirs.id, delete=token), "delete_by_link_now")
    assert artefacts.of_job(studio.db, theirs.id) == {} and artefacts.of_job(studio.db, job.id)
    app = open_page(INFERENCES, job=theirs.id, delete=token)
    assert not app.exception


def test_pictures_one_gave_are_listed_and_deleted(studio: Studio, open_page: OpenPage) -> None:
    mine = keep_one(studio.opened(), Submitter(ME), PHOTO)
    keep_one(studio.opened(), Submitter(SOMEBODY), PHOTO)
    app = open_page(INFERENCES)
    assert [b.key for b in app.button if (b.key or "").startswith("delete_given_")] == [f"delete_given_{mine.id}"]
    app = press(app, f"delete_given_{mine.id}")
    assert "The picture is deleted." in [one.value for one in app.success]
    assert givers.of_giver(studio.db, ME, limit=9) == [] and len(givers.of_giver(studio.db, SOMEBODY, limit=9)) == 1


def test_it_is_said_before_who_sees_a_picture_and_how_long_it_is_kept(studio: Studio, open_page: OpenPage) -> None:
    said = everything_shown(open_page(GENERATION))
    assert "Only you are shown a picture you give" in said and "until you delete it" in said
