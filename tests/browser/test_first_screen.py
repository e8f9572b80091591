"""What is to be seen on a phone before anything is moved: pictures, and what one does with them."""

from __future__ import annotations

import pytest

from tests.browser.conftest import fits, phone_or_desktop, playwright_api, settled
from tests.pages.visits import Studio

pytestmark = pytest.mark.browser
HEIGHT = 844  # px, of the screen


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


def _top(what: playwright_api.Locator) -> float:
    box = what.bounding_box()
    assert box is not None
    return float(box["y"])


def _bottom(what: playwright_api.Locator) -> float:
    box = what.bounding_box()
    assert box is not None
    return float(box["y"] + box["height"])
