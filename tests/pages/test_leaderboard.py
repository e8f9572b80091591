"""Leaderboard: what visitors see of the ratings, and the files they take home."""

from __future__ import annotations

import json
import threading

import pytest
import sqlalchemy as sa

from db import queue, votes
from db.evening.erasing import forget_everything
from db.jobs import Job
from db.rules import host_rules
from pages.ratings import downloads
from pages.ratings.standings import keeper as the_keeper
from pages.shared.navigation import LEADERBOARD
from ratings.standings import Ballots, Standings
from studio import standings
from tests.pages.conftest import OpenPage
from tests.pages.visits import Studio, everything_shown

PAGE = LEADERBOARD


def compared(studio: Studio, voters: int = 12) -> list[Job]:
    """Three pictures, of which all voters like the second best and the third least; two values of cutn."""
    made = [
        studio.draw(prompt, cutn=cutn) for prompt, cutn in (("a <b>heart</b>", 8), ("a rocket", 16), ("=a+star", 8))
    ]
    for voter in range(voters):
        for better, worse in ((1, 0), (0, 2), (1, 2)):
            votes.cast(
                studio.db, voter=f"voter-{voter}", left_id=made[worse].id, right_id=made[better].id, choice="right"
            )
    return made


def test_without_votes_the_page_says_what_to_do(studio: Studio, open_page: OpenPage) -> None:
    studio.draw("a red heart")
    app = open_page(PAGE)
    assert app.title[0].value == "Leaderboard"
    assert "No votes yet" in everything_shown(app) and app.get("page_link") and not app.exception


def test_the_best_pictures_stand_first(studio: Studio, open_page: OpenPage) -> None:
    made = compared(studio)
    app = open_page(PAGE)
    assert not app.exception and not app.error
    assert [metric.value for metric in app.metric] == ["36", "12", "3"]
    order = [button.key for button in app.button if (button.key or "").startswith("open_")]
    assert order == [f"open_{made[n].id}" for n in (1, 0, 2)]
    shown = everything_shown(app)
    assert "24 votes" in shown and "<b>" not in shown.replace("<br>", "")
    # The chart of the setting that differed, scores against ratings, and votes by time.
    assert "cutn" in shown and len(app.get("vega_lite_chart")) == 3
    assert "Two engines can be compared" in shown


def test_a_picture_leads_to_its_details(studio: Studio, open_page: OpenPage) -> None:
    made = compared(studio)
    app = open_page(PAGE)
    assert f"<dd>{made[1].params['seed']}</dd>" not in everything_shown(app)
    app.button(key=f"open_{made[1].id}").click().run()
    assert f"<dd>{made[1].params['seed']}</dd>" in everything_shown(app)


def test_a_hidden_picture_is_gone_at_once(studio: Studio, open_page: OpenPage) -> None:
    made = compared(studio)
    app = open_page(PAGE)
    queue.set_hidden(studio.db, made[1].id)
    app.run()
    assert "a rocket" not in everything_shown(app) and "heart" in everything_shown(app)


def test_ratings_are_not_worked_out_on_every_view(
    studio: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared(studio)
    worked = []
    whole = standings.standings
    monkeypatch.setattr(standings, "standings", lambda found: worked.append(1) or whole(found))
    for _ in range(4):
        assert "24 votes" in everything_shown(open_page(PAGE))
    assert len(worked) == 1
    # Later, and only where there are new votes.
    monkeypatch.setattr(standings, "REST_S", 0.0)
    monkeypatch.setattr(standings, "REST_TIMES", 0)
    monkeypatch.setattr(standings, "NEWER_WAIT_S", 10.0)
    keeper = the_keeper()
    keeper._due = 0.0
    open_page(PAGE)
    assert len(worked) == 1
    made = queue.list_jobs(studio.db)
    votes.cast(studio.db, voter="late", left_id=made[0].id, right_id=made[1].id, choice="tie")
    assert "37" in [metric.value for metric in open_page(PAGE).metric] and len(worked) == 2


def test_many_votes_do_not_keep_the_first_visitor_waiting(
    studio: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared(studio)
    whole, asked = standings.standings, threading.Event()

    def slow(found: Ballots) -> Standings:
        asked.wait(20)
        return whole(found)

    monkeypatch.setattr(standings, "standings", slow)
    monkeypatch.setattr(standings, "FIRST_WAIT_S", 0.05)
    app = open_page(PAGE)
    assert "The votes are being counted" in everything_shown(app) and not app.exception
    monkeypatch.setattr(standings, "FIRST_WAIT_S", 20.0)
    asked.set()
    app.run()
    assert "24 votes" in everything_shown(app)


def test_tables_that_vanish_are_one_sentence_and_the_page_recovers(studio: Studio, open_page: OpenPage) -> None:
    compared(studio)
    with studio.db.begin() as conn:
        conn.execute(sa.text("ALTER TABLE votes RENAME TO gone"))
    app = open_page(PAGE)
    assert len(app.error) >= 1 and not app.exception
    with studio.db.begin() as conn:
        conn.execute(sa.text("ALTER TABLE gone RENAME TO votes"))
    app.run()
    assert not app.error and not app.exception and app.metric


def test_a_file_has_nothing_of_a_picture_hidden_since(studio: Studio) -> None:
    made = compared(studio)
    assert b"a rocket" in downloads.file("jobs.json")
    queue.set_hidden(studio.db, made[1].id)
    for name in downloads.FILES:
        assert b"a rocket" not in downloads.file(name) and made[1].id.encode() not in downloads.file(name)
    # One for another: as many are hidden as before.
    queue.set_hidden(studio.db, made[1].id, False)
    queue.set_hidden(studio.db, made[0].id)
    assert b"a rocket" in downloads.file("jobs.json")
    for name in downloads.FILES:
        assert made[0].id.encode() not in downloads.file(name)
    host_rules.change(studio.db, paused=True)
    forget_everything(studio.db, studio.store)
    assert json.loads(downloads.file("jobs.json")) == json.loads(downloads.file("votes.json")) == []


def test_votes_and_jobs_can_be_taken_home(studio: Studio, open_page: OpenPage) -> None:
    compared(studio)
    app = open_page(PAGE)
    assert len(app.get("download_button")) == 4
    jobs = json.loads(downloads.file("jobs.json"))
    assert {job["prompt"] for job in jobs} == {"a <b>heart</b>", "a rocket", "=a+star"}
    table = downloads.file("jobs.csv").decode("utf-8-sig")
    assert ",'=a+star," in table
    assert len(downloads.file("votes.csv").splitlines()) == 37
    assert len(json.loads(downloads.file("votes.json"))) == 36
