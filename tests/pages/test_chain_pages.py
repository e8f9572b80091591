"""From a finished picture to the next one: vary, upscale, rank; and the way back."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from streamlit.testing.v1 import AppTest

from db import artefacts, queue
from db.jobs import Job, State
from db.sheets import submissions
from pages.shared.navigation import INFERENCES, SHEETS
from tests.pages.conftest import OpenPage
from tests.pages.visits import EXECUTOR, ME, SOMEBODY, Studio, everything_shown


def press(app: AppTest, label: str, key: str = "") -> AppTest:
    return next(b for b in app.button if b.label == label and str(b.key or "").startswith(key)).click().run()


def jobs(studio: Studio) -> list[Job]:
    return queue.list_jobs(studio.db, limit=100, include_hidden=True)


def candidates(studio: Studio, open_page: OpenPage, count: int = 3) -> str:
    """A visitor asks for several pictures; the id of their sheet."""
    app = open_page()
    app.text_area(key="set_prompt").set_value("a red heart")
    app.number_input(key="set_pictures").set_value(count)
    press(app, "Generate")
    (sheet,) = submissions.of_submitter(studio.db, ME)
    return sheet.id


def ranked(studio: Studio, job: Job, scores: list[float]) -> None:
    """An executor ranks the pictures in the order they were named, with these scores."""
    studio.rank(job, dict(zip(job.params["pictures"], scores, strict=True)))


def test_variations_are_children_that_start_from_the_picture(studio: Studio, open_page: OpenPage) -> None:
    parent = studio.draw("a red heart", SOMEBODY, steps=20)
    app = open_page(INFERENCES, job=parent.id)
    app.number_input(key=f"vary_count_{parent.id}").set_value(3)
    app.selectbox(key=f"vary_engine_{parent.id}").set_value("guided-diffusion")
    app.slider(key=f"vary_skip_{parent.id}").set_value(0.75)
    app = press(app.run(), "Make variations")
    assert not app.error and not app.exception
    picture = artefacts.of_job(studio.db, parent.id)["picture"]
    made = [job for job in jobs(studio) if job.id != parent.id]
    assert len(made) == 3 == len({job.params["seed"] for job in made})
    for job in made:
        assert (job.parent_id, job.source_artefact_id, job.submitter) == (parent.id, picture.id, ME)
        assert (job.params["init"], job.params["init_image"], job.params["skip_steps"]) == ("image", picture.id, 30)
        assert (job.prompt, job.total_steps) == ("a red heart", 10)
    assert app.title[0].value == "Sheets" and "Variations · 0 of 3 done" in everything_shown(app)
    of_it = {button.key: button.label for button in open_page(INFERENCES, job=parent.id).button}
    told = [of_it[f"open_child_{job.id}"] for job in sorted(made, key=lambda job: job.id)]
    assert told == ["Variation 1", "Variation 2", "Variation 3"]


def test_a_picture_is_upscaled_as_a_child_and_each_shows_the_other(studio: Studio, open_page: OpenPage) -> None:
    parent = studio.draw("a red heart", SOMEBODY)
    app = press(open_page(INFERENCES, job=parent.id), "Upscale", f"upscale_{parent.id}")
    assert not app.error
    (child,) = (job for job in jobs(studio) if job.engine == "upscale")
    picture = artefacts.of_job(studio.db, parent.id)["picture"]
    assert (child.parent_id, child.prompt, child.source_artefact_id) == (parent.id, "a red heart", picture.id)
    assert (child.params["picture"], child.params["width"]) == (picture.id, 256)
    shown = open_page(INFERENCES, job=child.id)
    assert "Made from" in everything_shown(shown) and f"open_parent_{parent.id}" in {b.key for b in shown.button}
    back = shown.button(key=f"open_parent_{parent.id}").click().run()
    assert "Made from it" in everything_shown(back)
    assert back.button(key=f"open_child_{child.id}").label == "Upscaled copy"


def test_an_upscaled_picture_is_varied_with_the_settings_it_was_drawn_with(studio: Studio, open_page: OpenPage) -> None:
    parent = studio.draw("a red heart", cutn=5, width=96)
    press(open_page(INFERENCES, job=parent.id), "Upscale", f"upscale_{parent.id}")
    studio.start_executor()
    (child,) = (job for job in jobs(studio) if job.engine == "upscale")
    studio.upscale(child)
    press(open_page(INFERENCES, job=child.id), "Make variations")
    made = [job for job in jobs(studio) if job.parent_id == child.id]
    assert {(job.engine, job.params["cutn"]) for job in made} == {("vqgan-clip", 5)} and len(made) == 4


def test_too_large_a_picture_is_not_queued_to_be_upscaled(studio: Studio, open_page: OpenPage) -> None:
    parent = studio.draw("a red heart")
    picture = artefacts.of_job(studio.db, parent.id)["picture"]
    artefacts.record(
        studio.db,
        job_id=parent.id,
        kind="picture",
        key=picture.key,
        media_type="image/png",
        size=1,
        sha256="0" * 64,
        width=4000,
        height=3000,
    )
    studio.store.put(picture.key, studio.store.get(picture.key))
    app = press(open_page(INFERENCES, job=parent.id), "Upscale", f"upscale_{parent.id}")
    assert "too large to be upscaled 4 times" in app.error[0].value
    assert jobs(studio) == [parent]


def test_hidden_children_are_not_shown_to_others(studio: Studio, open_page: OpenPage) -> None:
    parent = studio.draw("a red heart")
    child = studio.draw("a red heart", SOMEBODY, parent_id=parent.id)
    assert "Made from it" in everything_shown(open_page(INFERENCES, job=parent.id))
    queue.set_hidden(studio.db, child.id)
    assert "Made from it" not in everything_shown(open_page(INFERENCES, job=parent.id))


def test_several_pictures_of_a_prompt_are_a_sheet_that_is_ranked(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    sheet = candidates(studio, open_page)
    made = [studio.finish(studio.run()) for _ in range(3)]
    app = open_page(SHEETS, sheet=sheet)
    shown = everything_shown(app)
    assert "Candidates · 3 of 3 done" in shown and "score 0.420" in shown
    app.text_input(key=f"rank_prompt_{sheet}").set_value("a heart, dark red")
    app = press(app.run(), "Rank", f"rank_{sheet}")
    (rank,) = (job for job in jobs(studio) if job.engine == "rank")
    assert rank.params["prompt"] == "a heart, dark red" and rank.submitter == ME
    pictures = [artefacts.of_job(studio.db, job.id)["picture"].id for job in made]
    assert rank.params["pictures"] == pictures
    ranked(studio, rank, [0.1, 0.3, 0.2])
    app = open_page(SHEETS, sheet=sheet)
    opened = [str(b.key) for b in app.button if str(b.key).startswith("open_")]
    assert opened == [f"open_{made[i].id}" for i in (1, 2, 0)], "best first"
    assert "No. 1 · score 0.300" in everything_shown(app) and "Ranked by mini" in everything_shown(app)
    best = app.button(key=opened[0]).click().run()
    assert f"<dd>{made[1].params['seed']}</dd>" in everything_shown(best), "it is opened over the sheet"


def test_the_films_of_a_sheet_are_offered_as_one_gif_once_there_are_two(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    sheet = candidates(studio, open_page, 2)
    offered = []
    for _ in range(2):
        studio.finish(studio.run())
        offered.append([button.proto.label for button in open_page(SHEETS, sheet=sheet).get("download_button")])
    assert ["Films as one GIF" in labels for labels in offered] == [False, True]
    assert all("Sheet as PNG" in labels for labels in offered)


def test_one_finished_picture_is_nothing_to_rank(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    sheet = candidates(studio, open_page, 2)
    studio.finish(studio.run())
    app = press(open_page(SHEETS, sheet=sheet), "Rank", f"rank_{sheet}")
    assert "takes two finished pictures" in app.error[0].value
    press(app, "Cancel the rest")
    assert queue.counts(studio.db)[State.CANCELLED] == 1


def test_sheets_are_listed_and_an_unknown_one_is_a_sentence(studio: Studio, open_page: OpenPage) -> None:
    assert "No sheets yet" in everything_shown(open_page(SHEETS))
    assert "There is no sheet" in everything_shown(open_page(SHEETS, sheet="<b>nothing</b>"))
    sheet = candidates(studio, open_page)
    app = open_page(SHEETS)
    assert "Candidates · 3 pictures" in everything_shown(app)
    app = app.button(key=f"open_{sheet}").click().run()
    assert "Candidates · 0 of 3 done" in everything_shown(app)
    assert "No sheets yet" in everything_shown(open_page(SHEETS, visitor=SOMEBODY))


@pytest.mark.parametrize("owner", [ME, SOMEBODY])
@pytest.mark.parametrize("action", ["Make variations", "Upscale"])
def test_nothing_is_made_from_a_picture_that_is_gone(
    studio: Studio, open_page: OpenPage, action: str, owner: str
) -> None:
    hidden, deleted = studio.draw("a red heart", owner), studio.draw("a red heart", owner)
    pages = [open_page(INFERENCES, job=job.id) for job in (hidden, deleted)]
    queue.set_hidden(studio.db, hidden.id, True)
    studio.store.delete(artefacts.of_job(studio.db, deleted.id)["picture"].key)
    for page, job, said in ((pages[0], hidden, "taken out by the host"), (pages[1], deleted, "is not in the store")):
        app = press(page, action, key="vary_" if action != "Upscale" else f"upscale_{job.id}")
        assert said in app.error[0].value and not app.exception
    assert len(jobs(studio)) == 2, "nothing is queued"


def test_what_the_host_has_hidden_is_not_run_again_by_its_owner(studio: Studio, open_page: OpenPage) -> None:
    drawn = studio.draw("a red heart")
    press(open_page(INFERENCES, job=drawn.id), "Upscale", f"upscale_{drawn.id}")
    (upscaled,) = (job for job in jobs(studio) if job.engine == "upscale")
    studio.start_executor()
    studio.upscale(upscaled)
    for job in (upscaled, drawn):
        app = open_page(INFERENCES, job=job.id)
        queue.set_hidden(studio.db, job.id)
        app = press(app, "Run again")
        assert "taken out by the host" in app.error[0].value and not app.exception
    assert len(jobs(studio)) == 2, "nothing is queued"


def test_the_start_of_a_variation_is_shown_in_the_form_unless_it_was_hidden(
    studio: Studio, open_page: OpenPage
) -> None:
    first = studio.draw("a red heart")
    picture = artefacts.of_job(studio.db, first.id)["picture"]
    for reference in (picture.id, picture.key):
        queue.set_hidden(studio.db, first.id, False)
        child = studio.draw("a blue car", SOMEBODY, init_image=reference, parent_id=first.id)
        for hidden in (False, True):
            queue.set_hidden(studio.db, first.id, hidden)
            app = press(open_page(INFERENCES, job=child.id), "Edit settings")
            kept = [image for image in app.get("image") if image.proto.imgs[0].alt == "Picture to start from"]
            said = " ".join(error.value for error in app.error)
            assert bool(kept) != hidden and ("taken out by the host" in said) == hidden


def test_a_sheet_with_a_hidden_picture_is_not_ranked_behind_its_back(studio: Studio, open_page: OpenPage) -> None:
    sheet = candidates(studio, open_page, 2)
    studio.start_executor()
    made = [studio.finish(studio.run()) for _ in range(2)]
    app = open_page(SHEETS, visitor=SOMEBODY, sheet=sheet)
    queue.set_hidden(studio.db, made[0].id, True)
    app = press(app, "Rank", f"rank_{sheet}")
    assert "taken out by the host" in app.error[0].value and len(jobs(studio)) == 2


def test_the_last_picture_of_a_failed_job_can_be_upscaled(studio: Studio, open_page: OpenPage) -> None:
    studio.enqueue("a red heart")
    job = studio.run()
    studio.put(job, "picture", "png", "image/png")
    queue.fail(studio.db, worker_id=EXECUTOR, job_id=job.id, kind="not_finite", message="It stopped being finite.")
    app = press(open_page(INFERENCES, job=job.id), "Upscale", f"upscale_{job.id}")
    assert not app.error and not app.exception and jobs(studio)[0].engine == "upscale"


def test_a_job_that_is_its_own_parent_is_shown(studio: Studio, open_page: OpenPage) -> None:
    parent = studio.draw("a red heart")
    press(open_page(INFERENCES, job=parent.id), "Upscale", f"upscale_{parent.id}")
    job = studio.upscale(jobs(studio)[0])
    with studio.db.begin() as conn:
        conn.execute(sa.text("UPDATE jobs SET parent_id = id WHERE id = :id"), {"id": job.id})
    app = open_page(INFERENCES, job=job.id)
    assert not app.error and not app.exception and "Made from it" in everything_shown(app)


def test_a_ranking_is_shown_in_words_and_not_among_the_pictures(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    sheet = candidates(studio, open_page, 2)
    for _ in range(2):
        studio.finish(studio.run())
    press(open_page(SHEETS, sheet=sheet), "Rank", f"rank_{sheet}")
    (rank,) = (job for job in jobs(studio) if job.engine == "rank")
    ranked(studio, rank, [0.1, 0.3])
    gallery = open_page(INFERENCES)
    assert f"open_{rank.id}" not in {b.key for b in gallery.button}
    detail = open_page(INFERENCES, job=rank.id)
    assert not detail.exception and "Ranking" in everything_shown(detail)
    best = artefacts.get(studio.db, rank.params["pictures"][1]).job_id
    first = detail.button(key="open_rank_1")
    assert first.label == "No. 1 · 0.300"
    assert first.click().run().query_params["job"] in (best, [best])
