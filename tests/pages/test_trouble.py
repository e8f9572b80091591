"""What is wrong with the machine reaches the visitor as one sentence, on every page."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
import streamlit as st

from db import queue
from pages.shared import visitor as visiting
from pages.shared.navigation import GENERATION, INFERENCES, QUEUE, VOTES
from pages.shared.studio import the_studio
from tests.pages.conftest import OpenPage
from tests.pages.visits import Studio, everything_shown

PAGES = [GENERATION, INFERENCES, VOTES, QUEUE]


@pytest.mark.parametrize("page", PAGES)
def test_a_database_that_cannot_be_opened(
    studio: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, page: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    the_studio().db.dispose()
    st.cache_resource.clear()
    with monkeypatch.context() as patch:
        patch.setenv("T2I_DATABASE_URL", f"sqlite:///{tmp_path}/file/jobs.db")
        app = open_page(page)
        (error,) = app.error
        assert error.value == "The studio cannot reach its database\\." and not app.exception


@pytest.mark.parametrize("page", PAGES)
def test_a_database_from_a_newer_version(studio: Studio, open_page: OpenPage, page: str) -> None:
    with studio.db.begin() as conn:
        conn.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    app = open_page(page)
    assert "newer version" in app.error[0].value and not app.exception
    with studio.db.begin() as conn:
        conn.execute(sa.text("DELETE FROM alembic_version"))
        from db.schema import REVISION

        conn.execute(sa.text("INSERT INTO alembic_version VALUES (:r)"), {"r": REVISION})


@pytest.mark.parametrize(
    ("engine", "checkpoint", "chosen", "said"),
    [
        ("vqgan-clip", "imagenet-f16-1024", "imagenet-f16-1024", "generator.checkpoints download imagenet-f16-1024"),
        (
            "vqgan-clip",
            "nothing",
            "mini",
            "T2I_DEFAULT_CHECKPOINT=nothing is no checkpoint of vqgan-clip, so mini comes first; choose one such as "
            "mini, imagenet-f16-1024, imagenet-f16-16384. All of them: python -m generator.checkpoints list",
        ),
        ("latent-diffusion", "diffusers/gone", "mini-latent-diffusion", "put its folder there"),
        ("rank", "mini", "mini", "T2I_DEFAULT_ENGINE=rank is no engine that draws"),
        ("latent-diffusion", "mini", "mini-latent-diffusion", None),
    ],
)
def test_a_default_that_cannot_be_had_is_said_and_the_form_works(
    studio: Studio,
    open_page: OpenPage,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    engine: str,
    checkpoint: str,
    chosen: str,
    said: str | None,
) -> None:
    monkeypatch.setenv("T2I_DEFAULT_ENGINE", engine)
    monkeypatch.setenv("T2I_DEFAULT_CHECKPOINT", checkpoint)
    app = open_page()
    assert not app.error and not app.exception
    assert app.selectbox(key="set_checkpoint").value == chosen
    shown = everything_shown(app) + "".join(code.value for code in app.code)
    shown = shown.replace("\\", "").replace("\u2060", "")
    if said is None:
        assert "T2I_" not in shown and "T2I_" not in caplog.text
    else:
        assert said in shown and said in caplog.text
    app.text_area(key="set_prompt").set_value("a red heart")
    next(button for button in app.button if button.label == "Generate").click().run()
    assert not app.error and [job.checkpoint for job in queue.list_jobs(studio.db, limit=9)] == [chosen]


@pytest.mark.parametrize("page", PAGES)
def test_tables_that_vanish_while_the_page_is_open(studio: Studio, open_page: OpenPage, page: str) -> None:
    app = open_page(page)
    with studio.db.begin() as conn:
        conn.execute(sa.text("ALTER TABLE jobs RENAME TO gone"))
    app.run()
    assert len(app.error) >= 1 and not app.exception
    with studio.db.begin() as conn:
        conn.execute(sa.text("ALTER TABLE gone RENAME TO jobs"))
    app.run()
    assert not app.error and not app.exception, "the page recovers by itself"


def test_a_configuration_that_cannot_be_read(
    studio: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    the_studio().db.dispose()
    st.cache_resource.clear()
    with monkeypatch.context() as patch:
        patch.setenv("T2I_LEASE_S", "soon")
        assert "T2I_LEASE_S" in open_page().error[0].value.replace("\\", "")


@pytest.mark.parametrize("page", PAGES)
def test_a_database_that_was_replaced_is_said_on_every_page(
    studio: Studio, open_page: OpenPage, tmp_path: Path, page: str
) -> None:
    studio.enqueue("a heart")
    app = open_page(page)
    assert not app.error
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as one, closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        one.backup(copy)
    (tmp_path / "copy.db").replace(tmp_path / "jobs.db")
    app.run()
    assert "was replaced while it ran" in app.error[0].value and str(tmp_path) not in app.error[0].value
    assert not app.exception


def test_a_browser_that_keeps_no_cookies_is_told_what_is_forgotten(
    studio: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visiting, "_from_cookie", lambda: None)
    assert not [note for note in open_page().info if "keeps no cookies" in note.value]
    app = open_page(visitor=None)
    assert [note for note in app.info if "keeps no cookies" in note.value]
    app.text_area(key="set_prompt").set_value("a red heart").run()
    next(b for b in app.button if b.label == "Generate").click().run()
    (job,) = queue.queued_jobs(studio.db)
    assert job.submitter == app.session_state["visitor"] and "a red heart" in everything_shown(app)
