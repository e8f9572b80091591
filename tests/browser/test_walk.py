"""One visitor's way through the studio in a real browser, on a desktop and on a phone.

The real web app and a real executor run on a database of their own. Skipped where there is no Chromium.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import queue, votes
from db.engine import connect
from db.jobs import State

playwright_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed.")
expect = playwright_api.expect

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE_MS = 300_000
START_S = 120.0
MARKED = re.compile(r"^Marked \d")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address of the web app and of its database; both processes end with the tests of this file."""
    folder = tmp_path_factory.mktemp("studio")
    database = f"sqlite:///{folder}/jobs.db"
    environment = {
        **os.environ,
        "T2I_DATABASE_URL": database,
        "T2I_STORE_URL": f"file://{folder}/artefacts",
        "OMP_NUM_THREADS": "1",
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    commands = (
        [sys.executable, "-m", "streamlit", "run", "webapp.py", f"--server.port={port}", "--server.address=127.0.0.1"],
        [sys.executable, "job_executor.py", "--device", "cpu"],
    )
    with (folder / "log.txt").open("wb") as log:
        processes = [subprocess.Popen(c, cwd=ROOT, env=environment, stdout=log, stderr=log) for c in commands]
        try:
            _wait_for(f"http://127.0.0.1:{port}/_stcore/health", processes)
            yield f"http://127.0.0.1:{port}", database
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _wait_for(url: str, processes: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert all(process.poll() is None for process in processes), "the web app or the executor has ended"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the web app did not become healthy")


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright_api.Browser]:
    installed = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    with playwright_api.sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=installed, args=CHROMIUM_FLAGS)
        except playwright_api.Error as error:
            pytest.skip(f"No Chromium could be started (apt-get install chromium): {str(error).splitlines()[0]}")
        yield opened
        opened.close()


def test_the_first_visitor_after_a_start_may_come_in_by_any_page(
    studio: tuple[str, str], browser: playwright_api.Browser
) -> None:
    # The first test of this file: nobody has visited the studio yet.
    page = browser.new_page()
    page.goto(f"{studio[0]}/queue_page")
    expect(page.get_by_text("The queue is empty")).to_be_visible(timeout=PATIENCE_MS)
    assert page.url.endswith("/queue_page")
    page.close()


def test_a_basque_browser_is_spoken_to_in_basque_until_a_tap_on_another_language(
    studio: tuple[str, str], browser: playwright_api.Browser
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, locale="eu-ES")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(studio[0])
    expect(page.get_by_role("button", name="Sortu")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator("html")).to_have_attribute("lang", "eu")
    page.get_by_role("textbox", name="Deskribapena").fill("itsasontzi gorri bat")
    page.get_by_role("radio", name="ES").click()
    expect(page.get_by_role("button", name="Generar")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_role("textbox", name="Descripción")).to_have_value("itsasontzi gorri bat")
    expect(page.locator("html")).to_have_attribute("lang", "es")
    assert "lang=es" in page.url
    page.reload()
    expect(page.get_by_role("button", name="Generar")).to_be_visible(timeout=PATIENCE_MS)
    assert _no_sideways_scrolling(page)
    context.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_stranger_draws_finds_and_votes(studio: tuple[str, str], browser: playwright_api.Browser, width: int) -> None:
    address, database = studio
    db = connect(database)
    context = browser.new_context(viewport={"width": width, "height": 844})
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    asked_elsewhere: list[str] = []
    context.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((address, "data:", "blob:", address.replace("http", "ws")))
            else asked_elsewhere.append(request.url)
        ),
    )
    page = context.new_page()

    # Submit: an example at a click, two pictures of it.
    page.goto(address)
    page.get_by_role("button", name="a red heart").click()
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value("a red heart")
    page.get_by_role("spinbutton", name="Steps").fill("6")
    page.get_by_role("spinbutton", name="Pictures").fill("2")
    page.get_by_role("spinbutton", name="Pictures").press("Enter")
    _settled(page)
    page.get_by_role("button", name="Generate").click()

    # Watch: both cards are there, and they end with a picture each.
    cards = page.locator("[class*='st-key-job_']")
    expect(cards).to_have_count(2)
    me = next(cookie["value"] for cookie in context.cookies() if cookie["name"] == "t2i_visitor")

    # Closing the tab loses nothing.
    page.close()
    page = context.new_page()
    page.goto(address)
    expect(cards_of(page)).to_have_count(2)
    expect(cards_of(page).get_by_text("done in")).to_have_count(2)
    expect(cards_of(page).get_by_role("img", name="a red heart")).to_have_count(2)
    assert _no_sideways_scrolling(page)
    mine = queue.list_jobs(db, submitter=me)
    assert [job.state for job in mine] == [State.SUCCEEDED] * 2

    # Find it again among the previous inferences.
    page.goto(f"{address}/previous_inferences")
    page.get_by_role("textbox", name="Search").fill("red heart")
    page.get_by_role("textbox", name="Search").press("Enter")
    tile = page.locator("[class*='st-key-tile_']").first
    tile.get_by_role("button", name="a red heart").click()
    expect(page.get_by_text("All inferences")).to_be_visible()
    assert "job=" in page.url
    page.get_by_role("radio", name="Animation").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="GIF", exact=True).click()
    assert download.value.path().read_bytes().startswith(b"GIF89a")
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG", exact=True).click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    assert _no_sideways_scrolling(page)

    # Vote: the two pictures stand side by side, also on the phone.
    page.goto(f"{address}/vote_images")
    left, right = page.locator(".st-key-vote_left img"), page.locator(".st-key-vote_right img")
    expect(left).to_be_visible()
    one, other = left.bounding_box(), right.bounding_box()
    assert one and other and one["y"] == other["y"] and one["x"] + one["width"] < other["x"]
    page.get_by_role("button", name="Left one").click()
    expect(page.get_by_text("1 vote")).to_be_visible()
    assert votes.cast_by(db, me) == 1

    # The leaderboard counts it, and the file of votes does not name the visitor.
    page.goto(f"{address}/leaderboard")
    expect(page.get_by_text("Best pictures")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Votes (CSV)").click()
    table = download.value.path().read_text()
    assert len(table.splitlines()) == 2 and me not in table
    assert _no_sideways_scrolling(page)

    # The queue is empty again and says who would work.
    page.goto(f"{address}/queue_page")
    expect(page.get_by_text("The queue is empty")).to_be_visible()
    expect(page.get_by_text("Executors (1)")).to_be_visible()
    assert _no_sideways_scrolling(page)
    assert asked_elsewhere == [], "nothing is loaded from another machine"
    context.close()
    db.dispose()


def _settled(page: playwright_api.Page) -> None:
    """Nothing moves under the finger: on a busy machine a click on a page that is being drawn anew can go astray."""
    page.wait_for_timeout(500)
    page.locator("[data-testid='stApp'][data-test-script-state='notRunning']").wait_for()


def cards_of(page: playwright_api.Page) -> playwright_api.Locator:
    return page.locator("[class*='st-key-job_']")


def _no_sideways_scrolling(page: playwright_api.Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def test_a_thumb_refines_a_picture_and_another_device_goes_on(
    studio: tuple[str, str], browser: playwright_api.Browser
) -> None:
    expect.set_options(timeout=PATIENCE_MS)
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(f"{studio[0]}/refine")
    page.get_by_role("textbox", name="Prompt").fill("a red heart")
    page.get_by_text("4", exact=True).tap()
    page.get_by_role("button", name="Draw candidates").tap()
    expect(page.get_by_text("best first")).to_be_visible()
    page.get_by_role("button", name="Mark 1", exact=True).tap()
    expect(page.get_by_role("button", name=MARKED)).to_have_count(1)
    assert _no_sideways_scrolling(page)
    page.get_by_role("button", name="Upscale").tap()
    expect(page.get_by_text("1 of 1 done")).to_be_visible()
    with page.expect_download() as download:
        page.locator(".st-key-next_2").get_by_role("button", name="Download").tap()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    elsewhere = browser.new_context(viewport={"width": 1280, "height": 844})
    other = elsewhere.new_page()
    other.goto(page.url)
    expect(other.get_by_role("button", name=MARKED)).to_have_count(2)
    other.get_by_role("button", name=MARKED).first.click()
    expect(page.get_by_role("button", name=MARKED)).to_have_count(1)
    elsewhere.close()
    context.close()


def test_the_wall_comes_back_by_itself(studio: tuple[str, str], browser: playwright_api.Browser) -> None:
    expect.set_options(timeout=PATIENCE_MS)
    page = browser.new_page(viewport={"width": 390, "height": 844})
    cut: list[bool] = []
    connections: list[playwright_api.WebSocketRoute] = []

    def connect_or_refuse(route: playwright_api.WebSocketRoute) -> None:
        if cut:
            route.close()
        else:
            route.connect_to_server()
            connections.append(route)

    page.route_web_socket(lambda url: url.endswith("/_stcore/stream"), connect_or_refuse)
    page.goto(f"{studio[0]}/wall")
    picture = page.get_by_role("img", name="a red heart").first
    expect(picture).to_be_visible()
    expect(page.get_by_test_id("stHeader")).to_be_hidden()
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    assert _no_sideways_scrolling(page)
    with page.expect_navigation(timeout=PATIENCE_MS):
        cut.append(True)
        for connection in connections:
            connection.close()
    cut.clear()
    expect(picture).to_be_visible()
    page.close()
