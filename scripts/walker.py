"""Somebody at the studio's pages: taps in the middle of what is to be seen, writes, waits, and films the screen."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

DRAWN_MS = 600_000
DONE = "done in"


@dataclass
class Walker:
    """One person with one browser. page: what they look at now; folder: where the pictures of it go."""

    page: Any
    folder: Path
    address: str
    taps: int = 0
    shots: int = 0

    def go(self, path: str = "") -> None:
        """Open the studio at this path, as from a link."""
        self.page.goto(f"{self.address}/{path}")
        self.page.locator("h1, .t2i-wall.t2i-drawn").first.wait_for()
        self.rest()

    def tap(self, what: Any, *, scroll: bool = True) -> None:
        """Touch the middle of this, where nothing else may lie over it but the button that it belongs to."""
        what.wait_for()
        self.rest()
        self.page.get_by_test_id("stToast").first.wait_for(state="detached")  # one waits until a notice is gone
        if scroll:
            what.scroll_into_view_if_needed()
        box = what.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        reached = what.evaluate(
            """(one, [x, y]) => {
                const held = one.closest('[class*="st-key-look_"], [class*="st-key-tile_"]') ?? one;
                let there = document.elementFromPoint(x, y);
                while (there?.shadowRoot?.elementFromPoint(x, y) && there.shadowRoot !== one.getRootNode())
                    there = there.shadowRoot.elementFromPoint(x, y);
                if (there?.shadowRoot) there = there.shadowRoot.elementFromPoint(x, y);
                return !!there && (held.contains(there) || there.contains(one));
            }""",
            [x, y],
        )
        if not reached:
            raise LookupError(f"something lies over {what} at {x:.0f}, {y:.0f}")
        (self.page.touchscreen.tap if self.touches else self.page.mouse.click)(x, y)
        self.taps += 1

    @property
    def touches(self) -> bool:
        """Whether this is a phone."""
        return bool(self.page.viewport_size["width"] < 600)

    def write(self, field: Any, words: str) -> None:
        """Tap a field and write into it."""
        self.tap(field)
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(words)

    def press(self, words: str, *, within: Any = None) -> None:
        """Tap the button or link with these words, the first that is to be seen."""
        within = within or self.page
        said = re.compile(f"^{re.escape(words)}( Shortcut.*)?$")  # a desktop's buttons name their keys
        found = within.get_by_role("button", name=said).or_(within.get_by_role("link", name=said))
        self.tap(found.filter(visible=True).first)

    def menu(self, words: str, on_phone: str) -> None:
        """Go to another page by the menu at the top, or on a phone by the bar under the thumb."""
        if self.touches:
            self.press(on_phone, within=self.page.locator(".st-key-thumb_bar"))
        else:
            self.press(words, within=self.page.locator("[data-testid=stHeader]"))
        self.rest()

    def rest(self) -> None:
        """Wait until the page has come to rest; one that is drawn anew all the time has after a moment."""
        self.page.wait_for_timeout(400)
        with suppress(Exception):
            self.page.locator("[data-test-script-state='notRunning']").wait_for(timeout=2000)

    def shot(self, name: str, pause_ms: int = 900) -> None:
        """Film the screen as it is now."""
        self.page.wait_for_timeout(pause_ms)
        with suppress(Exception):
            self.page.get_by_test_id("stSkeleton").first.wait_for(state="detached", timeout=10_000)
        self.shots += 1
        self.page.screenshot(path=self.folder / f"{self.shots:02}-{name}.png")

    def drawn(self, count: int) -> Any:
        """Wait until so many cards say that they are done; returns the cards."""
        cards = self.page.locator("[class*='st-key-job_']")
        cards.get_by_text(DONE).nth(count - 1).wait_for(timeout=DRAWN_MS)
        return cards

    def saved(self, what: Any) -> Path:
        """Tap what downloads a picture; the file, which is one."""
        with self.page.expect_download() as download:
            self.tap(what)
        path = Path(download.value.path())
        with Image.open(path) as picture:
            picture.load()
        return path
