"""Whatever stands in an address or is typed into a field, a page answers with itself or one sentence."""

from __future__ import annotations

import pytest

from pages.shared.navigation import COMPARE, GENERATION, INFERENCES, LEADERBOARD, MODELS, QUEUE, REFINE, SHEETS, VOTES
from tests.pages.conftest import OpenPage
from tests.pages.visits import Studio

HOSTILE = [
    "\x00",
    "066149b5d92ad0d03743116e7\x00",
    "066149b5d92ad0d03743116e7\ufffd",
    "٠٦٦١٤٩b5d92ad0d03743116e7c",
    "../../etc/passwd",
    "%_'\"; DROP TABLE jobs; --",
    "{0} %s \\ `id` $x$ <script> [a](javascript:b)",
    "\u202e\u2066\u200b",
    "a" * 20_000,
    "066149b5d92ad0d03743116e7c",
]
NAMES = {INFERENCES: "job", SHEETS: "sheet", REFINE: "refinement", GENERATION: "lang", QUEUE: "visitor"}


@pytest.mark.parametrize("page", NAMES)
def test_an_address_that_leads_nowhere_is_a_page(studio: Studio, open_page: OpenPage, page: str) -> None:
    app = open_page(page)
    for text in HOSTILE:
        app.query_params[NAMES[page]] = text
        app.run()
        assert not app.exception, text


@pytest.mark.parametrize("page", [GENERATION, INFERENCES, VOTES, QUEUE, SHEETS, COMPARE, LEADERBOARD, MODELS, REFINE])
def test_a_field_takes_whatever_is_typed(studio: Studio, open_page: OpenPage, page: str) -> None:
    app = open_page(page)
    for kind in ("text_input", "text_area"):
        for n in range(len(app.get(kind))):
            for text in HOSTILE[:1] + HOSTILE[6:8]:
                if n < len(app.get(kind)):
                    app.get(kind)[n].set_value(text).run()  # type: ignore[attr-defined]
                    assert not app.exception, (n, text)
