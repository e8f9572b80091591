"""Who looks at something else meanwhile is told when a picture is done."""

from __future__ import annotations

import pytest

from tests.browser.conftest import phone_or_desktop, playwright_api
from tests.pages.visits import Studio

pytestmark = pytest.mark.browser
expect = playwright_api.expect
# A browser without a screen shows no notifications, and its tab is always looked at.
ELSEWHERE = """
    Object.defineProperty(document, "hidden", { get: () => true });
    window.said = [];
    window.Notification = class {
        static permission = "default";
        static requestPermission() { Notification.permission = "granted"; }
    };
    ServiceWorkerRegistration.prototype.showNotification = (title, told) => window.said.push(`${title}: ${told.body}`);
"""


def test_a_word_comes_when_a_picture_is_done_where_that_is_wished(
    hosted: tuple[str, Studio], browser: playwright_api.Browser
) -> None:
    address, studio = hosted
    page = phone_or_desktop(browser, 1280)
    page.add_init_script(ELSEWHERE)
    page.goto(address)
    page.get_by_role("textbox", name="Prompt").fill("a </script> heart")
    page.get_by_role("button", name="Generate").click()
    page.get_by_role("button", name="Tell me when pictures are done").click()
    page.wait_for_function("() => Notification.permission === 'granted'")
    job = studio.run()
    page.wait_for_function("() => document.title.includes('%')")
    studio.finish(job)
    page.wait_for_function("() => window.said.length > 0")
    assert page.evaluate("window.said") == ["A picture is done: a </script> heart"]
    expect(page.get_by_role("button", name="Tell me no more when pictures are done")).to_be_visible()
