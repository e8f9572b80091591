"""One visitor's way through the studio in a real browser, on a desktop and on a phone.

The real web app and a real executor run on a database of their own. Skipped where there is no Chromium.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from db import queue, votes
from db.engine import connect
from db.jobs import State
from studio.visitor_ids import COOKIE
from tests.browser.conftest import fits, open_settings, phone_or_desktop, playwright_api, settled
from tests.browser.running import web_app

expect = playwright_api.expect
pytestmark = pytest.mark.browser


def side_by_side(two: playwright_api.Locator) -> bool:
    """Whether both are there at the same height, neither on the other; measured at once, since a page may scroll."""
    one, other = two.evaluate_all("found => found.map((one) => one.getBoundingClientRect().toJSON())")
    return bool(one["y"] == other["y"] and one["right"] < other["x"])


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address of the web app and of its database; both processes end with the tests of this file."""
    folder = tmp_path_factory.mktemp("studio")
    with web_app(folder, executor=True) as address:
        yield address, f"sqlite:///{folder}/jobs.db"


def test_the_first_visitor_after_a_start_may_come_in_by_any_page(
    studio: tuple[str, str], browser: playwright_api.Browser
) -> None:
    # The first test of this file: nobody has visited the studio yet.
    page = phone_or_desktop(browser, 1280)
    page.goto(f"{studio[0]}/queue_page")
    expect(page.get_by_text("The queue is empty")).to_be_visible()
    assert page.url.endswith("/queue_page")
    page.context.close()


def test_a_basque_browser_is_spoken_to_in_basque_until_a_tap_on_another_language(
    studio: tuple[str, str], browser: playwright_api.Browser
) -> None:
    # A desktop in Spanish is in test_accessible.py.
    page = phone_or_desktop(browser, 390, locale="eu-ES")
    page.goto(studio[0])
    expect(page.get_by_role("button", name="Sortu")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "eu")
    page.get_by_role("textbox", name="Deskribapena").fill("itsasontzi gorri bat")
    page.get_by_role("radio", name="ES").click()
    expect(page.get_by_role("button", name="Generar")).to_be_visible()
    expect(page.get_by_role("textbox", name="Descripción")).to_have_value("itsasontzi gorri bat")
    expect(page.locator("html")).to_have_attribute("lang", "es")
    assert "lang=es" in page.url and fits(page)
    page.reload()
    expect(page.get_by_role("button", name="Generar")).to_be_visible()
    page.context.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_stranger_draws_finds_and_votes(studio: tuple[str, str], browser: playwright_api.Browser, width: int) -> None:
    address, database = studio
    db = connect(database)
    page = phone_or_desktop(browser, width)
    asked_elsewhere: list[str] = []
    page.context.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((address, "data:", "blob:", address.replace("http", "ws")))
            else asked_elsewhere.append(request.url)
        ),
    )

    # Submit: an example at a click, two pictures of it.
    page.goto(address)
    page.locator(".st-key-examples").get_by_role("button", name="a red heart").click()
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value("a red heart")
    open_settings(page)
    page.get_by_role("spinbutton", name="Steps", exact=True).fill("2")
    page.get_by_role("spinbutton", name="Pictures").fill("2")
    page.get_by_role("spinbutton", name="Pictures").press("Enter")
    settled(page)
    page.get_by_role("button", name="Generate").click()

    # Watch: both cards are there side by side, and they end with a picture each.
    cards = page.locator("[class*='st-key-job_']")
    expect(cards).to_have_count(2)
    assert side_by_side(cards)
    me = next(cookie["value"] for cookie in page.context.cookies() if cookie["name"] == COOKIE).split(".")[0]

    # Closing the tab loses nothing.
    context = page.context
    page.close()
    page = context.new_page()
    page.goto(address)
    cards = page.locator("[class*='st-key-job_']")
    expect(cards).to_have_count(2)
    expect(cards.get_by_text("done in")).to_have_count(2)
    expect(cards.get_by_role("img", name="a red heart")).to_have_count(2)
    assert fits(page)
    mine = queue.list_jobs(db, submitter=me)
    assert [job.state for job in mine] == [State.SUCCEEDED] * 2

    # Find it again among the previous inferences.
    page.goto(f"{address}/previous_inferences")
    page.get_by_role("textbox", name="Search").fill("red heart")
    page.get_by_role("textbox", name="Search").press("Enter")
    tile = page.locator("[class*='st-key-tile_']").first
    tile.get_by_role("button", name="a red heart").click()
    viewer = page.get_by_role("dialog")
    viewer.get_by_role("button", name="How it formed").click()
    viewer.get_by_role("button", name="More").click()
    page.get_by_role("button", name="Details").click()
    expect(page.get_by_text("All inferences")).to_be_visible()
    assert "job=" in page.url
    settled(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="GIF", exact=True).click()
    assert download.value.path().read_bytes().startswith(b"GIF89a")
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG", exact=True).click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    assert fits(page)

    # Vote: the two pictures stand side by side, also on the phone.
    page.goto(f"{address}/vote_images")
    pair = page.locator(".st-key-vote_left img, .st-key-vote_right img")
    expect(pair).to_have_count(2)
    assert side_by_side(pair)
    page.get_by_role("button", name="Left one").click()
    expect(page.get_by_text("1 vote")).to_be_visible()
    assert votes.cast_by(db, me) == 1

    # The leaderboard counts it, and the file of votes does not name the visitor.
    page.goto(f"{address}/leaderboard")
    expect(page.get_by_text("Best pictures")).to_be_visible()
    expect(page.get_by_role("button", name="Votes (CSV)")).to_be_visible()
    settled(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Votes (CSV)").click()
    table = download.value.path().read_text()
    assert len(table.splitlines()) > 1 and me not in table
    assert fits(page)

    # The queue is empty again and says who would work.
    page.goto(f"{address}/queue_page")
    expect(page.get_by_text("The queue is empty")).to_be_visible()
    expect(page.get_by_text("Executors (1)")).to_be_visible()
    assert fits(page)
    assert asked_elsewhere == [], "nothing is loaded from another machine"
    context.close()
    db.dispose()


def test_who_is_faster_than_the_page_sends_the_settings_it_shows(
    studio: tuple[str, str], browser: playwright_api.Browser
) -> None:
    page = phone_or_desktop(browser, 1280)
    connections: list[playwright_api.WebSocketRoute] = []
    late: list[str | bytes] = []
    slow = False

    def connect_slowly(connection: playwright_api.WebSocketRoute) -> None:
        def to_page(message: str | bytes) -> None:
            nonlocal slow
            (late.append if slow else connection.send)(message)
            slow = slow or (not late and isinstance(message, bytes) and b"a rocket" in message)

        connections.append(connection)
        connection.connect_to_server().on_message(to_page)

    # An example is pressed before the settings under it have come; they come with those of the next run.
    page.route_web_socket("**/_stcore/stream", connect_slowly)
    page.goto(studio[0])
    page.get_by_role("button", name="a rocket").click()
    known = -1
    while len(late) > known:  # until the next run is over as well
        known = len(late)
        page.wait_for_timeout(2000)
    assert late
    slow = False
    for message in late:
        connections[0].send(message)
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value("a rocket")
    open_settings(page)
    expect(page.get_by_role("spinbutton", name="Steps", exact=True)).to_have_value("24")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator("[class*='st-key-job_']").get_by_text("done in")).to_have_count(1)
    page.context.close()
