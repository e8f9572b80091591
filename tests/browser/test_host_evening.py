"""The host's evening in a real browser: sign in, pause, hide, export; and the exported gallery opened from its file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from db import queue
from db.jobs import State
from db.rules import host_rules
from tests.browser.conftest import PASSWORD, fits, phone_or_desktop, playwright_api
from tests.pages.visits import SOMEBODY, Studio

expect = playwright_api.expect
pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)> a **red** [heart](x.html)"


@pytest.mark.parametrize("width", [1280, 390])
def test_the_host_pauses_hides_and_exports(
    hosted: tuple[str, Studio], browser: playwright_api.Browser, width: int, tmp_path: Path
) -> None:
    address, studio = hosted
    wrong = studio.draw("the wrong picture", SOMEBODY)
    studio.draw(HOSTILE)
    page = phone_or_desktop(browser, width)
    page.goto(f"{address}/host")
    password = page.get_by_role("textbox", name="Password")
    password.fill("a guess, a guess")
    password.press("Enter")
    expect(page.get_by_text("That is not the password")).to_be_visible()
    password.fill(PASSWORD)
    password.press("Enter")
    expect(page.get_by_text("The queue is open")).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("The queue is paused")).to_be_visible()
    assert host_rules.get(studio.db).paused and fits(page)

    page.get_by_role("radio", name="Pictures").click()
    page.locator(f".st-key-host_picture_{wrong.id}").get_by_role("button", name="Hide").click()
    expect(page.locator(f".st-key-host_picture_{wrong.id}").get_by_text("Hidden")).to_be_visible()
    assert fits(page)
    page.get_by_role("radio", name="Rules").click()
    expect(page.get_by_text("Refused words")).to_be_visible()
    assert fits(page)

    page.get_by_role("radio", name="Data").click()
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").first.click()
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(tmp_path)
    assert fits(page)

    # A visitor is told, and finds all but the hidden picture.
    page.goto(f"{address}/queue_page")
    expect(page.get_by_text("The host has paused the queue")).to_be_visible()
    page.goto(f"{address}/previous_inferences?job={wrong.id}")
    expect(page.get_by_text("No such job")).to_be_visible()

    # The gallery needs no server; what a visitor typed is text in it.
    said: list[str] = []
    gallery = page.context.new_page()
    gallery.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    gallery.on("console", lambda message: said.append(message.text))
    gallery.goto((tmp_path / "index.html").as_uri())
    shown = queue.list_jobs(studio.db, states=[State.SUCCEEDED], without=["rank"])
    expect(gallery.locator("figure")).to_have_count(len(shown))
    expect(gallery.get_by_text(HOSTILE).first).to_be_visible()
    expect(gallery.get_by_text("the wrong picture")).to_have_count(0)
    loaded = "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
    gallery.wait_for_function(loaded)
    assert said == [] and fits(gallery)
