"""Who a visitor is, at a web app that runs: the server says so in a signed cookie, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import queue
from db.jobs import State
from scripts import flood
from scripts.browser_session import Session
from studio import visitor_ids
from tests.browser.playing import attributes, fetched, given
from tests.browser.running import web_app
from tests.pages.visits import ME, SOMEBODY, Studio


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Studio]]:
    folder = tmp_path_factory.mktemp("cookies")
    studio = Studio(folder)
    studio.start_executor()
    with web_app(folder, T2I_TRUSTED_PROXIES="127.0.0.1") as address:
        yield address, studio
    studio.db.dispose()


def who_draws(address: str, studio: Studio, cookie: str | None, query: str = "") -> str:
    """Whose picture it is that is asked for with this cookie and this address of the page."""

    async def draw() -> None:
        async with Session(address, cookie if cookie is not None else "none") as page:
            await page.open("", query)
            await page.act("set_prompt", "a red heart")
            await page.act("Generate")
            assert not page.errors

    asyncio.run(draw())
    return queue.list_jobs(studio.db, limit=1, states=list(State))[0].submitter


def test_a_browser_gets_its_id_with_the_page_and_keeps_it(opened: tuple[str, Studio]) -> None:
    address, studio = opened
    first = fetched(address)
    cookie = given(first)
    assert cookie is not None and visitor_ids.signed_for(studio.db, cookie.split(".")[0]).split(".")[0] in cookie
    assert {"httponly", "path", "max-age", "samesite"} == set(attributes(first))
    assert attributes(first)["samesite"] == "Lax" and attributes(first)["max-age"] == str(365 * 24 * 3600)
    assert first.headers["cache-control"] == "no-store"
    assert given(fetched(address, cookie)) is None, "a good one is left alone"
    assert given(fetched(address)) not in (None, cookie), "everybody gets their own"
    assert "secure" in attributes(fetched(address, x_forwarded_proto="https", x_forwarded_for="192.0.2.1"))
    for part in ("/_stcore/health", "/healthz", "/api/v1/engines"):
        assert given(fetched(address + part)) is None
    assert who_draws(address, studio, cookie) == cookie.split(".")[0]


def test_forged_and_foreign_cookies_are_replaced(opened: tuple[str, Studio]) -> None:
    address, studio = opened
    good = visitor_ids.signed_for(studio.db, ME)
    foreign = visitor_ids.signed(b"another studio's secret", ME)
    for forged in (ME, foreign, good.replace(ME, SOMEBODY), good + "x", "%00", "a" * 5000):
        renewed = given(fetched(address, forged))
        assert renewed is not None and not renewed.startswith((ME, SOMEBODY)), forged
    assert who_draws(address, studio, foreign) != ME


def test_no_address_makes_anybody_a_visitor(opened: tuple[str, Studio]) -> None:
    address, studio = opened
    mine = visitor_ids.signed_for(studio.db, ME)
    for query in (f"visitor={SOMEBODY}", f"visitor={visitor_ids.signed_for(studio.db, SOMEBODY)}"):
        assert who_draws(address, studio, mine, query) == ME
        assert who_draws(address, studio, None, query) not in (ME, SOMEBODY)
        assert not (given(fetched(f"{address}/?{query}")) or "").startswith(SOMEBODY)


def test_who_was_here_before_keeps_what_is_theirs(opened: tuple[str, Studio]) -> None:
    address, studio = opened
    before = "here-before-ids-were-signed"
    studio.enqueue("a cloud", before)
    renewed = given(fetched(address, before))
    assert renewed is not None and renewed.split(".")[0] == before
    assert who_draws(address, studio, before) == before, "in a page that has stayed open as well"


def test_a_flood_of_fresh_browsers_gets_no_further_than_its_address(tmp_path: Path) -> None:
    """scripts/flood.py in small: budgets, turns, invented addresses, ids in links, and ids after a ban."""
    assert [one for one in flood.run(tmp_path, ids=6, budget=20) if not one.holds] == []
