"""From a prompt to a picture worth keeping: rows of candidates and variations, marks, and the way back to any row."""

from __future__ import annotations

import io
import zipfile

import pytest
import sqlalchemy as sa
from streamlit.testing.v1 import AppTest

from db import artefacts, queue
from db.errors import UnknownJob
from db.jobs import Job, State
from db.rules import host_rules
from db.schema import jobs as jobs_table
from db.sheets import refinements, submissions
from db.sheets.refinements import Stage
from generator.params.vary import takes_pictures
from pages.shared.navigation import REFINE
from studio import access
from studio.context import Submitter
from studio.refine import packed
from tests.pages.conftest import OpenPage
from tests.pages.test_chain_pages import press, ranked
from tests.pages.visits import EXECUTOR, ME, SOMEBODY, Studio, everything_shown


def begin(open_page: OpenPage, prompt: str = "a red heart") -> tuple[AppTest, str]:
    """A visitor asks for four candidates; the page then, and the id of the refinement."""
    app = open_page(REFINE)
    app.text_area(key="set_prompt").set_value(prompt)
    app.segmented_control(key="refine_count").set_value(4)
    app = press(app, "Draw candidates")
    address = app.query_params["refinement"]
    return app, address if isinstance(address, str) else address[0]


def rows(studio: Studio, refinement: str) -> list[tuple[Stage, list[Job]]]:
    found = refinements.stages_of(studio.db, refinement)
    return [(s, [m.job for m in submissions.jobs_of(studio.db, s.submission.id) if m.cell is not None]) for s in found]


def draw_all(studio: Studio) -> None:
    while queue.counts(studio.db)[State.QUEUED]:
        studio.finish(studio.run())


def drawn(studio: Studio, open_page: OpenPage) -> tuple[str, Stage, list[Job]]:
    """A refinement whose four candidates are done and ranked: the second is best, then the third."""
    studio.start_executor()
    _, address = begin(open_page)
    draw_all(studio)
    open_page(REFINE, refinement=address)
    (rank,) = queue.list_jobs(studio.db, engine="rank")
    ranked(studio, rank, [0.1, 0.4, 0.3, 0.2])
    ((stage, jobs),) = rows(studio, address)
    return address, stage, jobs


def test_candidates_are_ranked_once_and_shown_best_first(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    app, address = begin(open_page)
    assert "1. Candidates" in {h.value for h in app.header} and "0 of 4 done" in everything_shown(app)
    ((_, jobs),) = rows(studio, address)
    assert {job.params["upscale"] for job in jobs} == {4} and len({job.params["seed"] for job in jobs}) == 4
    assert not queue.list_jobs(studio.db, engine="rank")
    draw_all(studio)
    for visitor in (ME, SOMEBODY, ME):
        app = open_page(REFINE, visitor=visitor, refinement=address)
    (rank,) = queue.list_jobs(studio.db, engine="rank")
    assert rank.submitter == ME and len(rank.params["pictures"]) == 4
    ranked(studio, rank, [0.1, 0.4, 0.3, 0.2])
    app = open_page(REFINE, refinement=address)
    shown = [b.key for b in app.button if str(b.key).startswith("mark_")]
    assert shown == [f"mark_{jobs[i].id}" for i in (1, 2, 3, 0)] and "No. 1 · score 0.400" in everything_shown(app)


def test_what_is_marked_is_varied_by_the_rate_and_number_that_are_set(studio: Studio, open_page: OpenPage) -> None:
    address, stage, jobs = drawn(studio, open_page)
    app = open_page(REFINE, refinement=address)
    assert app.button(key=f"vary_{stage.submission.id}").disabled
    app = app.button(key=f"mark_{jobs[1].id}").click().run()
    app = app.button(key=f"mark_{jobs[2].id}").click().run()
    app = app.select_slider(key=f"rate_{stage.submission.id}").set_value(0.9).run()
    app = app.segmented_control(key=f"count_{stage.submission.id}").set_value(6).run()
    app = press(app, "Vary 2")
    assert not app.error and not app.exception
    (_, _), (row, made) = rows(studio, address)
    assert sorted(job.parent_id for job in made) == sorted([jobs[1].id] * 3 + [jobs[2].id] * 3)
    pictures = {artefacts.of_job(studio.db, job.id)["picture"].id for job in jobs[1:3]}
    assert {job.params["init_image"] for job in made} == pictures
    assert {(job.engine, job.params["strength"]) for job in made} == {("latent-diffusion", 0.1)}, "near: skip rate 0.9"
    assert row.submission.layout == {"from": 1, "parents": [jobs[1].id, jobs[2].id], "skip_rate": 0.9}
    assert "from 2 marked in row 1, very near" in everything_shown(app)


def test_another_device_with_the_address_shows_and_goes_on_with_the_same(studio: Studio, open_page: OpenPage) -> None:
    address, stage, jobs = drawn(studio, open_page)
    mine = open_page(REFINE, refinement=address)
    mine = mine.button(key=f"mark_{jobs[0].id}").click().run()
    mine.select_slider(key=f"rate_{stage.submission.id}").set_value(0.15).run()
    theirs = open_page(REFINE, visitor=SOMEBODY, refinement=address)
    assert theirs.button(key=f"mark_{jobs[0].id}").label == "Marked 4"
    assert theirs.select_slider(key=f"rate_{stage.submission.id}").value == 0.15
    theirs = press(theirs, "Vary")
    assert {job.submitter for job in rows(studio, address)[1][1]} == {SOMEBODY}
    theirs.button(key=f"mark_{jobs[0].id}").click().run()
    mine = mine.run()
    assert "2. Variations" in {h.value for h in mine.header}
    assert mine.button(key=f"mark_{jobs[0].id}").label == "Mark 4"


def test_one_goes_back_to_a_row_and_on_from_it_with_its_own_marks(studio: Studio, open_page: OpenPage) -> None:
    address, stage, jobs = drawn(studio, open_page)
    app = open_page(REFINE, refinement=address)
    app = app.button(key=f"mark_{jobs[1].id}").click().run()
    app = press(app, "Vary")
    draw_all(studio)
    app = open_page(REFINE, refinement=address)
    (_, _), (second, varied) = rows(studio, address)
    app = app.button(key=f"mark_{varied[0].id}").click().run()
    app = app.button(key=f"upscale_{second.submission.id}").click().run()
    app = app.button(key=f"vary_{stage.submission.id}").click().run()
    found = rows(studio, address)
    assert [(s.place, s.submission.kind, s.submission.layout.get("from")) for s, _ in found] == [
        (1, "candidates", None),
        (2, "variations", 1),
        (3, "enlarged", 2),
        (4, "variations", 1),
    ]
    assert [job.parent_id for job in found[2][1]] == [varied[0].id]
    assert {job.parent_id for job in found[3][1]} == {jobs[1].id}


def test_what_was_upscaled_is_marked_and_downloaded(studio: Studio, open_page: OpenPage) -> None:
    address, stage, jobs = drawn(studio, open_page)
    app = open_page(REFINE, refinement=address)
    for job in jobs[:2]:
        app = app.button(key=f"mark_{job.id}").click().run()
    app = app.button(key=f"upscale_{stage.submission.id}").click().run()
    _, (row, upscaled) = rows(studio, address)
    for job in upscaled:
        studio.upscale(job)
    app = open_page(REFINE, refinement=address)
    assert {app.button(key=f"mark_{job.id}").label for job in upscaled} == {"Marked 1", "Marked 2"}
    labels = {str(one.proto.id).rsplit("-", 1)[-1]: one.proto.label for one in app.get("download_button")}
    assert labels[f"download_{row.submission.id}"] == "Download 2"


def test_a_prompt_of_markup_is_plain_text_and_nothing_asked_for_is_a_sentence(
    studio: Studio, open_page: OpenPage
) -> None:
    hostile = "<b>bold</b> **x** [link](http://evil) <script>alert(1)</script>"
    app, _ = begin(open_page, hostile)
    html = "".join(str(element.proto.body) for element in app.get("html") if "t2i-prompt" in str(element.proto.body))
    assert "&lt;script&gt;" in html and "<script>" not in html and "<b>" not in html
    app, _ = begin(open_page, "another")
    app = open_page(REFINE)
    app.text_area(key="set_prompt").set_value("   ")
    app = press(app, "Draw candidates")
    assert "no prompt yet" in app.error[0].value and len(refinements.of_submitter(studio.db, ME)) == 2
    assert "There is no refinement" in everything_shown(open_page(REFINE, refinement="<i>guessed</i>"))


def test_a_row_that_would_not_fit_into_the_queue_is_one_sentence(studio: Studio, open_page: OpenPage) -> None:
    address, _, jobs = drawn(studio, open_page)
    app = open_page(REFINE, refinement=address)
    app = app.button(key=f"mark_{jobs[1].id}").click().run()
    for _ in range(47):
        studio.enqueue("another")
    app = press(app, "Vary")
    assert "These 4 jobs were not queued" in app.error[0].value
    assert len(rows(studio, address)) == 1 and app.button(key=f"mark_{jobs[1].id}").label == "Marked 1"


@pytest.mark.parametrize("rule", [{"max_per_hour": 1}, {"withheld": ["rank"]}, {"refused_words": ["heart"]}])
def test_a_row_that_may_not_be_ranked_is_shown_all_the_same(
    studio: Studio, open_page: OpenPage, rule: dict[str, object]
) -> None:
    studio.start_executor()
    _, address = begin(open_page)
    draw_all(studio)
    host_rules.change(studio.db, **rule)
    app = open_page(REFINE, refinement=address)
    ((_, jobs),) = rows(studio, address)
    assert not app.error and not queue.list_jobs(studio.db, engine="rank")
    assert {f"mark_{job.id}" for job in jobs} <= {button.key for button in app.button}


def test_hidden_pictures_are_not_ranked_and_a_refinement_of_them_alone_is_gone(
    studio: Studio, open_page: OpenPage
) -> None:
    studio.start_executor()
    _, address = begin(open_page, "the secret heart")
    draw_all(studio)
    ((_, jobs),) = rows(studio, address)
    queue.set_hidden(studio.db, jobs[0].id)
    app = open_page(REFINE, visitor=SOMEBODY, refinement=address)
    (rank,) = queue.list_jobs(studio.db, engine="rank")
    pictures = {artefacts.of_job(studio.db, job.id)["picture"].id for job in jobs[1:]}
    assert not app.error and set(rank.params["pictures"]) == pictures
    for job in jobs:
        queue.set_hidden(studio.db, job.id)
    assert "No such refinement" in everything_shown(open_page(REFINE, visitor=SOMEBODY, refinement=address))
    for app in (open_page(REFINE, visitor=SOMEBODY, refinement=address), open_page(REFINE)):
        assert "the secret heart" not in everything_shown(app)


def test_what_was_hidden_since_the_page_was_drawn_is_in_no_download(studio: Studio, open_page: OpenPage) -> None:
    _, _, jobs = drawn(studio, open_page)
    files = artefacts.of_jobs(studio.db, [job.id for job in jobs[:2]])
    marked = [(job, files[job.id]["picture"]) for job in jobs[:2]]
    place, somebody = studio.opened(), Submitter(SOMEBODY)
    assert len(zipfile.ZipFile(io.BytesIO(packed(place, somebody, marked))).namelist()) == 2
    queue.set_hidden(studio.db, jobs[0].id)
    assert zipfile.ZipFile(io.BytesIO(packed(place, somebody, marked))).namelist() == [
        f"1_a-red-heart_vqgan-clip_seed{jobs[1].params['seed']}.png"
    ]
    with pytest.raises(UnknownJob):
        access.file(place, somebody, marked[0][1])
    assert access.file(place, somebody, marked[1][1])


def test_a_row_goes_on_with_what_the_host_still_offers(studio: Studio, open_page: OpenPage) -> None:
    address, stage, jobs = drawn(studio, open_page)
    vary, upscale = (f"{step}_{stage.submission.id}" for step in ("vary", "upscale"))
    host_rules.change(studio.db, withheld=["vqgan-clip", "latent-diffusion", "upscale"])
    app = open_page(REFINE, refinement=address).button(key=f"mark_{jobs[1].id}").click().run()
    assert upscale not in {button.key for button in app.button}
    app = app.button(key=vary).click().run()
    assert not app.error
    assert {job.engine for job in rows(studio, address)[1][1]} == {"guided-diffusion"}, "the next that takes pictures"
    host_rules.change(studio.db, withheld=takes_pictures())
    keys = {button.key for button in open_page(REFINE, refinement=address).button}
    assert vary not in keys and upscale in keys
    app = app.button(key=vary).click().run()
    assert "does not offer the engine" in app.error[0].value.replace("\\", ""), "on a page from before"


def test_a_ranking_that_failed_is_tried_again_later(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    _, address = begin(open_page)
    draw_all(studio)
    open_page(REFINE, refinement=address)
    tries = []
    for _ in range(4):
        waiting = queue.list_jobs(studio.db, engine="rank", states=[State.QUEUED])
        tries.append(len(queue.list_jobs(studio.db, engine="rank")))
        for job in waiting:
            queue.claim(studio.db, worker_id=EXECUTOR, limit=1, engines=["rank"], lease_s=600)
            queue.fail(studio.db, worker_id=EXECUTOR, job_id=job.id, kind="disk_full", message="No space is left.")
        if tries == [1]:
            assert not open_page(REFINE, refinement=address).error
            assert len(queue.list_jobs(studio.db, engine="rank")) == 1, "not at once: the disk is still full"
        with studio.db.begin() as conn:
            conn.execute(sa.update(jobs_table).values(finished_at=jobs_table.c.finished_at - 60))
        open_page(REFINE, refinement=address)
    assert tries == [1, 2, 3, 3], "what fails whenever it is tried is left"


def test_a_marked_picture_that_was_hidden_since_is_not_refined_by_its_owner(
    studio: Studio, open_page: OpenPage
) -> None:
    address, stage, jobs = drawn(studio, open_page)
    app = open_page(REFINE, refinement=address).button(key=f"mark_{jobs[1].id}").click().run()
    for step in ("vary", "upscale"):
        queue.set_hidden(studio.db, jobs[1].id, False)
        app.run()
        queue.set_hidden(studio.db, jobs[1].id)
        pressed = app.button(key=f"{step}_{stage.submission.id}").click().run()
        assert "taken out by the host" in pressed.error[0].value and len(rows(studio, address)) == 1


def test_a_hidden_picture_is_gone_from_the_rows_for_everybody(studio: Studio, open_page: OpenPage) -> None:
    address, _, jobs = drawn(studio, open_page)
    queue.set_hidden(studio.db, jobs[0].id)
    for shown in (open_page(REFINE, visitor=SOMEBODY, refinement=address), open_page(REFINE, refinement=address)):
        keys = {button.key for button in shown.button}
        assert f"mark_{jobs[0].id}" not in keys and f"mark_{jobs[1].id}" in keys
