"""From a picture seen to a picture on one's phone: the viewer, favourites, several at once, by taps on the pictures."""

from __future__ import annotations

import zipfile

import pytest

from db import boards
from tests.browser.conftest import phone_or_desktop, playwright_api, settled
from tests.pages.visits import Studio

pytestmark = pytest.mark.browser
expect = playwright_api.expect
# A phone that begins to fetch a file 5 s after it was told where that is.
SLOW_DOWNLOADS = """
const click = HTMLAnchorElement.prototype.click
HTMLAnchorElement.prototype.click = function () { setTimeout(() => click.call(this), 5000) }
"""


@pytest.mark.parametrize("width", [390, 1280])
def test_a_picture_is_opened_moved_on_from_and_saved(
    hosted: tuple[str, Studio], browser: playwright_api.Browser, width: int
) -> None:
    address, studio = hosted
    for prompt in ("a red heart", "a penguin", "a rocket"):
        studio.draw(prompt)
    page = phone_or_desktop(browser, width)
    page.goto(f"{address}/previous_inferences")
    page.locator(".st-key-gallery img").first.click(force=True)  # where a finger lands
    viewer = page.get_by_role("dialog")
    expect(viewer.get_by_text("a rocket", exact=True)).to_be_visible()
    expect(viewer.get_by_text("1 / 3")).to_be_visible()
    assert (shown := viewer.get_by_role("img", name="a rocket").bounding_box()) and shown["width"] > 250

    page.keyboard.press("ArrowRight")
    expect(viewer.get_by_text("a penguin", exact=True)).to_be_visible()
    viewer.get_by_role("button", name="Next").click()
    expect(viewer.get_by_text("a red heart", exact=True)).to_be_visible()
    viewer.get_by_role("button", name="Favourite").click()
    expect(viewer.get_by_role("button", name="Take from the favourites")).to_be_visible()
    assert sum(boards.of_submitter(studio.db, name)[""] for name in _keepers(studio)) == 1

    with page.expect_download() as saved:
        viewer.get_by_role("link", name="Download").click()
    assert saved.value.suggested_filename.startswith("a-red-heart_vqgan-clip_seed")
    viewer.get_by_role("button", name="Upscale").click()
    expect(page.get_by_text("In the queue.").first).to_be_visible()
    expect(viewer.locator(".t2i-facts")).to_have_css("display", "grid")  # a notice takes nothing from the page's styles
    page.keyboard.press("Escape")
    expect(viewer).to_have_count(0)
    expect(page.locator(".st-key-gallery img")).to_have_count(3)


def test_several_pictures_are_chosen_and_taken_home_together(
    hosted: tuple[str, Studio], browser: playwright_api.Browser
) -> None:
    address, studio = hosted
    for prompt in ("a red heart", "a penguin", "a rocket"):
        studio.draw(prompt)
    page = phone_or_desktop(browser, 1280)
    page.goto(f"{address}/previous_inferences")
    page.get_by_role("button", name="Choose several").click()
    expect(page.get_by_text("0 chosen")).to_be_visible()
    for n in (0, 2):
        page.locator(".st-key-gallery img").nth(n).click(force=True)
        expect(page.get_by_text(f"{n // 2 + 1} chosen")).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download").click()
    names = zipfile.ZipFile(saved.value.path()).namelist()
    assert [name.split("_")[1] for name in names] == ["a-rocket", "a-red-heart"]


def test_a_slow_phone_gets_its_file_while_others_use_the_studio(
    hosted: tuple[str, Studio], browser: playwright_api.Browser
) -> None:
    address, studio = hosted
    drawn = studio.draw("a red heart")
    phone = phone_or_desktop(browser, 390)
    phone.add_init_script(SLOW_DOWNLOADS)
    phone.goto(f"{address}/previous_inferences?job={drawn.id}")
    button = phone.get_by_role("button", name="PNG", exact=True)
    expect(button).to_be_visible()
    settled(phone)
    other = phone_or_desktop(browser, 1280)
    other.goto(address)
    with phone.expect_download() as saved:
        button.click()
        for _ in range(3):
            other.get_by_role("button", name="a red heart").first.click()
            settled(other)
    assert saved.value.path().read_bytes().startswith(b"\x89PNG")


def _keepers(studio: Studio) -> list[str]:
    with studio.db.begin() as conn:
        return [row[0] for row in conn.exec_driver_sql("SELECT DISTINCT submitter FROM boards")]
