"""Every page for those who read it in the dark, listen to it or have no mouse; and what a visitor typed is text on it.

axe-core looks for what WCAG 2.2 A and AA forbid, at desktop and phone width, in light and in dark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from characters.seen import as_seen
from pages.shared import po_file
from pages.shared.language import LOCALE
from studio.visitor_ids import COOKIE, signed_for
from tests.browser.conftest import PASSWORD, fits, phone_or_desktop, playwright_api, settled
from tests.browser.evening import Evening, spend
from tests.browser.running import web_app
from tests.pages.visits import ME

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed.")
expect = playwright_api.expect
pytestmark = pytest.mark.browser

# What lists show is cut, so the worst comes first. Bidi marks and zero-width characters stand at the end, and are
# shown to nobody.
HOSTILE = (
    "**b** [l](//e.io) ![i](//e.io/i) :red[r] :x: $x$ <img src=x onerror=alert(1)> <script>alert(2)</script> "
    ":material/skull: `c` www.e.io \u202egnp.exe zero\u200bwidth"
)
SHORTEST = "**b** [l](//e.io) ![i](//e.io/i)"
NAME = "**b** [l](//e.io)"

# Where a page is looked at: (width in px, scheme). Pages share their style, so most are looked at in one way only.
DESKTOP, PHONE = (1280, "light"), (390, "dark")
BOTH_WAYS = ("generation", "Rules", "Data")
SPANISH = po_file.translations(LOCALE / "es.po")
# Streamlit's own, which no style sheet of ours can mend: selector and reason.
ALLOWED = {
    "[data-testid='stStatusWidget']": "Running and Stop fade in for a moment: their grey is faint by design",
}
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    "rules": {"heading-order": {"enabled": True}},
    "resultTypes": ["violations"],
}
WITHOUT_PROMPTS = ("compare", "models", "host, wrong password", "Visitors", "Rules", "Data", "Sessions")
WITHOUT_PICTURES = (*WITHOUT_PROMPTS, "Queue")
PAGES = (
    *(
        "generation",
        "refine",
        "refinement",
        "compare",
        "sheets",
        "sheet",
        "comparison",
        "gallery",
        "viewer",
        "detail",
        "vote",
    ),
    *("leaderboard", "queue", "models", "wall", "host, wrong password"),
    *("Queue", "Pictures", "Visitors", "Rules", "Data", "Sessions"),  # of the host
)
READ = """() => ({
    text: document.body.innerText.replaceAll("\\u2060", ""),
    alts: [document, ...[...document.querySelectorAll("*")].map(one => one.shadowRoot).filter(Boolean)]
        .flatMap(root => [...root.querySelectorAll("img")])
        .filter(image => image.checkVisibility()).map(image => image.alt),
    lang: document.documentElement.lang,
    title: document.title,
    made: [
        ...document.querySelectorAll("a[href*='e.io'], img[src*='e.io'], img[src='x'], [onerror], .katex"),
        ...[...document.querySelectorAll("strong, b, code, a, span")].filter(
            one => ["b", "l", "r", "c", "skull"].includes(one.textContent.trim())),
    ].map(one => one.outerHTML),
})"""


@dataclass(frozen=True)
class Seen:
    """What a page is to a browser. breaks: rules of WCAG that are broken, with the element and the circumstances."""

    text: str
    alts: list[str]
    lang: str
    title: str
    made: list[str]
    breaks: list[str]
    wide: list[str]
    said: list[str]


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Evening]]:
    """The address of an evening whose prompts and names are hostile."""
    folder = tmp_path_factory.mktemp("evening")
    spent = spend(folder, HOSTILE, NAME)
    with web_app(folder, T2I_HOST_PASSWORD=PASSWORD, T2I_PUBLIC_URL="http://studio.example.org") as address:
        yield address, spent
    spent.studio.db.dispose()


@pytest.fixture(scope="module")
def me(evening: tuple[str, Evening], browser: playwright_api.Browser) -> Iterator[playwright_api.Page]:
    """A page of the visitor who has asked for most of the pictures, in Spanish."""
    page = phone_or_desktop(browser, 1280, locale="es-ES")
    page.context.add_cookies([{"name": COOKIE, "value": signed_for(evening[1].studio.db, ME), "url": evening[0]}])
    yield page
    page.context.close()


@pytest.fixture(scope="module")
def seen(evening: tuple[str, Evening], me: playwright_api.Page) -> Callable[[str], Seen]:
    """What is found on a page; each is opened once for all tests."""
    address, spent = evening
    said: list[str] = []
    me.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))

    @cache
    def look(name: str) -> Seen:
        said.clear()
        _open(me, address, spent.paths, name)
        breaks, wide = [], []
        for width, scheme in _ways(name):
            me.set_viewport_size({"width": width, "height": 844})
            me.emulate_media(color_scheme=scheme)
            settled(me)
            wide += [] if fits(me) else [f"{width} px"]
            breaks += [f"{width} px, {scheme}: {broken}" for broken in _broken(me)]
        return Seen(**me.evaluate(READ), breaks=breaks, wide=wide, said=[*said])

    return look


def _open(page: playwright_api.Page, address: str, paths: dict[str, str], name: str) -> None:
    section = page.get_by_role("radio", name=SPANISH.gettext(name), exact=True)
    if name in paths:
        page.goto(f"{address}/{paths[name]}")
        (page.get_by_role("img", name="QR") if name == "wall" else page.locator("h1")).first.wait_for()
    elif name == "viewer":
        page.goto(f"{address}/{paths['gallery']}")
        page.locator(".st-key-gallery img").first.wait_for()
        settled(page)
        page.locator(".st-key-gallery img").first.click(force=True)  # where a finger lands
        page.get_by_role("dialog").get_by_role("link").last.wait_for()
    elif name == "host, wrong password":
        page.goto(f"{address}/host")
        _sign_in(page, "a guess, a guess")
        page.get_by_text("Esa no es la contraseña").wait_for()
    else:
        if not section.is_visible():
            page.goto(f"{address}/host")
            _sign_in(page, PASSWORD)
        section.click()
        settled(page)  # for a moment the old one stands beside the new one
        expect(section).to_have_attribute("aria-checked", "true")
    # What is being drawn anew fades for a moment, on a busy machine for longer.
    page.add_style_tag(content="[data-stale='true'] { opacity: 1 !important; transition: none !important; }")
    if name not in WITHOUT_PICTURES:
        page.locator("img").first.wait_for()
    settled(page)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    if name == "generation":
        for folded in page.get_by_test_id("stExpander").locator("summary").all():
            folded.click()


def _sign_in(page: playwright_api.Page, password: str) -> None:
    field = page.get_by_role("textbox", name="Contraseña")
    field.fill(password)
    field.press("Enter")


def _ways(name: str) -> list[tuple[int, str]]:
    if name in BOTH_WAYS:
        return [DESKTOP, PHONE]
    return [(DESKTOP, PHONE)[PAGES.index(name) % 2]]


def _broken(page: playwright_api.Page) -> list[str]:
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe.Axe().axe_script)
    without: Any = {"exclude": [[selector] for selector in ALLOWED]}
    run = "([context, options]) => axe.run(context, options).then(found => found.violations)"
    return [
        f"{broken['id']}: {node['html'][:300]} {node['failureSummary']}"
        for broken in page.evaluate(run, [without, RULES])
        for node in broken["nodes"]
    ]


@pytest.mark.parametrize("name", PAGES)
def test_everybody_can_read_and_work_the_page(seen: Callable[[str], Seen], name: str) -> None:
    found = seen(name)
    assert found.breaks == [] and found.wide == []
    assert found.lang == "es", "it is read aloud in the visitor's language"


@pytest.mark.parametrize("name", [name for name in PAGES if name not in WITHOUT_PICTURES])
def test_a_visitor_who_cannot_see_the_picture_hears_the_prompt(seen: Callable[[str], Seen], name: str) -> None:
    alts = seen(name).alts
    assert alts and all(alts) and any(as_seen(HOSTILE) in alt for alt in alts)


@pytest.mark.parametrize("name", PAGES)
def test_what_a_visitor_typed_is_plain_text(seen: Callable[[str], Seen], name: str) -> None:
    found = seen(name)
    assert found.made == [] and found.said == [], "no tag, link, picture, formula, colour or sign was made of it"
    assert "❌" not in found.text and "e.io" not in found.title
    assert SHORTEST in found.text or name in WITHOUT_PROMPTS


def test_the_vote_can_be_given_with_the_keyboard_alone(evening: tuple[str, Evening], me: playwright_api.Page) -> None:
    address, spent = evening
    _open(me, address, spent.paths, "vote")
    first = me.get_by_role("button", name="Izquierda")
    for _ in range(40):
        me.keyboard.press("Tab")
        if first.evaluate("one => one === document.activeElement"):
            break
    assert first.evaluate("one => getComputedStyle(one).outlineStyle") == "solid", "the focus is seen"
    me.keyboard.press("Enter")
    expect(me.get_by_text("1 voto hasta ahora")).to_be_visible()
    me.keyboard.press("ArrowRight")
    expect(me.get_by_text("2 votos hasta ahora")).to_be_visible()


def test_pictures_are_marked_and_the_slider_moved_with_the_keys(
    evening: tuple[str, Evening], me: playwright_api.Page
) -> None:
    address, spent = evening
    _open(me, address, spent.paths, "refinement")
    me.get_by_role("button", name="Marcar 1", exact=True).or_(
        me.get_by_role("button", name="Marcar 2", exact=True)
    ).first.focus()
    me.keyboard.press("Space")
    expect(me.get_by_role("button", name="Marcada")).to_have_count(2)
    slider = me.get_by_role("slider").first
    before = slider.get_attribute("aria-valuetext")
    slider.focus()
    me.keyboard.press("ArrowRight")
    expect(slider).not_to_have_attribute("aria-valuetext", before or "")
