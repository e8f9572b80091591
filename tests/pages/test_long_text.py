"""Who pastes 100 kB into a field reads one sentence, on every page."""

from __future__ import annotations

import pytest

from pages.shared.navigation import COMPARE, GENERATION, INFERENCES, REFINE
from tests.pages.conftest import OpenPage
from tests.pages.test_host import hosted, sign_in
from tests.pages.visits import Studio

__all__ = ["hosted"]  # the fixture
LONG = 'it\'s "x" ' * 12_000
PAGES = {GENERATION: ("Generate",), COMPARE: ("Compare", "Draw"), INFERENCES: (), REFINE: ("Begin", "Start")}
HOSTS = {
    "Rules": ("Save words",),
    "Keys": ("Make a key",),
    "Data": ("Export", "Delete the event's data"),
    "Pictures": (),
}


def type_everywhere_and_press(app, buttons: tuple[str, ...]) -> None:
    # Each field alone: in a form the first one that is refused would hide the others.
    fields = [(kind, n) for kind in ("text_input", "text_area") for n in range(len(app.get(kind)))]
    for kind, n in fields:
        field = getattr(app, kind)[n]
        before = field.value
        field.set_value(LONG).run()
        for button in (b for b in app.button if b.label in buttons):
            button.click().run()
            break
        assert not app.exception, field.label
        for said in (*app.error, *app.warning):
            assert len(said.value) < 6_000, (field.label, said.value[:300])
        getattr(app, kind)[n].set_value(before or "").run()


@pytest.mark.parametrize("page", PAGES)
def test_visitors_pages(studio: Studio, open_page: OpenPage, page: str) -> None:
    studio.draw("a red heart")
    type_everywhere_and_press(open_page(page), PAGES[page])


@pytest.mark.parametrize("section", HOSTS)
def test_the_hosts_page(hosted: Studio, open_page: OpenPage, section: str) -> None:
    hosted.draw("a red heart")
    type_everywhere_and_press(sign_in(open_page, section), HOSTS[section])
