"""What browsers are told not to do: on pages, files and API alike, and every page works so in a real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from db import votes
from db.rules import keys
from scripts.full_studio import ask
from tests.browser.conftest import PASSWORD, phone_or_desktop, playwright_api, settled
from tests.browser.running import web_app
from tests.pages.visits import Studio

pytestmark = pytest.mark.browser
PAGES = ("", "refine", "compare", "sheets", "previous_inferences", "vote_images", "leaderboard", "queue_page")
MUSEUM = "https://museum.example.org"


@pytest.fixture(scope="module")
def voted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Studio, str]]:
    """A studio with votes, so that there are charts; the id of a picture."""
    folder = tmp_path_factory.mktemp("headers")
    studio = Studio(folder)
    first = studio.draw("a red heart")
    for n in range(3):
        other = studio.draw(f"a blue car {n}", seed=n)
        votes.cast(studio.db, voter=f"voter-{n}-0123456789", left_id=first.id, right_id=other.id, choice="left")
    ask(studio.db, "vqgan-clip", "somebody-somebody-1", {"prompt": "waits"})
    # As from another machine: callers of this one need no key for figures.
    with web_app(folder, T2I_HOST_PASSWORD=PASSWORD, T2I_API="keys", T2I_EMBED_ORIGINS=MUSEUM) as address:
        yield address, studio, first.id
    studio.db.dispose()


def test_every_answer_says_what_a_browser_may_not_do(voted: tuple[str, Studio, str]) -> None:
    address, studio, job = voted
    shown = {"authorization": f"Bearer {keys.make(studio.db, 'a program', 'read')[0]}"}
    with httpx.Client(base_url=address, headers=shown, follow_redirects=True) as client:
        script = client.get("/").text.split('src="./', 1)[1].split('"')[0]
        files = client.get(f"/api/v1/jobs/{job}").json()["files"]
        picture = next(one["url"] for one in files if one["kind"] == "picture")
        paths = ["/", "/host", f"/{script}", "/_stcore/health", "/media/nothing.png", "/api/docs", "/api/openapi.json"]
        paths += [f"/api/v1/jobs/{job}", picture, "/api/nothing", "/metrics", "/healthz", "/api/docs/static/nothing"]
        for path in paths:
            told = client.get(path).headers
            policy = told["content-security-policy"]
            assert f"frame-ancestors 'self' {MUSEUM}" in policy or "sandbox" in policy, path
            assert "default-src" in policy, path
            assert "unsafe-eval" not in policy and "*" not in policy, path
            assert told["x-content-type-options"] == "nosniff", path
            assert told["referrer-policy"] == "same-origin", path
            assert "camera=()" in told["permissions-policy"], path
        assert "script-src" not in client.get(picture).headers["content-security-policy"], "a file runs nothing"


def test_streamlits_own_figures_are_for_whom_the_studios_are(voted: tuple[str, Studio, str]) -> None:
    address, studio, _ = voted
    shown = {"authorization": f"Bearer {keys.make(studio.db, 'a program', 'read')[0]}"}
    with httpx.Client(base_url=address) as client:
        for path in ("/_stcore/metrics", "/_stcore/metrics/", "/_stcore/agent/openapi.json"):
            refused = client.get(path)
            assert refused.status_code == 401 and "key is needed" in refused.json()["detail"], path
        assert client.head("/_stcore/metrics").status_code == 401
        assert client.get("/_stcore/health").status_code == 200, "probes have no key"
        assert "active_sessions" in client.get("/_stcore/metrics", headers=shown).text


def test_every_page_and_the_documentation_keep_to_the_policy(
    voted: tuple[str, Studio, str], browser: playwright_api.Browser
) -> None:
    address, _, job = voted
    page = phone_or_desktop(browser, 1280)
    broken: list[str] = []
    page.on("console", lambda line: broken.append(line.text) if "Content Security Policy" in line.text else None)
    page.on("pageerror", lambda error: broken.append(str(error)))
    for path in (*PAGES, f"previous_inferences?job={job}", "models", "wall", "host"):
        page.goto(f"{address}/{path}")
        page.locator("[data-testid='stHeading'], [data-testid='stImage'], .t2i-wall").first.wait_for()
        settled(page)
        if path == "leaderboard":
            playwright_api.expect(page.locator("canvas, .vega-embed svg").first).to_be_visible()
    page.goto(f"{address}/api/docs")
    playwright_api.expect(page.locator(".opblock").first).to_be_visible()
    assert not broken
    page.context.close()


def test_another_page_may_not_show_the_studio_in_a_frame(
    voted: tuple[str, Studio, str], browser: playwright_api.Browser, tmp_path: Path
) -> None:
    page = phone_or_desktop(browser, 1280)
    refused: list[str] = []
    page.on("console", lambda line: refused.append(line.text))
    foreign = tmp_path / "foreign.html"
    foreign.write_text(f'<iframe src="{voted[0]}/"></iframe>')
    page.goto(f"file://{foreign}")
    page.wait_for_timeout(500)
    assert any("frame-ancestors" in line for line in refused)
    page.context.close()
