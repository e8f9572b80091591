"""Compare: what is chosen and typed there, what it makes, and the grid that shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from db import queue
from db.jobs import State
from db.sheets import submissions
from pages.shared.navigation import COMPARE, SHEETS
from tests.pages.conftest import OpenPage
from tests.pages.visits import EXECUTOR, ME, Studio, everything_shown, jobs


def press(app: AppTest, label: str) -> AppTest:
    return next(b for b in app.button if b.label == label).click().run()


def compare(app: AppTest, prompt: str = "a red heart", **chosen: tuple[str, str]) -> AppTest:
    app.text_area(key="compare_prompt").set_value(prompt)
    for axis, (name, values) in chosen.items():
        app.selectbox(key=f"compare_{axis}").set_value(name).run()
        if name in ("engine", "style", "sampler"):
            app.multiselect(key=f"compare_{axis}_values_{name}").set_value(values.split(", "))
        elif name != "nothing":
            app.text_area(key=f"compare_{axis}_values_{name}").set_value(values)
    return press(app, "Compare")


def test_a_grid_over_two_settings_is_one_sheet_with_one_seed(studio: Studio, open_page: OpenPage) -> None:
    app = compare(open_page(COMPARE), rows=("cutn", "8, 16"), columns=("learning_rate", ".02, .05,0.1"))
    assert not app.error and not app.exception
    made = jobs(studio)[::-1]
    grid = [(job.params["cutn"], job.params["learning_rate"]) for job in made]
    assert grid == [(8, 0.02), (8, 0.05), (8, 0.1), (16, 0.02), (16, 0.05), (16, 0.1)]
    assert len({job.params["seed"] for job in made}) == 1 and {job.state for job in made} == {State.QUEUED}
    (sheet,) = submissions.of_submitter(studio.db, ME)
    assert [m.label for m in submissions.jobs_of(studio.db, sheet.id)][-1] == "cutn 16 · learning_rate 0.1"
    assert app.title[0].value == "Sheets"
    studio.start_executor()
    studio.finish(studio.run())
    shown = everything_shown(open_page(SHEETS, sheet=sheet.id))
    assert "Comparison · 1 of 6 done" in shown and "0.420 · " in shown
    assert "as if it had been drawn alone" in shown, "what the times are"


def test_a_comparison_has_each_label_once_and_a_picture_to_open_in_each_cell(
    studio: Studio, open_page: OpenPage
) -> None:
    studio.start_executor()
    compare(open_page(COMPARE), rows=("cutn", "8, 16"), columns=("learning_rate", ".02, .05"))
    for spent_s, score in ((30.0, 0.3), (4.0, 0.5), (9.0, 0.4)):
        job = studio.run()
        queue.heartbeat(
            studio.db, worker_id=EXECUTOR, job_id=job.id, step=job.total_steps, spent_s=spent_s, lease_s=600
        )
        studio.put(job, "picture", "png", "image/png")
        queue.succeed(studio.db, worker_id=EXECUTOR, job_id=job.id, score=score)
    (sheet,) = submissions.of_submitter(studio.db, ME)
    app = open_page(SHEETS, sheet=sheet.id)
    html = "\n".join(str(element.proto.body) for element in app.get("html"))
    assert html.count("cutn") == 1 and html.count("learning_rate") == 1
    assert [html.count(f">{value}</span></div>") for value in ("8", "16", ".02", ".05")] == [1, 1, 1, 1]
    assert "0.300 · 30 s" in html and "Best · 0.500 · 4 s" in html, "what the device was charged, alone"
    opened = [button for button in app.button if str(button.key).startswith("open_")]
    assert [button.label.replace("\\", "") for button in opened][1] == "cutn 8 · learning_rate .05"
    assert len(opened) == 4
    labels = [button.proto.label for button in app.get("download_button")]
    assert labels[:3] == ["Sheet as PNG", "Page as HTML", "Table as CSV"]


def test_how_many_pictures_it_makes_and_how_long_they_take_is_said_before(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    studio.took(0.1)
    app = open_page(COMPARE)
    app.text_area(key="compare_prompt").set_value("a red heart")
    app.selectbox(key="compare_rows").set_value("cutn").run()
    app.text_area(key="compare_rows_values_cutn").set_value("8\n16\n32\n64").run()
    assert "4 × 3 = 12 pictures, about" in everything_shown(app)
    app.text_area(key="compare_columns_values_seed").set_value("\n".join(map(str, range(13)))).run()
    (error,) = app.error
    assert "This makes 52 pictures; at most 48 are allowed" in error.value.replace("\\", "")
    assert next(button for button in app.button if button.label == "Compare").disabled
    app.text_area(key="compare_columns_values_seed").set_value("1").run()
    assert not app.error and "4 × 1 = 4 pictures" in everything_shown(app) and jobs(studio)[1:] == []


def test_choices_and_word_lists_of_the_prompt_are_axes(
    studio: Studio, open_page: OpenPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T2I_WILDCARDS_DIR", str(tmp_path))
    (tmp_path / "animal.txt").write_text("cat\nowl\n")
    app = open_page(COMPARE)
    app.text_area(key="compare_prompt").set_value("a {red|blue} __animal__").run()
    app.selectbox(key="compare_rows").set_value("{red|blue}").run()
    app.selectbox(key="compare_columns").set_value("__animal__").run()
    press(app, "Compare")
    assert not app.error and not app.exception
    assert [job.prompt for job in jobs(studio)[::-1]] == ["a red cat", "a red owl", "a blue cat", "a blue owl"]
    assert len({job.params["seed"] for job in jobs(studio)}) == 1
    (sheet,) = submissions.of_submitter(studio.db, ME)
    assert sheet.prompt == "a {red|blue} __animal__"


def test_a_pasted_list_of_prompts_is_an_axis_with_every_choice_in_it(studio: Studio, open_page: OpenPage) -> None:
    app = open_page(COMPARE)
    app.selectbox(key="compare_rows").set_value("prompt").run()
    app.selectbox(key="compare_columns").set_value("nothing").run()
    app.text_area(key="compare_rows_values_prompt").set_value("a {red|blue} car\n\nthe sea; at night").run()
    assert "3 pictures" in everything_shown(app)
    app.selectbox(key="compare_seeds").set_value("each")
    app.number_input(key="compare_seed").set_value(5)
    press(app, "Compare")
    drawn = [(job.prompt, job.params["seed"]) for job in jobs(studio)[::-1]]
    assert drawn == [("a red car", 5), ("a blue car", 6), ("the sea; at night", 7)]


def test_engines_are_compared_by_seed(studio: Studio, open_page: OpenPage) -> None:
    engines = "vqgan-clip, latent-diffusion, biggan-clip"
    app = compare(open_page(COMPARE), rows=("engine", engines), columns=("seed", "1, 2"))
    assert not app.error
    assert [(job.engine, job.params["seed"]) for job in jobs(studio)[::-1]] == [
        (engine, seed) for engine in engines.split(", ") for seed in (1, 2)
    ]
    assert {job.params["style"] for job in jobs(studio)} == {"noto"}


def test_the_columns_are_what_all_engines_of_the_rows_permit(studio: Studio, open_page: OpenPage) -> None:
    app = open_page(COMPARE)
    app.multiselect(key="compare_rows_values_engine").set_value(["vqgan-clip", "latent-diffusion"]).run()
    offered = app.selectbox(key="compare_columns").options
    assert "candidates" in offered and "cutn" not in offered and "cfg_scale" not in offered
    app.selectbox(key="compare_columns").set_value("candidates").run()
    assert "Permitted: 1 to 16." in app.text_area(key="compare_columns_values_candidates").help
    app.multiselect(key="compare_rows_values_engine").set_value(["latent-diffusion"]).run()
    assert {"cfg_scale", "memory", "variety"} <= set(app.selectbox(key="compare_columns").options)
    app.selectbox(key="compare_columns").set_value("engine").run()
    app.multiselect(key="compare_columns_values_engine").set_value(["biggan-clip"]).run()
    assert "max_classes" in app.selectbox(key="compare_rows").options and not app.exception


def test_what_is_one_of_a_closed_set_is_chosen_by_its_title_from_a_list(studio: Studio, open_page: OpenPage) -> None:
    app = open_page(COMPARE)
    engines = app.multiselect(key="compare_rows_values_engine")
    assert {"VQGAN + CLIP", "BigGAN + CLIP"} <= set(engines.options) and len(engines.value) == 2
    app = compare(app, columns=("style", "noto, any"))
    assert not app.error and [job.params["style"] for job in jobs(studio)[::-1]] == ["noto", None] * 2
    app = open_page(COMPARE)
    app.multiselect(key="compare_rows_values_engine").set_value([])
    compare(app)
    assert len(app.error) == 1 and not app.exception


def test_several_prompts_are_one_sheet(studio: Studio, open_page: OpenPage) -> None:
    app = compare(open_page(COMPARE), rows=("prompt", "a red heart; a castle, at night"), columns=("seed", "1, 2"))
    assert not app.error
    assert [(job.prompt, job.params["seed"]) for job in jobs(studio)[::-1]] == [
        (prompt, seed) for prompt in ("a red heart", "a castle, at night") for seed in (1, 2)
    ]
    (sheet,) = submissions.of_submitter(studio.db, ME)
    assert sheet.prompt == "a red heart; a castle, at night"


def test_a_bad_comparison_is_one_sentence_and_queues_nothing(studio: Studio, open_page: OpenPage) -> None:
    app = compare(open_page(COMPARE), rows=("cutn", "8, many"), columns=("seed", "1"))
    (error,) = app.error
    assert "cutn many · seed 1: cutn = 'many'" in error.value.replace("\\", "").replace("\u2060", "")
    assert jobs(studio) == [] and not app.exception


def test_a_comparison_beyond_the_limit_is_refused_whole(
    studio: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T2I_MAX_QUEUED_PER_SUBMITTER", "3")
    app = compare(open_page(COMPARE), rows=("cutn", "8, 16"), columns=("seed", "1, 2"))
    assert "These 4 jobs were not queued" in app.error[0].value and jobs(studio) == []
