"""The studio kept among a phone's apps: it may be installed, and says so where its server cannot be reached."""

from __future__ import annotations

import httpx
import pytest

from tests.browser.conftest import phone_or_desktop, playwright_api
from tests.pages.visits import Studio

pytestmark = pytest.mark.browser
expect = playwright_api.expect


def test_its_manifest_names_icons_that_are_there(hosted: tuple[str, Studio]) -> None:
    address, _ = hosted
    manifest = httpx.get(f"{address}/manifest.webmanifest").json()
    assert manifest["display"] == "standalone" and manifest["name"]
    for icon in manifest["icons"]:
        assert httpx.get(f"{address}/{icon['src']}").headers["content-type"] == icon["type"]


def test_without_a_server_it_says_so_and_comes_back(
    hosted: tuple[str, Studio], browser: playwright_api.Browser
) -> None:
    address, _ = hosted
    page = phone_or_desktop(browser, 390, locale="es-ES")
    page.goto(address)
    expect(page.locator(".st-key-set_prompt textarea")).to_be_visible()
    page.evaluate("navigator.serviceWorker.ready")
    page.context.set_offline(True)
    page.goto(address)
    expect(page.get_by_role("heading", name="No se puede llegar al estudio")).to_be_visible()
    page.context.set_offline(False)
    expect(page.locator(".st-key-set_prompt textarea")).to_be_visible()


def test_on_a_phone_the_pages_are_under_the_thumb(hosted: tuple[str, Studio], browser: playwright_api.Browser) -> None:
    address, studio = hosted
    studio.draw("a red heart")
    page = phone_or_desktop(browser, 390)
    page.goto(address)
    bar = page.locator(".st-key-thumb_bar")
    bar.get_by_role("link", name="Gallery").click()
    expect(page.locator(".st-key-gallery img")).to_have_count(1)
    bar.get_by_role("button", name="More").click()
    page.get_by_test_id("stPopoverBody").get_by_role("link", name="Leaderboard").click()
    expect(page.get_by_role("heading", name="Leaderboard")).to_be_visible()
