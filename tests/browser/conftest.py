"""One browser for all tests here, and web apps that start once. Skipped where there is no Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.browser.running import web_app
from tests.pages.visits import Studio

playwright_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed.")

PASSWORD = "correct horse battery"
PATIENCE_MS, REST_MS = 60_000, 10_000
WALL_REFRESH_S = "0.4"
STILL = """most => new Promise(done => {
    const start = performance.now()
    let before, since = start
    const look = () => {
        const places = [...document.querySelectorAll("button")].map(button => button.getBoundingClientRect().top).join()
        if (places !== before) [before, since] = [places, performance.now()]
        performance.now() - since > 300 || performance.now() - start > most ? done() : requestAnimationFrame(look)
    }
    look()
})"""
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


# Not for the session: while Playwright runs, no other test of this process can start an event loop of its own.
@pytest.fixture(scope="module")
def browser() -> Iterator[playwright_api.Browser]:
    installed = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    playwright_api.expect.set_options(timeout=PATIENCE_MS)
    with playwright_api.sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=installed, args=CHROMIUM_FLAGS)
        except playwright_api.Error as error:
            pytest.skip(f"No Chromium could be started (apt-get install chromium): {str(error).splitlines()[0]}")
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def web_app_with_a_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Studio, Path]]:
    folder = tmp_path_factory.mktemp("hosted")
    studio, exports = Studio(folder), folder / "exports"
    settings = {"T2I_HOST_PASSWORD": PASSWORD, "T2I_EXPORTS_DIR": str(exports)}
    with web_app(folder, T2I_WALL_REFRESH_S=WALL_REFRESH_S, **settings) as address:
        yield address, studio, exports
    studio.db.dispose()


@pytest.fixture
def hosted(
    web_app_with_a_host: tuple[str, Studio, Path], browser: playwright_api.Browser
) -> Iterator[tuple[str, Studio]]:
    """Address of a web app with a host, and its studio, whose executor is the test itself: a picture takes no time.

    What a test has left is gone before the next, also where it has failed.
    """
    address, studio, exports = web_app_with_a_host
    studio.start_executor()
    yield address, studio
    for context in browser.contexts:
        context.close()
    studio.empty()
    shutil.rmtree(exports, ignore_errors=True)


def phone_or_desktop(browser: playwright_api.Browser, width: int, **options: object) -> playwright_api.Page:
    """A page in a browser of its own, without cookies; a narrow one is worked with the thumb.

    Without animations, which take half of the browser's time where there is no graphics card.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 844}, has_touch=width < 600, reduced_motion="reduce", **options
    )
    context.set_default_timeout(PATIENCE_MS)
    return context.new_page()


def open_settings(page: playwright_api.Page) -> None:
    """Unfolds the settings of the form."""
    page.get_by_text("Settings", exact=True).click()
    settled(page)


def fits(page: playwright_api.Page) -> bool:
    """Nothing has to be moved sideways to be read."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def settled(page: playwright_api.Page) -> None:
    """Nothing moves under the finger: on a busy machine a click on a page that is being drawn anew can go astray."""
    page.wait_for_timeout(200)
    # A page that refreshes by itself is on a busy machine never at rest; for that one this is long enough.
    with suppress(playwright_api.Error):
        page.locator("[data-testid='stApp'][data-test-script-state='notRunning']").wait_for(timeout=REST_MS)
        # Charts and pictures are drawn once their scripts are there, and push down what stands below them.
        page.evaluate(STILL, REST_MS)


def compare_with_latent_diffusion(page: playwright_api.Page) -> None:
    """On the page Compare: VQGAN + CLIP beside latent diffusion, chosen from the list of engines."""
    page.get_by_role("button", name="Remove CLIP-guided diffusion").click()
    settled(page)
    page.get_by_role("combobox", name="Values of engine").click()
    page.get_by_role("option", name="Latent diffusion").click()
    page.keyboard.press("Escape")
    settled(page)
