"""The wall for the projector: what forms, what is finished and best voted, and the way in for phones."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import pytest
from streamlit import config
from streamlit.testing.v1 import AppTest

from db import queue, votes
from db.evening import wall
from db.rules import host_rules, visitors
from generator import registry
from pages.projection.view import MAX_TILES, arrange
from pages.ratings import standings
from pages.shared import address
from pages.shared.address import for_visitors
from pages.shared.navigation import WALL
from pages.shared.studio import the_studio
from studio.compare import axis, compare
from studio.context import Submitter
from tests.pages.conftest import OpenPage
from tests.pages.visits import ME, SOMEBODY, Studio, everything_shown

COMMENT = '--> </title> "quoted" <script>alert(1)</script> & \u202egnp.exe\u202c'
READ = '--> </title> "quoted" <script>alert(1)</script> & gnp.exe'


def seen(app: AppTest) -> dict[str, Any]:
    """What the wall's script is told to draw."""
    (body,) = [str(e.proto.body) for e in app.get("html") if str(e.proto.body).startswith("<div data-wall")]
    found = re.fullmatch('<div data-wall="([^"<>]*)"></div>', body)
    assert found, "what visitors wrote cannot leave its attribute"
    drawn = json.loads(html.unescape(found[1]))
    assert isinstance(drawn, dict)
    return drawn


def tiles(app: AppTest) -> list[str]:
    """The prompts of the pictures beside the stage."""
    return [tile["prompt"] for tile in seen(app)["tiles"] if tile]


def test_what_forms_is_on_the_stage_with_the_visitors_name_and_what_is_finished_beside_it(
    studio: Studio, open_page: OpenPage
) -> None:
    studio.start_executor()
    visitors.set_name(studio.db, SOMEBODY, "Grace")
    studio.draw("a red heart", SOMEBODY)
    studio.enqueue("a blue car", SOMEBODY)
    studio.run(step=7)
    studio.enqueue("a house")
    app = open_page(WALL)
    assert not app.exception and not app.error and not app.title and not app.button
    now = seen(app)
    stage = now["stage"]
    assert (stage["kind"], stage["prompt"]) == ("forming", "a blue car") and not now["calm"]
    assert "Grace" in stage["by"] and "step 7 of" in stage["about"] and 0 < stage["progress"] < 1
    assert stage["picture"].startswith("files/") and stage["film"] is None
    assert tiles(app) == ["a red heart"]
    assert [count for count, _ in now["side"]["counts"]] == [1, 1]
    assert "The last of them starts in about" in now["side"]["state"]


def test_its_film_follows_and_of_several_that_form_the_others_are_tiles(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    for prompt in ("first", "second"):
        studio.enqueue(prompt, prompt)
    first, second = studio.run(), studio.run()
    app = open_page(WALL)
    assert seen(app)["stage"]["prompt"] == first.prompt and tiles(app) == [second.prompt]
    studio.finish(first)
    stage = seen(app.run())["stage"]
    assert (stage["kind"], stage["prompt"], stage["progress"]) == ("finished", first.prompt, None)
    assert stage["film"].startswith("files/") and stage["film"] != stage["picture"]


def test_a_submission_has_one_tile_the_best_of_it(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    studio.draw("alone")
    grid = axis("seed", "1, 2, 3"), axis("steps", "10, 20")
    compare(studio.opened(), Submitter(ME), "vqgan-clip", {"prompt": "many"}, *grid)
    drawn = [studio.run() for _ in range(6)]
    for place, job in enumerate(drawn):
        studio.finish(job)
        queue.get(studio.db, job.id)
        if place == 2:
            votes.cast(studio.db, voter="v", left_id=drawn[1].id, right_id=drawn[0].id, choice="left")
    standings.keeper().current(studio.db)
    now = seen(open_page(WALL))
    shown = [tile["prompt"] for tile in now["tiles"] if tile] + [now["stage"]["prompt"]]
    assert sorted(shown) == ["alone", "many"]
    assert "preferred 1 of 1 times" in json.dumps(now), "the one that somebody voted for"


def test_a_hidden_picture_is_gone_at_the_next_refresh(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    first, second = studio.draw("a red heart"), studio.draw("a blue car")
    studio.enqueue("a house")
    forming = studio.run()
    app = open_page(WALL)
    assert len(tiles(app)) == 2 and seen(app)["stage"]["prompt"] == "a house"
    queue.set_hidden(studio.db, first.id)
    queue.set_hidden(studio.db, forming.id)
    text = json.dumps(seen(app.run()))
    assert "a red heart" not in text and "a house" not in text and second.prompt in text


def test_where_nobody_is_there_one_of_the_best_is_shown_alone(studio: Studio, open_page: OpenPage) -> None:
    best, worse = studio.draw("a red heart"), studio.draw("a blue car")
    for voter in ("anna", "bob"):
        votes.cast(studio.db, voter=voter, left_id=best.id, right_id=worse.id, choice="left")
    for number in range(MAX_TILES + 4):
        studio.draw(f"number {number}")
    standings.keeper().current(studio.db)
    now = seen(open_page(WALL))
    assert now["calm"] and now["stage"]["kind"] == "calm" and now["stage"]["prompt"] == "a red heart"
    assert "preferred 2 of 2 times" in now["stage"]["about"] and now["stage"]["film"] is None
    studio.start_executor()
    studio.enqueue("somebody comes")
    studio.run()
    app = open_page(WALL)
    assert not seen(app)["calm"] and len(tiles(app)) == MAX_TILES
    assert "a red heart" in tiles(app) and "a blue car" not in tiles(app), "the best stay when newer ones come"


def test_the_wall_has_the_best_in_the_order_of_the_leaderboard(studio: Studio, open_page: OpenPage) -> None:
    # The champion has won 27 of 36 comparisons, but most against a weak one; who beat it 9 times of 12 is the better.
    strong, champion, weak = (studio.draw(prompt) for prompt in ("strong", "champion", "weak"))
    for voter in range(24):
        votes.cast(studio.db, voter=f"v{voter}", left_id=champion.id, right_id=weak.id, choice="left")
    for voter in range(12):
        choice: votes.Choice = "left" if voter % 4 else "right"
        votes.cast(studio.db, voter=f"v{voter}", left_id=strong.id, right_id=champion.id, choice=choice)
    found = standings.keeper().current(studio.db)
    assert found is not None
    order = [rated.name for rated in found.best]
    assert order[0] == strong.id
    shown = wall.best_voted(studio.db, standings.best_first(studio.db), registry.drawing_engines(), limit=5)
    assert [job.id for job, _ in shown] == [job_id for job_id in order if job_id != weak.id]
    assert "preferred 9 of 12 times" in everything_shown(open_page(WALL))


def test_pictures_keep_their_places_while_others_come_and_go() -> None:
    assert arrange([], ["a", "b"], 3) == ["a", "b", None]
    assert arrange(["a", "b", None], ["c", "b", "a"], 3) == ["a", "b", "c"]
    assert arrange(["a", "b", "c"], ["d", "a", "c"], 3) == ["a", "d", "c"]
    assert arrange(["a", "b", "c"], ["c", "b"], 2) == ["c", "b"], "a smaller grid loses none"
    assert arrange(["a"], [], 1) == [None]


def test_only_what_the_host_has_approved_is_shown_where_they_want_that(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    good, bad = studio.draw("a good one", SOMEBODY), studio.draw("a bad one", SOMEBODY)
    studio.enqueue("who knows", SOMEBODY)
    studio.run()
    host_rules.change(studio.db, wall_approval=True)
    app = open_page(WALL)
    now = seen(app)
    assert now["stage"]["kind"] == "empty" and "1 picture is being drawn" in now["stage"]["prompt"]
    wall.decide(studio.db, [good.id], True)
    wall.decide(studio.db, [bad.id], False)
    now = seen(app.run())
    assert (now["stage"]["kind"], now["stage"]["prompt"]) == ("finished", "a good one"), "with its film, as it comes"
    assert "1 picture is being drawn" in now["stage"]["note"] and not now["calm"]
    assert "a bad one" not in json.dumps(now) and "who knows" not in json.dumps(now)
    host_rules.change(studio.db, wall_approval=False)
    shown = set(tiles(app.run()))
    assert "who knows" in shown and "a bad one" not in shown, "what the host declined stays off the wall"


def test_hostile_prompts_and_names_are_plain_text(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    visitors.set_name(studio.db, SOMEBODY, "<b>--></b>")
    studio.draw(COMMENT, SOMEBODY)
    studio.draw("x " * 70)
    studio.enqueue("now")
    studio.run()
    app = open_page(WALL)
    assert READ in tiles(app), "word for word but for what turns it round, for a script that sets it as text"
    assert all(len(prompt) <= 91 for prompt in tiles(app))
    assert not app.markdown, "nothing a visitor wrote is read as Markdown"


def test_an_empty_wall_invites_and_says_that_nobody_works(studio: Studio, open_page: OpenPage) -> None:
    now = seen(open_page(WALL))
    assert "could be the first one" in now["stage"]["prompt"] and "No executor is running" in now["side"]["state"]
    assert not any(now["tiles"])
    studio.start_executor()
    assert "A new picture starts at once" in everything_shown(open_page(WALL))


def test_the_code_leads_to_the_address_that_the_host_set(
    studio: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "QR code" not in everything_shown(open_page(WALL)), "no address is known here"
    monkeypatch.setenv("T2I_PUBLIC_URL", "https://draw.example.org/")
    the_studio.clear()
    side = seen(open_page(WALL))["side"]
    assert side["alt"] == "QR code of https://draw.example.org/" and side["qr"].startswith("data:image/svg+xml")


@pytest.mark.parametrize(
    ("opened", "listening", "alone"),
    [
        ("http://localhost:8501/wall", "127.0.0.1", True),
        ("http://127.0.0.1:8501/wall", "localhost", True),
        ("http://127.0.0.1:8501/wall", "0.0.0.0", False),
        ("http://127.0.0.1:8501/wall", None, False),
        ("https://lab.example.org/wall", "127.0.0.1", False),
    ],
)
def test_a_wall_that_no_phone_can_reach_shows_no_code_that_leads_nowhere(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch, opened: str, listening: str | None, alone: bool
) -> None:
    monkeypatch.setattr(address, "reachable_host", lambda _: "192.168.1.7")
    options = {"server.address": listening}
    monkeypatch.setattr("streamlit.get_option", lambda name: options.get(name, config.get_option(name)))
    app = open_page(WALL)
    app.context = {"url": opened}
    shown = everything_shown(app.run())
    assert ("Only this machine can open the studio." in shown) == alone and ("QR code of" in shown) != alone


def test_a_phone_is_not_led_to_its_own_localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "reachable_host", lambda _: "192.168.1.7")
    for opened in ("http://localhost:8501/wall", "http://127.0.0.1:8501/", "http://0.0.0.0:8501"):
        assert for_visitors(opened, None, "wall") == "http://192.168.1.7:8501"
    assert for_visitors("https://lab.example.org/t2i/wall", None, "wall") == "https://lab.example.org/t2i"
    assert for_visitors(None, None, "wall") is None
