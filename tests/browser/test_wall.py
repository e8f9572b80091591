"""The wall in a real browser: a film plays once and its picture stays, and nothing moves for who wants that."""

from __future__ import annotations

from pathlib import Path

import imageio.v2 as imageio
import numpy as np
import pytest

from db import artefacts
from db.jobs import Job
from tests.browser.conftest import PATIENCE_MS, fits, playwright_api
from tests.pages.visits import Studio

expect = playwright_api.expect
pytestmark = pytest.mark.browser

HOSTILE = '--> </title> <img src=x onerror="window.harmed = 1"> a red heart'


def add_film(studio: Studio, job: Job, folder: Path) -> None:
    """A film of half a second, as an executor makes one."""
    path = folder / "film.mp4"
    frames = [np.full((64, 64, 3), 5 * n, np.uint8) for n in range(12)]
    imageio.mimsave(path, frames, fps=25, codec="libx264", pixelformat="yuv420p", macro_block_size=2)
    film = {"kind": "mp4", "data": path.read_bytes(), "media_type": "video/mp4", "ext": "mp4"}
    artefacts.save(studio.db, studio.store, job_id=job.id, **film, width=64, height=64)


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_a_picture_forms_large_then_its_film_plays_once_and_it_stays(
    hosted: tuple[str, Studio], browser: playwright_api.Browser, tmp_path: Path, motion: str
) -> None:
    address, studio = hosted
    studio.enqueue(HOSTILE)
    job = studio.run(step=5)
    context = browser.new_context(viewport={"width": 1920, "height": 1080}, reduced_motion=motion)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    films: list[str] = []
    page.on("request", lambda request: films.append(request.url) if request.resource_type == "media" else None)
    page.goto(f"{address}/wall")
    stage = page.locator(".t2i-wall-stage")
    pictures = stage.locator("img")
    picture = pictures.last  # one fades into the next
    expect(pictures).to_have_count(1)
    box = picture.bounding_box()
    assert box is not None and box["height"] > 0.7 * 1080, "most of the screen"
    expect(stage.get_by_text(HOSTILE)).to_be_visible()
    expect(stage.get_by_text("step 5 of")).to_be_visible()
    forming = picture.get_attribute("src")

    add_film(studio, job, tmp_path)
    studio.finish(job)
    if motion == "reduce":
        expect(picture).not_to_have_attribute("src", str(forming))
        assert not films, "nothing moves"
    else:
        expect(stage.locator("video")).to_have_count(1)
        expect(stage.locator("video")).to_have_count(0)
        assert films
    expect(pictures).to_have_count(1)
    assert fits(page) and not page.evaluate("window.harmed")
