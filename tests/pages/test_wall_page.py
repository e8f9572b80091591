"""The wall for the projector: newest, best-voted and running pictures, and the way in for phones."""

from __future__ import annotations

import pytest
from streamlit import config
from streamlit.testing.v1 import AppTest

from db import queue, votes
from db.evening import wall
from generator import registry
from pages.ratings import standings
from pages.shared import address
from pages.shared.address import for_visitors
from pages.shared.navigation import WALL
from pages.shared.studio import the_studio
from pages.wall import MAX_PICTURES, arrange
from tests.pages.conftest import OpenPage
from tests.pages.visits import SOMEBODY, Studio, everything_shown


def alts(app: AppTest) -> list[str]:
    """The prompts of the pictures that hang on the wall."""
    return [image.proto.imgs[0].alt for image in app.get("image")]


def test_newest_and_running_pictures_hang_with_prompt_and_engine(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    studio.draw("a red heart", SOMEBODY)
    studio.enqueue("a blue car", SOMEBODY)
    studio.run(step=7)
    studio.enqueue("a house")
    app = open_page(WALL)
    shown = everything_shown(app)
    assert not app.exception and not app.error and not app.title and not app.button
    assert alts(app) == ["a blue car", "a red heart"]
    assert "VQGAN + CLIP · step 7 of" in shown and "<b>1</b> forming" in shown and "<b>1</b> waiting" in shown
    assert "The last of them starts in about" in shown


def test_a_hidden_picture_is_gone_at_the_next_refresh(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    first, second = studio.draw("a red heart"), studio.draw("a blue car")
    studio.enqueue("a house")
    forming = studio.run()
    app = open_page(WALL)
    assert len(alts(app)) == 3
    queue.set_hidden(studio.db, first.id)
    queue.set_hidden(studio.db, forming.id)
    assert alts(app.run()) == [second.prompt]


def test_best_voted_pictures_stay_when_newer_ones_come(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    best, worse = studio.draw("a red heart"), studio.draw("a blue car")
    for voter in ("anna", "bob"):
        votes.cast(studio.db, voter=voter, left_id=best.id, right_id=worse.id, choice="left")
    for number in range(MAX_PICTURES):
        studio.draw(f"number {number}")
    standings.keeper().current(studio.db)
    app = open_page(WALL)
    assert len(alts(app)) == MAX_PICTURES and "a red heart" in alts(app) and "a blue car" not in alts(app)
    assert "preferred 2 of 2 times" in everything_shown(app)


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


HOSTILE = [
    "<img src=x onerror=alert(1)> <script>alert(1)</script>",
    "**bold** [link](http://evil) :heart: $x$",
    "\u202egnp.exe\u202c zero\u200b\u200dwidth",
    "x " * 70,
]


def test_hostile_prompts_are_plain_text(studio: Studio, open_page: OpenPage) -> None:
    studio.start_executor()
    for prompt in HOSTILE:
        studio.draw(prompt)
    app = open_page(WALL)
    captions = [str(e.proto.body) for e in app.get("html") if "<bdi>" in str(e.proto.body)]
    assert len(captions) == len(HOSTILE)
    for caption in captions:
        assert "<img" not in caption and "<script" not in caption and "<bdi>" in caption, "each turns only itself"
        assert len(caption) < 600
    assert not app.markdown, "nothing a visitor wrote is read as Markdown"


def test_an_empty_wall_invites_and_says_that_nobody_works(studio: Studio, open_page: OpenPage) -> None:
    shown = everything_shown(open_page(WALL))
    assert "could be the first one" in shown and "No executor is running" in shown
    studio.start_executor()
    assert "a new picture starts at once" in everything_shown(open_page(WALL))


def test_the_code_leads_to_the_address_that_the_host_set(
    studio: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "QR code" not in everything_shown(open_page(WALL)), "no address is known here"
    monkeypatch.setenv("T2I_PUBLIC_URL", "https://draw.example.org/")
    the_studio.clear()
    shown = everything_shown(open_page(WALL))
    assert 'alt="QR code of https://draw.example.org/"' in shown and "data:image/svg+xml" in shown


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
