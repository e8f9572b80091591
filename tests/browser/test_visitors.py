"""What visitors do in an evening besides drawing, on a desktop and with one thumb; the test itself is the executor."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from db import queue
from db.jobs import State
from db.rules import host_rules
from tests.browser.conftest import compare_with_latent_diffusion, fits, phone_or_desktop, playwright_api, settled
from tests.pages.test_chain_pages import ranked
from tests.pages.visits import Studio

expect = playwright_api.expect
pytestmark = pytest.mark.browser

MARKED = re.compile(r"^Marked \d")
Hosted = tuple[str, Studio]


def draw_all(studio: Studio) -> None:
    while queue.counts(studio.db)[State.QUEUED]:
        studio.finish(studio.run())


def until(page: playwright_api.Page, condition: Callable[[], object]) -> None:
    for _ in range(600):
        if condition():
            return
        page.wait_for_timeout(100)
    raise AssertionError("it did not happen in a minute")


def test_a_thumb_refines_a_picture_and_another_device_goes_on(hosted: Hosted, browser: playwright_api.Browser) -> None:
    address, studio = hosted
    page = phone_or_desktop(browser, 390)
    page.goto(f"{address}/refine")
    page.get_by_role("textbox", name="Prompt").fill("a red heart")
    page.get_by_text("4", exact=True).click()
    settled(page)
    page.get_by_role("button", name="Draw candidates").click()
    expect(page.get_by_text("0 of 4 done")).to_be_visible()
    draw_all(studio)
    until(page, lambda: queue.list_jobs(studio.db, states=[State.QUEUED], engine="rank"))
    ranked(studio, queue.list_jobs(studio.db, states=[State.QUEUED], engine="rank")[0], [0.1, 0.4, 0.3, 0.2])
    expect(page.get_by_text("best first")).to_be_visible()
    picture = page.locator("[class*='st-key-tile_'] img").first
    picture.scroll_into_view_if_needed()
    at = picture.bounding_box()
    assert at is not None
    page.mouse.click(at["x"] + at["width"] / 2, at["y"] + at["height"] / 2)  # as a thumb does, on whatever is there
    expect(page.get_by_role("button", name=MARKED)).to_have_count(1)
    assert fits(page)
    page.get_by_role("button", name="Upscale").click()
    until(page, lambda: queue.list_jobs(studio.db, states=[State.QUEUED], engine="upscale"))
    studio.upscale(queue.list_jobs(studio.db, states=[State.QUEUED], engine="upscale")[0])
    expect(page.get_by_text("1 of 1 done")).to_be_visible()
    with page.expect_download() as download:
        page.locator(".st-key-next_2").get_by_role("button", name="Download").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    other = phone_or_desktop(browser, 1280)
    other.goto(page.url)
    expect(other.get_by_role("button", name=MARKED)).to_have_count(2)
    other.get_by_role("button", name=MARKED).first.click()
    expect(page.get_by_role("button", name=MARKED)).to_have_count(1)
    assert fits(other)


@pytest.mark.parametrize("width", [1280, 390])
def test_settings_are_compared_on_one_sheet(hosted: Hosted, browser: playwright_api.Browser, width: int) -> None:
    address, studio = hosted
    page = phone_or_desktop(browser, width)
    page.goto(f"{address}/compare")
    page.get_by_role("textbox", name="Prompt").fill("a red heart, a blue car")
    compare_with_latent_diffusion(page)
    page.get_by_role("textbox", name="Values of seed").fill("1, 2, 2")
    page.get_by_role("textbox", name="Values of seed").press("Control+Enter")
    settled(page)
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("The value 2 of seed is there twice.")).to_be_visible()
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value("a red heart, a blue car")
    page.get_by_role("textbox", name="Values of seed").fill("1, 2")
    page.get_by_role("textbox", name="Values of seed").press("Control+Enter")
    settled(page)
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("0 of 4 done")).to_be_visible()
    assert "sheet=" in page.url
    draw_all(studio)
    expect(page.get_by_text("4 of 4 done")).to_be_visible()
    assert {job.engine for job in queue.list_jobs(studio.db)} == {"vqgan-clip", "latent-diffusion"}
    grid = page.locator(".st-key-matrix")
    expect(grid.get_by_role("img")).to_have_count(4)
    assert fits(page)
    assert grid.evaluate("grid => grid.scrollHeight <= grid.clientHeight + 1"), "all rows are seen at once"
    row = grid.get_by_text("latent-diffusion", exact=True)
    grid.evaluate("grid => grid.scrollTo(1000, 0)")
    expect(row).to_be_in_viewport(ratio=1)  # the labels stay
    if width == 1280:
        assert grid.evaluate("grid => grid.getBoundingClientRect().bottom <= innerHeight"), "nothing has to be moved"


@pytest.mark.parametrize("width", [1280, 390])
def test_what_is_wrong_with_a_wish_is_said_at_the_prompt_and_in_sight(
    hosted: Hosted, browser: playwright_api.Browser, width: int
) -> None:
    page = phone_or_desktop(browser, width)
    page.goto(hosted[0])
    page.get_by_role("button", name="Generate").click()
    said = page.get_by_text("The prompt is empty.")
    expect(said).to_be_in_viewport()
    expect(page.get_by_role("textbox", name="Prompt")).to_be_in_viewport()
    assert fits(page)


@pytest.mark.parametrize("width", [1280, 390])
def test_a_visitor_with_a_name_meets_the_limit_and_loses_nothing(
    hosted: Hosted, browser: playwright_api.Browser, width: int
) -> None:
    address, studio = hosted
    host_rules.change(studio.db, max_queued=1)
    page = phone_or_desktop(browser, width)
    page.goto(address)
    page.get_by_role("button", name="Your name").click()
    page.get_by_role("textbox", name="Name shown with your pictures").fill("Ada Löve")
    page.get_by_role("textbox", name="Name shown with your pictures").press("Enter")
    settled(page)
    # While a page is still coming, what is above the button may grow and push it out of sight, with what it has opened.
    page.get_by_role("button", name="Your name").scroll_into_view_if_needed()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Ada Löve")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("textbox", name="Prompt").fill("a rocket")
    page.get_by_role("textbox", name="Prompt").press("Control+Enter")
    cards = page.locator("[class*='st-key-job_']")
    expect(cards).to_have_count(1)
    settled(page)
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_role("alert").get_by_text("the most one visitor may have")).to_be_visible()
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value("a rocket")
    expect(cards).to_have_count(1)
    somebody = phone_or_desktop(browser, width)
    somebody.goto(f"{address}/queue_page")
    expect(somebody.get_by_text("Ada Löve")).to_be_visible()
    assert fits(page) and fits(somebody)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_wall_comes_back_by_itself(hosted: Hosted, browser: playwright_api.Browser, width: int) -> None:
    address, studio = hosted
    studio.draw("a red heart")
    page = phone_or_desktop(browser, width)
    cut: list[bool] = []
    connections: list[playwright_api.WebSocketRoute] = []

    def connect_or_refuse(route: playwright_api.WebSocketRoute) -> None:
        if cut:
            route.close()
        else:
            route.connect_to_server()
            connections.append(route)

    page.route_web_socket(lambda url: url.endswith("/_stcore/stream"), connect_or_refuse)
    page.goto(f"{address}/wall")
    picture = page.get_by_role("img", name="a red heart").first
    expect(picture).to_be_visible()
    expect(page.get_by_test_id("stHeader")).to_be_hidden()
    expect(page.get_by_text("Only this machine can open the studio.")).to_be_visible()
    assert fits(page)
    with page.expect_navigation():
        cut.append(True)
        for connection in connections:
            connection.close()
    cut.clear()
    expect(picture).to_be_visible()
