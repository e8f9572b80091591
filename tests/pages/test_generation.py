"""Text-to-Image Generation: what a visitor types becomes jobs, or one clear sentence."""

from __future__ import annotations

import re

import pytest
from streamlit.testing.v1 import AppTest

from db import artefacts, queue
from db.jobs import State
from db.queue import workers
from generator import registry
from generator.params import BadParams, params_class, validate
from pages.components import form
from pages.shared.navigation import GENERATION, QUEUE
from studio import settings_form
from tests.pages.conftest import OpenPage
from tests.pages.visits import EXECUTOR, ME, SOMEBODY, Studio, everything_shown, generate, jobs, picture_bytes, write


def test_an_empty_studio_says_what_to_do(studio: Studio, open_page: OpenPage) -> None:
    app = open_page()
    assert app.title[0].value == "Text-to-Image Generation"
    assert "Write what you want to see and press Generate" in everything_shown(app)


def test_a_prompt_becomes_a_job_of_this_visitor(studio: Studio, open_page: OpenPage) -> None:
    generate(write(open_page(), "a red heart"))
    (job,) = jobs(studio)
    assert (job.prompt, job.submitter, job.state, job.checkpoint) == ("a red heart", ME, State.QUEUED, "mini")


def test_an_example_fills_the_prompt_at_a_click(studio: Studio, open_page: OpenPage) -> None:
    app = open_page()
    app.button(key="example_a penguin").click().run()
    generate(app)
    assert [job.prompt for job in jobs(studio)] == ["a penguin"]


def test_several_pictures_are_several_jobs_with_their_own_seeds(studio: Studio, open_page: OpenPage) -> None:
    app = open_page()
    app.number_input(key="set_pictures").set_value(3)
    app.number_input(key="set_vqgan-clip_mini_seed").set_value(2**32 - 1)
    generate(write(app, "a red heart"))
    assert sorted(job.params["seed"] for job in jobs(studio)) == [0, 1, 2**32 - 1]


@pytest.mark.parametrize("engine", registry.drawing_engines())
def test_an_untouched_form_draws_what_the_command_line_draws(engine: str) -> None:
    for checkpoint in registry.ENGINES[engine].checkpoints:
        offered = [field for group in settings_form.fields(engine, checkpoint, ()).values() for field in group]
        values = settings_form.defaults(engine, checkpoint)
        shown = {field.name: values[field.name] for field in offered if field.name != "prompt"}
        drawn = validate(engine, {**shown, "prompt": "a red heart", "seed": 1})
        assert drawn == validate(engine, {"prompt": "a red heart", "checkpoint": checkpoint, "seed": 1})


def test_what_is_set_in_the_form_is_what_the_job_gets(studio: Studio, open_page: OpenPage) -> None:
    app = open_page()
    app.number_input(key="set_vqgan-clip_mini_steps").set_value(7)
    app.number_input(key="set_vqgan-clip_mini_cutn").set_value(3)
    app.selectbox(key="set_vqgan-clip_mini_optimiser").set_value("RAdam")
    app.toggle(key="set_vqgan-clip_mini_augment").set_value(False)
    generate(write(app, "a red heart"))
    params = jobs(studio)[0].params
    assert (params["steps"], params["cutn"], params["optimiser"], params["augment"]) == (7, 3, "RAdam", False)


def test_the_form_has_every_declared_setting(studio: Studio, open_page: OpenPage) -> None:
    app = open_page()
    drawn = {
        w.key for kind in ("number_input", "selectbox", "toggle", "multiselect", "text_input") for w in app.get(kind)
    }
    declared = params_class("vqgan-clip").model_fields
    written_by_the_program = {"variant"}
    by_hand = declared.keys() - settings_form.OWN_WIDGET - written_by_the_program
    expected = {form.key_of("vqgan-clip", "mini", name) for name in by_hand}
    assert expected <= drawn


def test_another_checkpoint_brings_its_own_defaults(studio: Studio, open_page: OpenPage) -> None:
    app = open_page()
    app.selectbox(key="set_checkpoint").set_value("imagenet-f16-16384").run()
    generate(write(app, "a red heart"))
    params = jobs(studio)[0].params
    assert (params["checkpoint"], params["width"], params["steps"], params["init"]) == (
        "imagenet-f16-16384",
        304,
        500,
        "random",
    )


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("", "is empty"),
        ("   \n ", "is empty"),
        ("x" * 1001, "1001 characters; at most 1000"),
        ("a red\x07 heart", "characters that cannot be drawn: U+0007"),
        ("blurry:-1", "no part with a weight above 0"),
        ("a | | b", "empty part next to a |"),
        ("word " * 75 + "pear", "The prompt has 76 tokens, 75 fit; these words fall off its end: “pear”"),
    ],
)
def test_a_bad_prompt_gets_one_sentence_and_no_job(
    studio: Studio, open_page: OpenPage, prompt: str, sentence: str
) -> None:
    app = generate(write(open_page(), prompt))
    (error,) = app.error
    assert sentence in error.value.replace("\\", "").replace("\u2060", "")
    assert jobs(studio) == [] and not app.exception


@pytest.mark.parametrize("prompt", ["John 3:16", "Re:Zero", "map scale 1:25000", "http://example.com:8080/x", "(a cat"])
def test_text_stays_text(studio: Studio, open_page: OpenPage, prompt: str) -> None:
    app = generate(write(open_page(), prompt))
    assert not app.error and jobs(studio)[0].prompt == prompt


def test_what_is_read_otherwise_than_one_might_think_is_said_before_it_is_queued(
    studio: Studio, open_page: OpenPage
) -> None:
    app = write(open_page(), "a __creature__").run()
    assert any("is read as it is written" in caption.value for caption in app.caption) and jobs(studio) == []


def test_no_size_can_be_set_that_the_model_does_not_draw(studio: Studio, open_page: OpenPage) -> None:
    largest = registry.checkpoint("mini").max_side
    assert open_page().number_input(key="set_vqgan-clip_mini_width").max == largest
    with pytest.raises(BadParams, match="too large for mini"):
        validate("vqgan-clip", {"prompt": "a red heart", "width": largest + 16})


def test_html_and_markdown_in_a_prompt_are_shown_as_typed(studio: Studio, open_page: OpenPage) -> None:
    prompt = '<img src=x onerror=alert(1)> **bold** :heart: "q"'
    app = generate(write(open_page(), prompt))
    assert jobs(studio)[0].prompt == prompt
    shown = everything_shown(app)
    assert "&lt;img src=x onerror=alert(1)&gt; **bold**" in shown and "<img src=x" not in shown


def test_who_listens_hears_when_a_picture_begins_and_ends_not_its_steps(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    studio.enqueue("a red heart")
    job = studio.run(step=5)
    app = open_page()
    assert "Step 5 of" in everything_shown(app) and heard(app) == ["Being drawn: a red heart"]
    studio.finish(job)
    assert heard(app.run()) == ["Succeeded: a red heart"]


def heard(app: AppTest) -> list[str]:
    said = [str(element.proto.body) for element in app.get("html")]
    return [text.removeprefix('<div role="status">').removesuffix("</div>") for text in said if 'role="status"' in text]


def test_a_visitor_with_too_many_waiting_jobs_is_told_the_limit(
    studio: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T2I_MAX_QUEUED_PER_SUBMITTER", "2")
    app = open_page()
    app.number_input(key="set_pictures").set_value(3)
    app = generate(write(app, "a red heart"))
    assert "These 3 jobs were not queued" in app.error[0].value and "Ask for 2 or fewer" in app.error[0].value
    assert jobs(studio) == []
    app.number_input(key="set_pictures").set_value(2)
    app = generate(generate(app))
    assert "2 of yours are waiting" in app.error[0].value
    assert len(jobs(studio)) == 2


def test_without_an_executor_the_page_says_how_to_start_one(studio: Studio, open_page: OpenPage) -> None:
    studio.enqueue("a red heart")
    assert "No executor is running. Start one: python job_executor.py" in everything_shown(open_page())
    studio.start_executor()
    assert "No executor is running" not in everything_shown(open_page())
    workers.stop(studio.db, EXECUTOR)
    assert "No executor is running" in everything_shown(open_page())


def test_coming_back_shows_the_jobs_of_this_visitor_only(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    studio.enqueue("a red heart", steps=40)
    studio.run(step=10)
    studio.enqueue("a secret of somebody", SOMEBODY)
    studio.enqueue("a penguin")
    shown = everything_shown(open_page())
    assert "Step 10 of 40" in shown and "score 0.30" in shown and re.search(r"\d s left", shown)
    assert "Number 2 in the queue" in shown and "a penguin" in shown
    assert "a secret of somebody" not in shown


def test_a_picture_whose_last_step_is_made_has_no_seconds_left(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    studio.enqueue("a red heart", steps=10)
    studio.run(step=10)
    shown = everything_shown(open_page())
    assert "Finishing" in shown and not re.search(r"\d s left", shown)


def test_a_running_job_shows_its_picture_with_a_text_for_those_who_cannot_see_it(
    studio: Studio, open_page: OpenPage
) -> None:
    studio.enqueue("a red heart")
    studio.run()
    (picture,) = open_page().get("image")
    assert picture.proto.imgs[0].alt == "a red heart"


def test_a_waiting_job_can_be_cancelled(studio: Studio, open_page: OpenPage) -> None:
    job = studio.enqueue("a red heart")
    app = open_page()
    app.button(key=f"cancel_{job.id}").click().run()
    assert queue.get(studio.db, job.id).state == State.CANCELLED
    assert "Cancelled" in everything_shown(app)


def test_a_failed_job_says_why_and_can_be_edited_and_tried_again(studio: Studio, open_page: OpenPage) -> None:
    studio.enqueue("a red heart", cutn=5, seed=9)
    job = studio.run()
    queue.fail(studio.db, worker_id=EXECUTOR, job_id=job.id, kind="nan", message="The picture became NaN at step 12.")
    app = open_page()
    assert "a red heart" in everything_shown(app)
    assert "The picture became NaN at step 12." in everything_shown(app)
    app.button(key=f"edit_{job.id}").click().run()
    assert app.text_area(key="set_prompt").value == "a red heart"
    assert app.number_input(key="set_vqgan-clip_mini_cutn").value == 5
    assert app.number_input(key="set_vqgan-clip_mini_seed").value is None


def test_the_form_is_as_it_was_after_a_visit_to_another_page(studio: Studio, open_page: OpenPage) -> None:
    app = write(open_page(), "a red heart")
    app.number_input(key="set_vqgan-clip_mini_steps").set_value(7).run()
    app.switch_page(QUEUE).run()
    app.switch_page(GENERATION).run()
    assert app.text_area(key="set_prompt").value == "a red heart"
    assert app.number_input(key="set_vqgan-clip_mini_steps").value == 7


def test_an_uploaded_picture_is_what_the_job_starts_from(studio: Studio, open_page: OpenPage) -> None:
    app = write(open_page(), "a red heart")
    app.file_uploader(key="upload_init_image").set_value(("me.jpg", picture_bytes("JPEG"), "image/jpeg")).run()
    app = generate(app)
    assert not app.error
    params = jobs(studio)[0].params
    assert params["init"] == "image" and params["init_image"].startswith("uploads/")
    assert studio.store.get(params["init_image"]).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "data",
    [b"", b"GIF89a not really", b"<svg onload=alert(1)>", picture_bytes("PNG")[:200]],
    ids=["empty", "no GIF", "SVG", "cut short"],
)
def test_a_broken_upload_gets_one_sentence_and_no_job(studio: Studio, open_page: OpenPage, data: bytes) -> None:
    app = write(open_page(), "a red heart")
    app.file_uploader(key="upload_init_image").set_value(("me.png", data, "image/png")).run()
    app = generate(app)
    (error,) = app.error
    assert "picture" in error.value and not app.exception
    assert jobs(studio) == []


def test_too_large_an_upload_gets_one_sentence(
    studio: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T2I_MAX_UPLOAD_BYTES", "100")
    app = write(open_page(), "a red heart")
    app.file_uploader(key="upload_init_image").set_value(("me.png", picture_bytes("PNG"), "image/png")).run()
    assert "MB are allowed" in generate(app).error[0].value.replace("\\", "")
    assert jobs(studio) == []


def test_a_store_that_cannot_be_written_is_one_sentence(
    studio: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T2I_STORE_URL", "file:///proc/artefacts")
    app = write(open_page(), "a red heart")
    app.file_uploader(key="upload_init_image").set_value(("me.png", picture_bytes("PNG"), "image/png")).run()
    app = generate(app)
    assert "cannot reach its pictures" in app.error[0].value and "/proc" not in app.error[0].value
    assert not app.exception
    assert jobs(studio) == [] and artefacts.of_job(studio.db, "none") == {}


def test_style_may_be_any_words_where_the_checkpoint_knows_no_styles(studio: Studio, open_page: OpenPage) -> None:
    app = open_page()
    app.selectbox(key="set_engine").set_value("guided-diffusion").run()
    app.selectbox(key="set_checkpoint").set_value("guided-diffusion-256").run()
    app.text_input(key="set_style_words").set_value("oil painting")
    generate(write(app, "0: a castle | 100: a ruin"))
    (job,) = jobs(studio)
    assert (job.checkpoint, job.params["style"], job.params["clip"]) == (
        "guided-diffusion-256",
        "oil painting",
        ["RN50"],
    )


def test_a_schedule_that_cannot_be_read_is_answered_with_where(studio: Studio, open_page: OpenPage) -> None:
    app = open_page()
    app.selectbox(key="set_engine").set_value("guided-diffusion").run()
    app.text_input(key="set_guided-diffusion_mini-diffusion_cut_overview").set_value("[12]*400+[4*600")
    generate(write(app, "a castle"))
    assert not jobs(studio)
    shown = everything_shown(app).replace("\\", "")  # as Markdown it is escaped
    assert "after '[12]*400+[4' should come a comma or ]" in shown


def test_how_a_prompt_is_read_is_shown_below_it_and_may_be_forbidden(studio: Studio, open_page: OpenPage) -> None:
    app = write(open_page(), "una silueta de un quokka 🐱").run()
    shown = everything_shown(app)
    assert "Read as" in shown and "from the words" in shown and "may not know “quokka”" in shown
    generate(app)
    assert (jobs(studio)[0].prompt, jobs(studio)[0].params["style"]) == ("a quokka cat face", "silhouette")
    app.toggle(key="set_as_typed").set_value(True)
    generate(app.run())
    newest = max(jobs(studio), key=lambda job: job.created_at)
    assert (newest.prompt, newest.params["style"]) == ("una silueta de un quokka 🐱", registry.DEFAULT_STYLE)


def test_a_style_that_was_chosen_wins_over_the_words(studio: Studio, open_page: OpenPage) -> None:
    app = write(open_page(), "a silhouette of an eagle")
    next(group for group in app.button_group if group.key == "set_style").set_value("any")
    generate(app)
    assert (jobs(studio)[0].prompt, jobs(studio)[0].params["style"]) == ("a silhouette of an eagle", None)
