"""An event with a code: who has not shown it looks, and draws, votes and sends pictures once it is shown."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from db import queue, votes
from db.errors import Banned, CodeNeeded
from db.rules import event_code, host_rules
from pages.shared.address import with_code
from pages.shared.errors import sentence
from pages.shared.navigation import INFERENCES, VOTES, WALL
from scripts.update_translations import messages
from studio import admission
from studio.admission import MAX_WRONG, TooManyCodes, Tries, WrongCode, check_code, link_code
from studio.context import Submitter
from tests.pages.conftest import OpenPage
from tests.pages.visits import ME, SOMEBODY, Studio, everything_shown

CODE = "Guggenheim 7"
ASKED = "show the code of this event once"


@pytest.fixture
def coded(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.setenv("T2I_EVENT_CODE", CODE)
    monkeypatch.setenv("T2I_PUBLIC_URL", "http://192.0.2.1:8501")
    return studio


def generate(app: AppTest) -> None:
    app.text_area(key="set_prompt").set_value("a red heart").run()
    next(b for b in app.button if b.label == "Generate").click().run()


def enter(app: AppTest, code: str) -> None:
    app.text_input(key="event_code_typed").input(code)
    next(b for b in app.button if b.label == "Enter").click().run()


def test_who_has_not_shown_the_code_looks_and_draws_once_it_is_typed(coded: Studio, open_page: OpenPage) -> None:
    job = coded.draw("a blue car", SOMEBODY)
    assert "a blue car" in everything_shown(open_page(INFERENCES, job=job.id)), "looking is free"
    app = open_page()
    assert ASKED in everything_shown(app)
    generate(app)
    assert "This event has a code" in everything_shown(app) and queue.counts(coded.db)["queued"] == 0
    enter(app, "guess")
    assert "not this event's code" in everything_shown(app)
    enter(app, " guggenheim7 ")
    assert ASKED not in everything_shown(app)
    generate(app)
    assert queue.counts(coded.db)["queued"] == 1
    assert ASKED not in everything_shown(open_page()), "once is enough, in every tab of the visitor"
    host_rules.change(coded.db, event_code="another one")
    assert ASKED in everything_shown(open_page()), "a new code is asked for anew"


def test_who_may_not_ask_reads_why_in_their_language(coded: Studio, open_page: OpenPage) -> None:
    app = open_page()
    app.query_params["lang"] = "eu"
    app.run()
    app.text_area(key="set_prompt").set_value("bihotz gorri bat").run()
    next(b for b in app.button if b.label == "Sortu").click().run()
    assert "Ekitaldi honek kode bat du" in everything_shown(app) and "This event" not in everything_shown(app)
    for refusal in (CodeNeeded(), Banned()):
        assert sentence(refusal) == str(refusal) and (str(refusal),) in messages(), "it is translated"


def test_the_walls_qr_code_brings_it_along(coded: Studio, open_page: OpenPage) -> None:
    code = link_code(coded.opened())
    assert code is not None and CODE not in code and len(code) == 22
    assert with_code("http://192.0.2.1:8501", code) == f"http://192.0.2.1:8501?code={code}"
    assert with_code("https://a.org/studio/?lang=eu", code) == f"https://a.org/studio/?lang=eu&code={code}"
    assert CODE not in everything_shown(open_page(WALL, visitor=SOMEBODY)), "whoever opens the wall is not told"
    assert CODE in everything_shown(open_page(WALL, visitor=SOMEBODY, code=CODE)), "the projector's, opened with it"
    assert CODE in everything_shown(open_page(WALL, visitor=SOMEBODY))
    app = open_page(VOTES, code=code)
    assert ASKED not in everything_shown(app) and "code" not in app.query_params
    generate(open_page())
    assert queue.counts(coded.db)["queued"] == 1


def test_votes_need_it_too(coded: Studio, open_page: OpenPage) -> None:
    for n in range(2):
        coded.draw(f"a heart {n}", SOMEBODY)
    app = open_page(VOTES)
    next(b for b in app.button if b.key == "choose_left").click().run()
    assert "This event has a code" in everything_shown(app) and votes.cast_by(coded.db, ME) == 0


def test_nobody_finds_the_code_by_trying(coded: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    place, tries, now = coded.opened(), Tries(), [0.0]
    monkeypatch.setattr(admission.time, "monotonic", lambda: now[0])
    guesser, neighbour = Submitter("g" * 20, address="here"), Submitter("n" * 20, address="there")
    for n in range(MAX_WRONG):
        with pytest.raises(WrongCode):
            check_code(place, Submitter(f"fresh-{n}", address="here"), f"guess {n}", tries)
    for typed in ("guess", CODE):
        with pytest.raises(TooManyCodes, match="scan the QR code"):
            check_code(place, guesser, typed, tries)
    check_code(place, guesser, str(link_code(place)), tries)
    check_code(place, neighbour, CODE, tries)
    now[0] = 61.0
    for _ in range(2 * MAX_WRONG):
        check_code(place, guesser, CODE, tries)


@pytest.mark.parametrize("code", ["", "abc", "x" * 41, "a\x00bcd"])
def test_a_code_that_nobody_could_type_is_refused(studio: Studio, code: str) -> None:
    from db.errors import BadValue

    with pytest.raises(BadValue):
        host_rules.change(studio.db, event_code=code)


def test_what_is_kept_of_a_code_is_not_the_code(coded: Studio) -> None:
    event_code.admit(coded.db, ME, CODE)
    with coded.db.connect() as conn:
        rows: Any = conn.exec_driver_sql("SELECT code FROM visitors").all()
    assert CODE not in str(rows) and event_code.has_shown(coded.db, ME, CODE.upper())
