"""A disk that is nearly full: visitors read a sentence, the host reads the figures, and nothing new is kept."""

from __future__ import annotations

import pytest
import streamlit as st

from pages.shared.navigation import GENERATION, QUEUE
from tests.pages.conftest import OpenPage
from tests.pages.test_generation import generate, jobs, write
from tests.pages.test_given_pictures import give
from tests.pages.test_host import hosted, sign_in  # noqa: F401
from tests.pages.visits import Studio, everything_shown

SENTENCE = "disk is nearly full: nothing new is taken until the host has made room"


@pytest.fixture
def full(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.setenv("T2I_MIN_FREE_BYTES", str(1 << 60))
    st.cache_resource.clear()
    return studio


def test_a_press_and_a_picture_are_refused_with_a_sentence(full: Studio, open_page: OpenPage) -> None:
    app = give(write(open_page(GENERATION), "a red heart"), "init_image", "photo.png")
    assert SENTENCE in everything_shown(app) and not app.exception
    app = app.button(key="remove_init_image").click().run()
    app = generate(app)
    assert any(SENTENCE.partition(":")[0] in error.value for error in app.error) and not jobs(full)
    assert not [key for folder in ("uploads", "drafts") for key, _ in full.store.listed(folder)]


def test_it_is_said_before_anything_is_typed(full: Studio, open_page: OpenPage) -> None:
    (error,) = open_page(GENERATION).error
    assert "nearly full" in error.value and "T2I" not in error.value


def test_the_queue_page_says_so_without_the_machine_s_folders(full: Studio, open_page: OpenPage) -> None:
    (error,) = open_page(QUEUE).error
    assert "nearly full" in error.value and "T2I" not in error.value


@pytest.mark.parametrize("section", [None, "Data"])
def test_the_host_page_says_so_with_the_figures(
    full: Studio,
    hosted: Studio,  # noqa: F811
    open_page: OpenPage,
    section: str | None,
) -> None:
    app = sign_in(open_page, section)
    assert any("GB are to stay free" in error.value for error in app.error) and not app.exception
    if section:
        assert "Free for the pictures" in everything_shown(app) and "To stay free" in everything_shown(app)


def test_where_there_is_room_nothing_is_said(studio: Studio, open_page: OpenPage) -> None:
    assert not open_page(QUEUE).error
