"""What a page shows is what is queued: after a restart of the web server, after a lost connection, with pictures given.

The real web app is ended and started again under open pages; the job in the database is what the page showed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from db import queue
from db.jobs import Job
from tests.browser.conftest import (
    compare_with_latent_diffusion,
    fits,
    open_settings,
    phone_or_desktop,
    playwright_api,
    settled,
)
from tests.browser.running import web_app
from tests.pages.visits import Studio, picture_bytes

expect = playwright_api.expect
pytestmark = pytest.mark.browser

FORGETS_S = 1  # how long the server keeps a session nobody is connected to
CONNECTED = "[data-testid='stApp'][data-test-connection-state='CONNECTED']"
Page = playwright_api.Page


class Server:
    """A web app that can go away and come back under the same address."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.studio = folder, Studio(folder)
        self._running = ExitStack()
        self._port: int | None = None
        self.address = self.start()

    def start(self) -> str:
        ttl = {"STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL": str(FORGETS_S)}
        address = self._running.enter_context(web_app(self.folder, port=self._port, **ttl))
        self._port = urlsplit(address).port
        return address

    def stop(self) -> None:
        self._running.close()

    def drafts(self) -> set[Path]:
        return {*(self.folder / "artefacts" / "drafts").rglob("*.png")}

    def jobs(self, prompt: str) -> list[Job]:
        return [job for job in queue.list_jobs(self.studio.db, limit=100) if job.prompt == prompt]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("kept"))
    yield made
    made.stop()
    made.studio.db.dispose()


def opened(server: Server, browser: playwright_api.Browser, path: str = "", width: int = 1280) -> Page:
    page = phone_or_desktop(browser, width)
    page.goto(f"{server.address}/{path}")
    expect(page.get_by_role("textbox", name="Prompt")).to_be_visible()
    settled(page)
    return page


def number(page: Page, name: str) -> playwright_api.Locator:
    return page.get_by_role("spinbutton", name=name, exact=True)


def enter(page: Page, name: str, value: str) -> None:
    number(page, name).fill(value)
    number(page, name).press("Enter")
    settled(page)


def choose(page: Page, name: str, wanted: str) -> None:
    settled(page)
    field = page.get_by_role("combobox", name=name)
    field.scroll_into_view_if_needed()
    page.wait_for_timeout(500)  # an open list closes when the page moves
    field.click()
    page.get_by_role("option", name=wanted, exact=True).click()
    settled(page)


def give(page: Page, name: str) -> None:
    """A picture for the first place that takes one."""
    file = {"name": name, "mimeType": "image/png", "buffer": picture_bytes("PNG")}
    page.locator("input[type=file]").first.set_input_files([file])
    expect(page.locator(".st-key-given").get_by_text(name)).to_be_visible()
    settled(page)


def queued(page: Page, server: Server, prompt: str, count: int = 1) -> list[Job]:
    for _ in range(300):
        if len(jobs := server.jobs(prompt)) >= count:
            return jobs
        page.wait_for_timeout(100)
    raise AssertionError(f"{prompt!r} was not queued: {page.get_by_role('alert').all_inner_texts()}")


def test_after_a_restart_what_the_pages_show_is_what_is_queued(server: Server, browser: playwright_api.Browser) -> None:
    drawn = opened(server, browser)
    drawn.get_by_role("textbox", name="Prompt").fill("a blue whale")
    open_settings(drawn)
    choose(drawn, "Engine", "CLIP-guided diffusion")
    give(drawn, "whale.png")
    choose(drawn, "Engine", "VQGAN + CLIP")
    drawn.get_by_role("radio", name="Twemoji").click()
    enter(drawn, "Steps", "31")
    enter(drawn, "Pictures", "2")
    drawn.get_by_text("Augment", exact=True).click()
    settled(drawn)
    lost = opened(server, browser, width=390)
    lost.get_by_role("textbox", name="Prompt").fill("a green whale")
    others = server.drafts()
    give(lost, "IMG_0815.png")
    compared = opened(server, browser, "compare")
    compare_with_latent_diffusion(compared)
    compared.get_by_role("textbox", name="Values of seed").fill("3, 4")
    compared.get_by_role("textbox", name="Values of seed").press("Control+Enter")
    settled(compared)

    # Typed at the very moment, and not yet sent.
    drawn.get_by_role("textbox", name="Prompt").press("End")
    drawn.keyboard.type(" jumps")
    compared.get_by_role("textbox", name="Prompt").type("two whales")
    server.stop()
    for draft in server.drafts() - others:
        draft.unlink()
    server.start()
    for page in (drawn, lost, compared):
        page.locator(CONNECTED).wait_for()
        settled(page)

    expect(drawn.get_by_role("textbox", name="Prompt")).to_have_value("a blue whale jumps")
    drawn.get_by_role("button", name="Generate").click()
    for job in queued(drawn, server, "a blue whale jumps", 2):
        found = (job.engine, job.params["steps"], job.params["style"], job.params["augment"], job.params["init"])
        assert found == ("vqgan-clip", 31, "twemoji", False, "image")
        assert server.studio.store.get(job.params["init_image"]).startswith(b"\x89PNG")
    expect(lost.locator(".st-key-given")).to_contain_text("IMG_0815.png")
    expect(lost.locator(".st-key-given").get_by_text("was lost: give it again.")).to_be_visible()
    lost.get_by_role("button", name="Generate").click()
    expect(lost.get_by_role("alert").get_by_text("was lost")).to_be_visible()
    assert not server.jobs("a green whale"), "nothing is drawn without the picture"
    lost.get_by_role("button", name="Remove").click()
    settled(lost)
    lost.get_by_role("button", name="Generate").click()
    assert queued(lost, server, "a green whale")[0].params["init_image"] is None

    compared.get_by_role("button", name="Compare", exact=True).click()
    made = {(job.engine, job.params["seed"]) for job in queued(compared, server, "two whales", 4)}
    assert made == {(engine, seed) for engine in ("vqgan-clip", "latent-diffusion") for seed in (3, 4)}
    for page in (drawn, lost, compared):
        page.context.close()


def test_a_phone_that_slept_has_its_form_and_the_first_tap_counts(
    server: Server, browser: playwright_api.Browser
) -> None:
    page = phone_or_desktop(browser, 390)
    asleep: list[bool] = []
    connections: list[playwright_api.WebSocketRoute] = []

    def connect_or_refuse(route: playwright_api.WebSocketRoute) -> None:
        if asleep:
            route.close()
        else:
            route.connect_to_server()
            connections.append(route)

    def sleep() -> None:
        asleep.append(True)
        for connection in connections:
            connection.close()
        connections.clear()
        page.wait_for_timeout(1000 * (FORGETS_S + 2))
        asleep.clear()
        page.locator(CONNECTED).wait_for()
        settled(page)

    page.route_web_socket(lambda url: url.endswith("/_stcore/stream"), connect_or_refuse)
    page.goto(server.address)
    page.get_by_role("textbox", name="Prompt").fill("a yellow whale")
    open_settings(page)
    enter(page, "Steps", "9")
    give(page, "from a phone.png")
    kept = page.locator(".st-key-given").get_by_text("from a phone.png")
    expect(kept).to_be_in_viewport()
    assert fits(page)
    sleep()
    # A button that calls something, the first that the new session hears of.
    page.get_by_role("button", name="a rocket").click()
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value("a rocket")
    sleep()
    expect(kept).to_be_visible()
    page.get_by_role("button", name="Generate").click()
    (job,) = queued(page, server, "a rocket")
    assert job.params["steps"] == 9 and job.params["init_image"].startswith("uploads/")
    page.context.close()


def test_a_page_that_is_loaded_again_has_the_prompt_the_settings_and_the_picture(
    server: Server, browser: playwright_api.Browser
) -> None:
    page = opened(server, browser)
    open_settings(page)
    choose(page, "Engine", "CLIP-guided diffusion")
    enter(page, "Steps", "33")
    give(page, "otter.png")
    page.get_by_role("textbox", name="Prompt").click()
    page.keyboard.type("an otter, as it is typed")
    page.reload()
    prompt = page.get_by_role("textbox", name="Prompt")
    expect(prompt).to_have_value("an otter, as it is typed")
    open_settings(page)
    expect(number(page, "Steps")).to_have_value("33")
    expect(page.locator(".st-key-given").get_by_text("otter.png")).to_be_visible()
    settled(page)
    page.get_by_role("button", name="Generate").click()
    (job,) = queued(page, server, "an otter, as it is typed")
    assert (job.engine, job.params["steps"], bool(job.params["init_image"])) == ("guided-diffusion", 33, True)
    other = page.context.new_page()
    other.goto(server.address)
    settled(other)
    expect(other.get_by_role("textbox", name="Prompt")).to_have_value("")
