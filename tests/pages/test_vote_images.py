"""Vote Images: each pair once, one tap each."""

from __future__ import annotations

import itertools

import pytest

from db import queue, votes
from db.evening.erasing import forget_everything
from db.rules import host_rules
from db.votes import casting
from pages.shared.navigation import VOTES
from tests.pages.conftest import OpenPage
from tests.pages.visits import ME, SOMEBODY, Studio, everything_shown

PAGE = VOTES


def test_without_two_pictures_the_page_says_what_to_do(studio: Studio, open_page: OpenPage) -> None:
    studio.draw("a red heart")
    app = open_page(PAGE)
    assert app.title[0].value == "Vote Images"
    assert "Nothing to compare yet" in everything_shown(app) and app.get("page_link")


@pytest.mark.parametrize("choice", ["left", "right", "tie"])
def test_one_tap_is_one_vote(studio: Studio, open_page: OpenPage, choice: str) -> None:
    pair = [studio.draw("a red heart"), studio.draw("a red heart", SOMEBODY)]
    app = open_page(PAGE)
    assert "a red heart" in everything_shown(app) and len(app.get("image")) == 2
    left, right = app.session_state["pair"]
    app.button(key=f"choose_{choice}").click().run()
    tallies = votes.tallies(studio.db, [job.id for job in pair])
    assert (tallies[left].wins, tallies[right].wins) == (choice == "left", choice == "right")
    assert tallies[left].ties == (choice == "tie")
    assert "You have seen every pair" in everything_shown(app) and "given 1 vote." in everything_shown(app)


def test_no_pair_is_shown_twice_to_one_voter(studio: Studio, open_page: OpenPage) -> None:
    ids = [studio.draw("a red heart", SOMEBODY).id for _ in range(4)]
    app = open_page(PAGE)
    seen = []
    while app.session_state["pair"] is not None:
        seen.append(frozenset(app.session_state["pair"]))
        app.button(key="choose_left").click().run()
    assert sorted(map(sorted, seen)) == sorted(map(sorted, itertools.combinations(ids, 2)))
    assert votes.cast_by(studio.db, ME) == 6
    assert "You have seen every pair" in everything_shown(open_page(PAGE))
    assert open_page(PAGE, visitor=SOMEBODY).session_state["pair"] is not None


def test_a_pair_voted_on_in_another_tab_does_not_count_twice(studio: Studio, open_page: OpenPage) -> None:
    studio.draw("a red heart"), studio.draw("a red heart")
    one, other = open_page(PAGE), open_page(PAGE)
    one.button(key="choose_left").click().run()
    other.button(key="choose_right").click().run()
    assert votes.cast_by(studio.db, ME) == 1 and not other.exception and not other.error


@pytest.mark.parametrize("gone", ["hidden", "deleted"])
def test_a_vote_on_a_picture_that_is_gone_is_said_not_to_count(studio: Studio, open_page: OpenPage, gone: str) -> None:
    for _ in range(3):
        studio.draw("a red heart", SOMEBODY)
    app = open_page(PAGE)
    left, right = app.session_state["pair"]
    if gone == "hidden":
        queue.set_hidden(studio.db, left)
    else:
        host_rules.change(studio.db, paused=True)
        forget_everything(studio.db, studio.store)
    app.button(key="choose_left").click().run()
    assert "does not count; here are the next" in app.toast[0].value and not app.exception and not app.error
    assert votes.cast_by(studio.db, ME) == 0
    if gone == "hidden":
        assert left not in app.session_state["pair"] and right in app.session_state["pair"]
    else:
        assert "Nothing to compare yet" in everything_shown(app)


def test_pictures_of_different_prompts_are_shown_with_their_own(studio: Studio, open_page: OpenPage) -> None:
    studio.draw("a red heart"), studio.draw("a <b>penguin</b>")
    shown = everything_shown(open_page(PAGE))
    assert "its own prompt" in shown and "a red heart" in shown and "a &lt;b&gt;penguin" in shown


def test_who_votes_too_fast_is_told_and_keeps_the_pair(
    studio: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        studio.draw("a red heart", SOMEBODY)
    monkeypatch.setattr(casting, "MAX_VOTES", 2)
    app = open_page(PAGE)
    for _ in range(2):
        app.button(key="choose_left").click().run()
    pair = app.session_state["pair"]
    app.button(key="choose_left").click().run()
    assert "Take a moment to look" in app.toast[0].value and not app.exception
    assert app.session_state["pair"] == pair and votes.cast_by(studio.db, ME) == 2
