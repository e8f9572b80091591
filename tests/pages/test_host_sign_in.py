"""Signing in as the host: slowed where somebody guesses, lasting, and ended from anywhere."""

from __future__ import annotations

import re

import pytest

from db import queue
from db.errors import DatabaseUnavailable
from db.jobs import State
from db.rules import host_sessions
from pages.hosting import sign_in as signing_in
from pages.hosting.browsers import browser_called
from pages.hosting.sign_in import the_credential
from pages.shared.navigation import HOST
from studio import host_password
from studio.host_password import hash_password
from tests.pages.conftest import OpenPage
from tests.pages.test_host import PASSWORD, hosted, sign_in
from tests.pages.visits import Studio, everything_shown

__all__ = ["hosted"]  # the fixture


def press(app, label: str):
    return next(b for b in app.button if b.label == label).click().run()


def test_wrong_tries_are_slowed_down(hosted: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_password, "FREE_TRIES", -4)  # as if it were the eighth
    app = sign_in(open_page, password="guess")
    app.text_input(key="host_password").input(PASSWORD)  # the right one, but too soon
    app.button[0].click().run()
    assert re.search(r"Too many wrong passwords; try again in \d\d s", everything_shown(app))


def test_wrong_passwords_from_elsewhere_do_not_keep_the_host_waiting(
    hosted: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = signing_in._gate()
    for n in range(2000):
        gate.take(f"198.51.{n // 250}.{n % 250}", None, n / 100 - 1e6)
    assert "The queue is open" in everything_shown(sign_in(open_page))


def test_a_known_browser_signs_in_while_somebody_guesses_from_its_address(
    hosted: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(50):
        signing_in._gate().take("192.0.2.7", None, signing_in.time.monotonic())
    assert "Too many wrong passwords" in everything_shown(sign_in(open_page))
    monkeypatch.setattr(signing_in, "_device", lambda: "a nonce")
    assert "The queue is open" in everything_shown(sign_in(open_page))


def test_a_password_of_100_kb_is_wrong_like_any_other(hosted: Studio, open_page: OpenPage) -> None:
    shown = everything_shown(sign_in(open_page, password="x" * 100_000))
    assert "not the password" in shown and len(shown) < 20_000


def test_the_password_may_be_set_as_a_hash(
    hosted: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T2I_HOST_PASSWORD", hashed := hash_password(PASSWORD))
    assert "not the password" in everything_shown(sign_in(open_page, password=hashed))
    assert "The queue is open" in everything_shown(sign_in(open_page))


def test_the_page_hands_its_browser_a_ticket_once_and_never_what_the_cookie_holds(
    hosted: Studio, open_page: OpenPage
) -> None:
    app = sign_in(open_page)
    script = next(html.proto.body for html in app.get("html") if "/host/session" in html.proto.body)
    ticket = re.search(r'ticket\\": \\"([\w-]+)', script)
    assert ticket is not None
    found = host_sessions.exchange(hosted.db, ticket[1])
    assert found is not None and found[1].label.startswith("A browser")
    assert not [html for html in app.run().get("html") if "/host/session" in html.proto.body]
    assert host_sessions.by_cookie(hosted.db, found[0], the_credential()) is not None


def test_a_session_lasts_over_a_reload_and_ends_when_it_is_ended_elsewhere(
    hosted: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = sign_in(open_page)
    (session,) = host_sessions.every(hosted.db, the_credential())
    again = open_page()
    again.session_state["host_session"] = session.id  # as the cookie leads to it
    again.switch_page(HOST).run()
    assert "The queue is open" in everything_shown(again)
    sections = again.segmented_control(key="host_section").set_value("Sessions").run()
    assert "this browser" in everything_shown(sections)
    app.segmented_control(key="host_section").set_value("Sessions").run()
    press(app, "Sign out everywhere")
    assert not host_sessions.every(hosted.db, the_credential())
    for one in (app, again.run()):
        assert "Password" in [box.label for box in one.text_input]


def test_another_password_ends_every_session(
    hosted: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = sign_in(open_page)
    monkeypatch.setenv("T2I_HOST_PASSWORD", "another password")
    signing_in.the_studio.clear()
    app.run()
    assert "The queue is" not in everything_shown(app)


def test_while_the_database_is_away_the_host_reads_why_and_can_do_nothing(
    hosted: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = hosted.enqueue("a red heart")

    def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("The database /srv/studio/jobs.db cannot be reached.")

    signed_in = sign_in(open_page)
    for call in ("get", "begin", "by_cookie"):
        monkeypatch.setattr(host_sessions, call, away)
    signed_in.button(key=f"host_cancel_{job.id}").click().run()
    assert "/srv/studio/jobs" in signed_in.error[0].value.replace("\\", "")
    assert queue.get(hosted.db, job.id).state == State.QUEUED
    late = sign_in(open_page)
    assert "/srv/studio/jobs" in late.error[0].value.replace("\\", ""), "the password was right"
    assert "/srv/studio" not in everything_shown(sign_in(open_page, password="guess"))


def test_browsers_are_called_what_people_call_them() -> None:
    for agent, name in (
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1", "Safari on an iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("<script>", "A browser"),
        (None, "A browser"),
    ):
        assert browser_called(agent) == name
