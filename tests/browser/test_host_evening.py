"""The host's evening in a real browser: sign in, pause, hide, export; and the exported gallery opened from its file."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import queue, rules
from db.jobs import Job
from tests.browser.test_walk import PATIENCE_MS, ROOT, _no_sideways_scrolling, _wait_for, browser, playwright_api
from tests.pages.visits import SOMEBODY, Studio

__all__ = ["browser"]  # a fixture

expect = playwright_api.expect
pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery"
HOSTILE = "<img src=x onerror=alert(1)> a **red** [heart](x.html)"


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Studio, list[Job]]]:
    """Address of a web app with a host, its studio, and the pictures in it; the last one's prompt is hostile."""
    folder = tmp_path_factory.mktemp("hosted")
    studio = Studio(folder)
    studio.start_executor()
    drawn = [studio.draw("a blue car", SOMEBODY), studio.draw("the wrong picture", SOMEBODY), studio.draw(HOSTILE)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "T2I_DATABASE_URL": f"sqlite:///{folder}/jobs.db",
        "T2I_STORE_URL": f"file://{folder}/artefacts",
        "T2I_EXPORTS_DIR": str(folder / "exports"),
        "T2I_HOST_PASSWORD": PASSWORD,
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "streamlit", "run", "webapp.py", f"--server.port={port}"]
    with (folder / "log.txt").open("wb") as log:
        app = subprocess.Popen([*command, "--server.address=127.0.0.1"], cwd=ROOT, env=environment, stderr=log)
        try:
            _wait_for(f"http://127.0.0.1:{port}/_stcore/health", [app])
            yield f"http://127.0.0.1:{port}", studio, drawn
        finally:
            app.send_signal(signal.SIGTERM)
            try:
                app.wait(15)
            except subprocess.TimeoutExpired:
                app.kill()
                app.wait()
            studio.db.dispose()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_host_pauses_hides_and_exports(
    hosted: tuple[str, Studio, list[Job]], browser: playwright_api.Browser, width: int, tmp_path: Path
) -> None:
    address, studio, (car, wrong, hostile) = hosted
    for job in (car, wrong, hostile):
        queue.set_hidden(studio.db, job.id, hidden=False)
    rules.change(studio.db, paused=False)
    expect.set_options(timeout=PATIENCE_MS)
    context = browser.new_context(viewport={"width": width, "height": 844})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
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
    assert rules.get(studio.db).paused and _no_sideways_scrolling(page)

    page.get_by_role("radio", name="Pictures").click()
    page.locator(f".st-key-host_picture_{wrong.id}").get_by_role("button", name="Hide").click()
    expect(page.locator(f".st-key-host_picture_{wrong.id}").get_by_text("Hidden")).to_be_visible()
    assert _no_sideways_scrolling(page)
    page.get_by_role("radio", name="Rules").click()
    expect(page.get_by_text("Refused words")).to_be_visible()
    assert _no_sideways_scrolling(page)

    page.get_by_role("radio", name="Data").click()
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").first.click()
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(tmp_path)
    assert _no_sideways_scrolling(page)

    # A visitor is told, and finds all but the hidden picture.
    page.goto(f"{address}/queue_page")
    expect(page.get_by_text("The host has paused the queue")).to_be_visible()
    page.goto(f"{address}/previous_inferences?job={wrong.id}")
    expect(page.get_by_text("No such job")).to_be_visible()

    # The gallery needs no server; what a visitor typed is text in it.
    said: list[str] = []
    gallery = context.new_page()
    gallery.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    gallery.on("console", lambda message: said.append(message.text))
    gallery.goto((tmp_path / "index.html").as_uri())
    expect(gallery.locator("figure")).to_have_count(2)
    expect(gallery.get_by_text(HOSTILE).first).to_be_visible()
    expect(gallery.get_by_text("the wrong picture")).to_have_count(0)
    loaded = "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
    gallery.wait_for_function(loaded)
    assert said == [] and _no_sideways_scrolling(gallery)
    context.close()
