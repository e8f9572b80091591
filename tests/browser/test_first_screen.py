"""What is to be seen on the first page before anything is moved: pictures, and what one does with them. It stays where
it is when pictures come."""

from __future__ import annotations

import pytest

from tests.browser.conftest import fits, phone_or_desktop, playwright_api, settled
from tests.pages.visits import Studio

expect = playwright_api.expect
pytestmark = pytest.mark.browser
HEIGHT = 844  # px, of the screen
PLACES = """(what) => [...document.querySelectorAll(what)].map((one) => {
    const { x, y, width, height } = one.getBoundingClientRect();
    return [x, y + document.querySelector(".stMain").scrollTop, width, height].map(Math.round);
})"""
# Streamlit loads each kind of element at its first use. What is asked for after the form was there came late.
CODE_THAT_CAME_LATE = """
    new MutationObserver((_, watch) => {
        if (!document.querySelector(".st-key-set_prompt")) return;
        window.formAt = performance.now();
        watch.disconnect();
    }).observe(document, { childList: true, subtree: true });
    window.late = () => performance.getEntriesByType("resource")
        .filter((one) => one.name.endsWith(".js") && one.startTime > window.formAt)
        .map((one) => one.name);
"""
FORM = ".st-key-set_prompt, .st-key-examples, .st-key-go_style, .st-key-settings"
CARDS = "[class*='st-key-job_']"


def test_the_first_screen_has_pictures_the_prompt_and_the_way_to_begin(
    hosted: tuple[str, Studio], browser: playwright_api.Browser
) -> None:
    address, studio = hosted
    for prompt in ("a red heart", "a penguin", "a rocket", "a house"):
        studio.draw(prompt)
    page = phone_or_desktop(browser, 390)
    page.goto(address)
    page.locator(".st-key-landing img").first.wait_for()
    settled(page)
    prompt, picture = page.get_by_role("textbox", name="Prompt"), page.locator(".st-key-landing img").first
    assert 0 < _top(prompt) < _bottom(prompt) < _top(picture) < _bottom(picture) < HEIGHT / 2 + 100
    assert _bottom(page.get_by_role("button", name="Generate")) < HEIGHT and fits(page)

    page.goto(f"{address}/previous_inferences")
    page.locator(".st-key-gallery img").first.wait_for()
    settled(page)
    assert _top(page.locator(".st-key-gallery img").first) < HEIGHT / 3 and fits(page)
    ways = page.locator(".st-key-thumb_bar :is(a, button) p")
    assert len({round(_top(ways.nth(n))) for n in range(ways.count())}) == 1, "the words of the ways are in one line"


def test_the_browser_has_the_code_of_all_that_is_on_the_first_page_before_it_draws_it(
    hosted: tuple[str, Studio], browser: playwright_api.Browser
) -> None:
    address, studio = hosted
    page = phone_or_desktop(browser, 1280)
    page.goto(address)
    page.get_by_role("textbox", name="Prompt").fill("a rocket")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator(CARDS)).to_have_count(1)
    studio.finish(studio.run())  # its card has all that can be done with it
    expect(page.locator(CARDS).get_by_text("done in")).to_have_count(1)
    page.add_init_script(CODE_THAT_CAME_LATE)
    page.reload()
    expect(page.locator(CARDS).get_by_role("button", name="Vary")).to_have_count(1)
    settled(page)
    assert page.evaluate("late()") == []


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_moves_when_pictures_are_asked_for_begin_and_end(
    hosted: tuple[str, Studio], browser: playwright_api.Browser, width: int
) -> None:
    address, studio = hosted
    page = phone_or_desktop(browser, width)
    page.goto(address)
    page.get_by_role("textbox", name="Prompt").fill("a rocket")
    page.get_by_role("button", name="Generate").click()
    expect(page.locator(CARDS)).to_have_count(1)
    studio.finish(studio.run())
    expect(page.locator(CARDS).get_by_text("done in")).to_have_count(1)
    page.reload()
    expect(page.locator(CARDS)).to_have_count(1)
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value("a rocket")  # the form is there again
    settled(page)
    page.get_by_role("textbox", name="Prompt").fill("a penguin")
    page.get_by_role("textbox", name="Prompt").press("Tab")
    settled(page)
    page.get_by_role("spinbutton", name="Pictures").fill("2")
    page.get_by_role("spinbutton", name="Pictures").press("Enter")
    settled(page)
    form = page.evaluate(PLACES, FORM)

    page.get_by_role("button", name="Generate").click()
    expect(page.locator(CARDS)).to_have_count(3)
    settled(page)
    assert page.evaluate(PLACES, FORM) == form, "asked for"
    cards = page.evaluate(PLACES, CARDS)
    for n in (1, 2):
        job = studio.run()
        expect(page.locator(CARDS).locator("img")).to_have_count(n + 1)
        assert page.evaluate(PLACES, CARDS) == cards, f"{n} began"
        studio.finish(job)
        expect(page.locator(CARDS).get_by_text("done in")).to_have_count(n + 1)
        settled(page)
        assert page.evaluate(PLACES, CARDS) == cards, f"{n} ended"
    assert page.evaluate(PLACES, FORM) == form, "all is done"


def _top(what: playwright_api.Locator) -> float:
    box = what.bounding_box()
    assert box is not None
    return float(box["y"])


def _bottom(what: playwright_api.Locator) -> float:
    box = what.bounding_box()
    assert box is not None
    return float(box["y"] + box["height"])
