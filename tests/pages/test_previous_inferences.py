"""Previous Inferences: finding a picture again, and what can be done with it."""

from __future__ import annotations

import numpy as np
import pytest
import sqlalchemy as sa

from db import boards, queue
from db.jobs import Job, State, new_id, normalise
from db.schema import jobs as jobs_table
from db.search import embeddings, searches
from generator.checkpoints.clip_space import clip_space
from pages.shared.navigation import GENERATION, INFERENCES
from pages.shared.text import label
from tests.pages.conftest import OpenPage
from tests.pages.visits import EXECUTOR, ME, SOMEBODY, Studio, everything_shown, jobs

PAGE = INFERENCES


def tiles(app) -> list[str]:
    return [button.label for button in app.button if (button.key or "").startswith("open_")]


def many(studio: Studio, job: Job, count: int) -> None:
    """Copies of a finished job, as rows: drawing so many would take hours."""
    with studio.db.begin() as conn:
        row = dict(conn.execute(sa.select(jobs_table).where(jobs_table.c.id == job.id)).one()._mapping)
        rows = [
            {**row, "id": new_id(), "prompt": f"picture {i}", "prompt_search": f"picture {i}"} for i in range(count)
        ]
        conn.execute(sa.insert(jobs_table), rows)


def test_an_empty_gallery_leads_to_the_first_picture(studio: Studio, open_page: OpenPage) -> None:
    app = open_page(PAGE)
    assert app.title[0].value == "Previous Inferences"
    assert "No pictures yet" in everything_shown(app) and not app.exception
    assert app.get("page_link")


def test_pictures_of_everybody_newest_first(studio: Studio, open_page: OpenPage) -> None:
    for prompt, who in (("a red heart", ME), ("a penguin", SOMEBODY), ("a rocket", ME)):
        studio.draw(prompt, who)
    app = open_page(PAGE)
    assert tiles(app) == ["a rocket", "a penguin", "a red heart"]
    assert [image.proto.imgs[0].alt for image in app.get("image")] == ["a rocket", "a penguin", "a red heart"]


def test_a_picture_tells_what_it_is_under(studio: Studio, open_page: OpenPage) -> None:
    job, plain = studio.draw("a red heart"), studio.draw("a penguin")
    studio.under(job, "CC BY 4.0")
    assert "CC BY 4.0" in everything_shown(open_page(PAGE, job=job.id))
    assert "Licence" not in everything_shown(open_page(PAGE, job=plain.id))


def test_search_and_filters_narrow_the_gallery(studio: Studio, open_page: OpenPage) -> None:
    studio.draw("a red heart", SOMEBODY)
    studio.draw("a RED car")
    studio.draw("a penguin")
    studio.enqueue("a red fish")
    app = open_page(PAGE)
    app.text_input[0].set_value("red").run()
    assert tiles(app) == ["a RED car", "a red heart"]
    app.segmented_control(key="gallery_whose").set_value("mine").run()
    assert tiles(app) == ["a RED car"] and app.query_params["search"] == "red"
    app.selectbox(key="gallery_status").set_value("live").run()
    assert tiles(app) == ["a red fish"]
    app.selectbox(key="gallery_status").set_value("failed").run()
    assert "Nothing found" in everything_shown(app)
    app = next(b for b in app.button if b.label == "Show all again").click().run()
    assert tiles(app) == ["a penguin", "a RED car"], "whose they are is not among the filters"
    again = open_page(PAGE, search="red", whose="mine")
    assert tiles(again) == ["a RED car"], "an address that is passed on shows the same"


def test_a_thousand_pictures_are_turned_page_by_page(studio: Studio, open_page: OpenPage) -> None:
    many(studio, studio.draw("a red heart"), 1000)
    app = open_page(PAGE)
    first = tiles(app)
    assert first == [f"picture {i}" for i in range(999, 975, -1)]
    assert app.button(key="newer").disabled
    app.button(key="older").click().run()
    assert tiles(app) == [f"picture {i}" for i in range(975, 951, -1)]
    app.button(key="newer").click().run()
    assert tiles(app) == first
    app.text_input[0].set_value("picture 7").run()
    assert tiles(app)[0] == "picture 799" and app.button(key="newer").disabled


def test_a_gallery_of_one_page_has_nothing_to_turn(studio: Studio, open_page: OpenPage) -> None:
    studio.draw("a red heart")
    app = open_page(PAGE)
    assert tiles(app) == ["a red heart"] and not {"newer", "older"} & {button.key for button in app.button}
    assert "Order" in [one.label for one in app.selectbox]


def test_every_page_is_reached_and_the_last_has_nothing_older(studio: Studio, open_page: OpenPage) -> None:
    many(studio, studio.draw("a red heart"), 60)
    app = open_page(PAGE)
    seen = tiles(app)
    while not app.button(key="older").disabled:
        app.button(key="older").click().run()
        seen += tiles(app)
    assert len(seen) == len(set(seen)) == 61


def test_a_picture_opens_with_all_there_is_to_know(studio: Studio, open_page: OpenPage) -> None:
    job = studio.draw("a red heart", SOMEBODY, cutn=5, augment=False, seed=123)
    app = open_page(PAGE)
    app.button(key=f"open_{job.id}").click().run()
    shown = everything_shown(app)
    for fact in ("a red heart", "VQGAN + CLIP", "<dd>123</dd>", "0.42"):
        assert fact in shown, fact
    app = open_page(PAGE, job=job.id)
    shown = everything_shown(app)
    for fact in ("a red heart", "VQGAN + CLIP", "123", "64 × 64 px", "cutn", "<dd>5</dd>", "augment", "off", "0.42"):
        assert fact in shown, fact
    assert "learning_rate" not in shown, "only what differs from the defaults is listed"
    assert {b.label for b in app.get("download_button")} == {"PNG", "GIF", "JSON"}
    assert not app.exception


@pytest.mark.parametrize(
    ("zone", "time"),
    [("Asia/Kolkata", "15 Nov 2023, 03:43</dd>"), (None, "14 Nov 2023, 22:13 UTC"), ("Moon/Sea", "22:13 UTC")],
)
def test_times_are_those_of_the_visitors_clock(
    studio: Studio, open_page: OpenPage, zone: str | None, time: str
) -> None:
    job = studio.draw("a red heart")
    with studio.db.begin() as conn:
        conn.execute(sa.update(jobs_table).where(jobs_table.c.id == job.id).values(created_at=1_700_000_000))
    app = open_page(PAGE, job=job.id)
    app.context = {"timezone": zone}
    assert time in everything_shown(app.run())


def test_the_size_is_that_of_the_file_and_says_how_it_was_drawn(studio: Studio, open_page: OpenPage) -> None:
    job = studio.draw("a red heart", upscale=4)
    assert "256 × 256 px, upscaled from 64 × 64 px" in everything_shown(open_page(PAGE, job=job.id))
    studio.enqueue("a blue heart", upscale=4)
    job = studio.finish(studio.run(), factor=1)
    assert "64 × 64 px, could not be upscaled" in everything_shown(open_page(PAGE, job=job.id))


def test_a_job_has_an_address_that_can_be_shared(studio: Studio, open_page: OpenPage) -> None:
    job = studio.draw("a red heart", SOMEBODY)
    app = open_page(PAGE, job=job.id)
    assert "a red heart" in everything_shown(app)
    app.button[0].click().run()
    assert tiles(app) == ["a red heart"]


def test_a_board_gets_another_name_and_goes_and_its_pictures_stay(studio: Studio, open_page: OpenPage) -> None:
    job = studio.draw("a red heart")
    for name in ("Sea", "Sky"):
        boards.put(studio.db, ME, [job.id], name)
    app = open_page(PAGE, board="Sea")
    next(field for field in app.text_input if field.label == "Another name").set_value("Sky").run()
    assert "a board 'Sky' of yours already" in everything_shown(app)
    next(field for field in app.text_input if field.label == "Another name").set_value(" Deep  sea ").run()
    assert app.query_params["board"] == "Deep sea" and tiles(app) == ["a red heart"]
    assert boards.of_submitter(studio.db, ME) == {"Deep sea": 1, "Sky": 1}
    app.button(key="take_board").click().run()
    assert "board" not in app.query_params and tiles(app) == ["a red heart"]
    assert boards.of_submitter(studio.db, ME) == {"Sky": 1}


def test_an_unknown_or_hidden_job_is_a_sentence(studio: Studio, open_page: OpenPage) -> None:
    assert "No such job" in everything_shown(open_page(PAGE, job="<b>nothing</b>"))
    job = studio.draw("a red heart", SOMEBODY)
    queue.set_hidden(studio.db, job.id)
    assert "No such job" in everything_shown(open_page(PAGE, job=job.id))
    assert "No such job" in everything_shown(open_page(PAGE, job=job.id, visitor=SOMEBODY))


def test_a_failed_job_shows_its_reason(studio: Studio, open_page: OpenPage) -> None:
    studio.enqueue("a red heart")
    job = studio.run()
    queue.fail(studio.db, worker_id=EXECUTOR, job_id=job.id, kind="memory", message="Out of memory; lower cutn.")
    assert "Out of memory; lower cutn." in everything_shown(open_page(PAGE, job=job.id))


def test_run_again_is_a_child_with_the_same_settings_and_a_new_seed(studio: Studio, open_page: OpenPage) -> None:
    job = studio.draw("a red heart", SOMEBODY, cutn=5, seed=123)
    app = open_page(PAGE, job=job.id)
    next(b for b in app.button if b.label == "Run again").click().run()
    child = queue.list_jobs(studio.db, limit=1)[0]
    assert (child.parent_id, child.submitter, child.state) == (job.id, ME, State.QUEUED)
    assert child.params == {**job.params, "seed": child.params["seed"]} and child.params["seed"] != 123
    assert "Made from" in everything_shown(open_page(PAGE, job=child.id))


def test_use_as_init_image_fills_the_form_with_the_picture(studio: Studio, open_page: OpenPage) -> None:
    job = studio.draw("a red heart", SOMEBODY)
    app = open_page(PAGE, job=job.id)
    next(b for b in app.button if b.label == "Use as init image").click().run()
    assert app.title[0].value == "Text-to-Image Generation"
    app.switch_page(GENERATION).run()
    assert app.text_area(key="set_prompt").value == "a red heart"
    next(b for b in app.button if b.label == "Generate").click().run()
    assert not app.error
    child = queue.list_jobs(studio.db, limit=1)[0]
    assert child.params["init"] == "image" and child.params["init_image"] == f"jobs/{job.id}/picture.png"
    assert child.parent_id == job.id


def test_prompts_cannot_smuggle_html_or_markdown_in(studio: Studio, open_page: OpenPage) -> None:
    prompt = "<script>alert(1)</script> ![x](http://example.com/x.png) **b** :heart: www.example.com"
    job = studio.draw(prompt)
    (tile,) = tiles(open_page(PAGE))
    assert "**b**" not in tile and "![" not in tile and ":heart:" not in tile and "www." not in tile
    assert tile.replace("\\", "").replace("\u2060", "").startswith("<script>alert(1)</script> ![x](http://")
    assert "<script>alert(1)" not in everything_shown(open_page(PAGE, job=job.id))


def test_a_picture_whose_file_is_gone_leaves_the_gallery_usable(studio: Studio, open_page: OpenPage) -> None:
    job = studio.draw("a red heart")
    studio.store.delete(f"jobs/{job.id}/thumbnail.png")
    app = open_page(PAGE)
    assert tiles(app) == ["a red heart"] and "No picture" in everything_shown(app) and not app.exception


def test_labels_show_every_character_as_typed() -> None:
    assert label("a red heart, 'big'") == "a red heart, 'big'"
    assert normalise(label("a*b").replace("\\", "")) == "a*b"


def test_pictures_are_looked_for_by_what_they_show(studio: Studio, open_page: OpenPage) -> None:
    seen = {"a red heart": [1.0, 0.0], "a rocket": [0.8, 0.6], "a penguin": [0.0, 1.0]}
    space = clip_space("mini")
    for prompt, vector in seen.items():
        embeddings.save(studio.db, space, {studio.draw(prompt).id: np.array(vector, np.float16).tobytes()})
    app = open_page(PAGE, **{"in": "meaning", "search": "love"})
    assert "No executor is running" in everything_shown(app) and not tiles(app)
    studio.start_executor()
    (asked,) = searches.asked(studio.db, space)
    searches.answer(studio.db, space, asked.digest, vector=np.array([1.0, 0.0], np.float16).tobytes())
    found = open_page(PAGE, **{"in": "meaning", "search": "love"})
    assert tiles(found) == ["a red heart", "a rocket", "a penguin"]
    assert "Order" not in [one.label for one in found.selectbox], "they have one: the most alike first"
    like = next(job.id for job in jobs(studio) if job.prompt == "a penguin")
    assert tiles(open_page(PAGE, like=like)) == ["a rocket", "a red heart"]
