"""The host's cookie in a real browser: set by an answer, read by no script, good until it is ended."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from db.engine import connect
from db.rules import host_sessions
from tests.browser.conftest import PASSWORD, phone_or_desktop, playwright_api, settled
from tests.browser.running import web_app

pytestmark = pytest.mark.browser
expect = playwright_api.expect


def sign_in(page: playwright_api.Page, address: str) -> None:
    page.goto(f"{address}/host")
    field = page.get_by_role("textbox", name="Password")
    with page.expect_response("**/host/session") as answer:
        field.fill(PASSWORD)
        field.press("Enter")
    assert answer.value.status == 200
    expect(page.get_by_text("The queue is open")).to_be_visible()


def test_the_host_stays_signed_in_over_a_reload_and_another_web_app_until_it_is_ended(
    browser: playwright_api.Browser, tmp_path: Path
) -> None:
    with web_app(tmp_path, T2I_HOST_PASSWORD=PASSWORD, T2I_API="off") as address:
        page = phone_or_desktop(browser, 1280)
        sign_in(page, address)
        cookies = {one["name"]: one for one in page.context.cookies()}
        for name in ("t2i_host", "t2i_host_device"):
            assert cookies[name]["httpOnly"] and cookies[name]["sameSite"] == "Strict"
        assert "t2i_host" not in page.evaluate("document.cookie")
        page.reload()
        expect(page.get_by_text("The queue is open")).to_be_visible()

        refused = httpx.post(f"{address}/host/session", json={"ticket": "x"})
        assert refused.status_code == 403, "no page says that it asks"
        foreign = {"origin": "https://evil.example.org"}
        assert httpx.request("DELETE", f"{address}/host/session", headers=foreign).status_code == 403
        own = {"origin": address}
        assert httpx.post(f"{address}/host/session", json={"ticket": "x"}, headers=own).status_code == 403
        for body, status in (("x" * 100_000, 413), ("[]", 422), ("{", 422), ('{"ticket": 1}', 422)):
            assert httpx.post(f"{address}/host/session", content=body, headers=own).status_code == status, body[:20]
    # Another web app on the same database, as after a restart.
    with web_app(tmp_path, T2I_HOST_PASSWORD=PASSWORD, port=int(address.rsplit(":")[-1])):
        page.goto(f"{address}/host")
        expect(page.get_by_text("The queue is open")).to_be_visible()
        page.get_by_role("radio", name="Sessions").click()
        expect(page.get_by_text("this browser")).to_be_visible()
        settled(page)
        with page.expect_response("**/host/session"):
            page.get_by_role("button", name="Sign out everywhere").click()
        expect(page.get_by_role("textbox", name="Password")).to_be_visible()
        assert "t2i_host" not in {one["name"] for one in page.context.cookies()}
        db = connect(f"sqlite:///{tmp_path}/jobs.db")
        assert host_sessions.end_all(db) == 0
        db.dispose()
    page.context.close()
