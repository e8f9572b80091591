"""Walks through the studio as people take them, filmed: a numbered picture of the screen after every step.

    .venv/bin/python scripts/film_walks.py FOLDER [--walks abcde] [--widths phone desktop] [--dark]

(a) first visit to picture on the disk in five taps; (b) prompt, six candidates, favourites, variations, upscale, share;
(c) photo in, mask, picture; (d) last week's picture found by describing it; (e) the host's evening with approval.

A web app, an executor and the embedded models run on a database of their own. Everything is done with a finger or a
mouse at the middle of what is to be seen; the script ends with status 1 where a step cannot be done, or where (a) takes
more than five taps. Needs Chromium and requirements-dev.txt.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from PIL import Image, ImageDraw, ImageFilter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from db import queue
from db.engine import reading, writing
from db.jobs import ENDED
from db.schema import embeddings, jobs
from scripts.make_screenshots import FLAGS, PASSWORD, PROJECTOR, PROMPTS, WIDTHS, studio_running
from scripts.walker import DONE, DRAWN_MS, Walker
from studio.context import Studio, Submitter
from studio.submit import Wish, submit

OTHERS = Submitter("somebody-else")
MOST_TAPS = 5  # from the first visit to the picture on the disk
PATIENCE_MS, WEEK_S = 180_000, 7 * 86400  # patience with a machine that is busy


def first_visit(me: Walker, studio: Studio) -> None:
    """(a) From the first look at the studio to the picture on the disk of the phone."""
    me.go()
    for what in (me.page.locator(".st-key-landing img").first, me.page.get_by_role("textbox", name="Prompt")):
        what.wait_for()
        if not _on_screen(me, what):
            raise LookupError(f"a first visitor does not see {what}")
    me.shot("first-visit")
    me.tap(me.page.locator(".st-key-landing img").nth(1), scroll=False)
    me.rest()
    me.shot("a-picture-tapped")
    me.press("Generate")
    me.page.locator("[class*='st-key-job_']").first.wait_for()
    me.shot("asked-for", 300)
    me.page.locator("[class*='st-key-job_'] img").first.wait_for(timeout=DRAWN_MS)
    me.shot("forms", 300)
    me.drawn(1)
    me.shot("done")
    me.tap(me.page.locator("[class*='st-key-look_'] img").first)
    viewer = me.page.get_by_role("dialog")
    viewer.get_by_role("link", name="Download").wait_for()
    me.shot("viewer", 1500)
    me.saved(viewer.get_by_role("link", name="Download"))
    me.shot("saved")
    if me.taps > MOST_TAPS:
        raise LookupError(f"{me.taps} taps to the picture on the disk, {MOST_TAPS} are allowed")


def candidates(me: Walker, studio: Studio) -> None:
    """(b) Prompt, six candidates, favourites, variations, upscale, share."""
    me.go()
    me.write(me.page.get_by_role("textbox", name="Prompt"), "a golden crown")
    me.write(me.page.get_by_role("spinbutton", name="Pictures"), "6")
    me.page.keyboard.press("Tab")
    me.rest()
    me.shot("six-are-wanted")
    me.press("Generate")
    me.page.locator("[class*='st-key-job_'] img").first.wait_for(timeout=DRAWN_MS)
    me.shot("six-form", 300)
    cards = me.drawn(6)
    me.rest()
    me.shot("six-are-there")
    for n in (0, 2):
        me.press("Favourite", within=cards.nth(n))
        cards.nth(n).get_by_role("button", name="Take from the favourites").wait_for()
    me.shot("two-favourites")
    me.press("Vary", within=cards.nth(2))
    tiles = me.page.locator(".st-key-sheet [class*='st-key-tile_']")
    tiles.nth(3).wait_for()
    me.shot("variations-form")
    me.page.get_by_text("4 of 4 done").wait_for(timeout=DRAWN_MS)
    me.rest()
    me.shot("variations")
    me.tap(tiles.nth(1).locator("img"))
    viewer = me.page.get_by_role("dialog")
    viewer.get_by_role("link", name="Download").wait_for()
    me.shot("a-variation", 1500)
    me.press("Before and after", within=viewer)
    me.shot("before-and-after")
    me.press("Upscale", within=viewer)
    me.shot("upscale-asked-for", 600)
    me.press("Close", within=viewer)
    me.menu("Text-to-Image Generation", "Draw")
    upscaled = me.drawn(1).first
    upscaled.get_by_text(DONE).wait_for(timeout=DRAWN_MS)
    me.rest()
    me.shot("upscaled")
    me.tap(upscaled.locator("[class*='st-key-look_'] img"))
    viewer.get_by_role("link", name="Download").wait_for()
    me.shot("upscaled-large", 1500)
    me.press("Share", within=viewer)
    viewer.get_by_text("The link is copied.").wait_for()
    me.shot("shared", 100)
    me.press("More", within=viewer)
    me.page.get_by_alt_text("QR code of this address").wait_for()
    me.shot("shared-by-qr")
    link = me.page.evaluate("navigator.clipboard.readText()")
    me.page.goto(link.replace("http://draw.example.org", me.address))
    me.rest()
    me.shot("what-a-friend-sees", 2500)
    me.go("previous_inferences")
    me.tap(me.page.get_by_role("radio", name="Favourites").or_(me.page.get_by_text("Favourites")).first)
    me.page.locator(".st-key-gallery img").nth(1).wait_for()
    me.rest()
    me.shot("favourites-in-the-gallery")


def photo_in(me: Walker, studio: Studio) -> None:
    """(c) A photo of one's own, a mask painted on it, and the picture."""
    me.go()
    me.write(me.page.get_by_role("textbox", name="Prompt"), "a red heart")
    me.tap(me.page.get_by_text("Start from a picture"))
    me.rest()
    me.shot("unfolded")
    with me.page.expect_file_chooser() as chosen:
        me.press("Upload", within=me.page.locator("[class*=st-key-upload_init_image]"))
    chosen.value.set_files({"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": _photo()})
    me.page.get_by_text("Starts from").first.wait_for()
    me.rest()
    me.shot("photo-given")
    me.press("Paint a mask")
    canvas = me.page.locator(".t2i-mask canvas")
    canvas.wait_for()
    me.shot("canvas")
    _stroke(me, canvas)
    me.page.locator(".t2i-mask [role=status]").get_by_text("is drawn anew").wait_for()
    me.shot("painted")
    me.press("Use this mask")
    me.page.get_by_text("goes with the picture").wait_for()
    me.rest()
    me.shot("mask-given")
    me.press("Generate")
    me.page.locator("[class*='st-key-job_'] img").first.wait_for(timeout=DRAWN_MS)
    me.shot("forms", 300)
    me.drawn(1)
    me.shot("done")
    me.tap(me.page.locator("[class*='st-key-look_'] img").first)
    me.page.get_by_role("dialog").get_by_role("link", name="Download").wait_for()
    me.shot("viewer", 1500)


def last_week(me: Walker, studio: Studio) -> None:
    """(d) Last week's picture, found by describing what it shows."""
    me.go()
    me.menu("Previous Inferences", "Gallery")
    me.page.locator(".st-key-gallery img").first.wait_for()
    me.shot("gallery")
    me.tap(me.page.get_by_role("radio", name="What they show"))
    me.rest()
    me.write(me.page.get_by_role("textbox", name="Search"), "food with cheese")
    me.shot("described", 200)
    me.page.keyboard.press("Enter")
    me.page.get_by_text("Show all again").wait_for()
    me.page.locator(".st-key-gallery img").first.wait_for(timeout=PATIENCE_MS)
    me.rest()
    me.shot("found")
    wanted = "a slice of pizza"
    place = [one.inner_text().strip() for one in me.page.locator(".st-key-gallery button").all()].index(wanted)
    if place > 3:
        raise LookupError(f"last week's picture is found at place {place + 1}")
    me.press("Filter and order")
    me.shot("filter-and-order")
    me.page.keyboard.press("Escape")
    found = me.page.get_by_role("button", name=wanted)
    tile = me.page.locator(".st-key-gallery [class*='st-key-tile_']").filter(has=found).first
    me.tap(tile.locator("img"))
    viewer = me.page.get_by_role("dialog")
    viewer.get_by_role("link", name="Download").wait_for()
    me.shot("last-weeks-picture", 1500)
    me.saved(viewer.get_by_role("link", name="Download"))


def evening(me: Walker, studio: Studio) -> None:
    """(e) The host lets pictures onto the wall one by one."""
    me.go("host")
    me.shot("sign-in")
    me.write(me.page.get_by_role("textbox", name="Password"), PASSWORD)
    me.press("Sign in")
    me.page.get_by_text("The queue is open").wait_for()
    me.shot("signed-in")
    me.tap(me.page.get_by_role("radio", name="Wall"))
    me.rest()
    me.shot("wall-section")
    if not me.page.locator(".st-key-wall_approve_all").count():  # the first of these evenings
        me.tap(me.page.get_by_text("Show on the wall only what I have approved"))
    all_shown = me.page.locator(".st-key-wall_approve_all button")
    all_shown.wait_for()
    me.shot("what-is-there-already")
    while not me.page.get_by_text("Nothing waits").is_visible():
        me.tap(all_shown)
        me.rest()
    me.shot("nothing-waits")
    with me.page.expect_popup() as opened:
        me.press("Open the wall")
    wall = opened.value
    wall.set_viewport_size(dict(zip(("width", "height"), PROJECTOR, strict=True)))
    wall.locator(".t2i-wall.t2i-drawn").wait_for()
    (declined,), _ = [submit(studio, OTHERS, Wish("vqgan-clip", {"prompt": prompt})) for prompt in ("a tree", "a fish")]
    projector = Walker(wall, me.folder, me.address)
    projector.shots = me.shots
    projector.shot("wall-while-one-forms", 3000)
    me.shots = projector.shots
    me.page.bring_to_front()
    waits = me.page.locator("[class*='st-key-wall_waits_']").filter(has_text="a fish")
    waits.wait_for(timeout=DRAWN_MS)
    me.shot("waiting")
    me.press("Approve", within=waits)
    waits.wait_for(state="detached")
    me.rest()
    other = me.page.locator("[class*='st-key-wall_waits_']").filter(has_text="a tree")
    me.press("Not on the wall", within=other)
    other.wait_for(state="detached")
    me.shot("decided")
    wall.bring_to_front()
    wall.get_by_text("a fish").first.wait_for(timeout=DRAWN_MS)
    projector.shots = me.shots
    projector.shot("on-the-wall", 4000)
    if not wall.locator("img[src*='/wall/files/']").count():
        raise LookupError("no picture is on the wall")
    if wall.locator(f"img[src*='{declined.id}']").count():
        raise LookupError("what was declined is on the wall")


WALKS: dict[str, Callable[[Walker, Studio], None]] = {
    "a": first_visit,
    "b": candidates,
    "c": photo_in,
    "d": last_week,
    "e": evening,
}


def _on_screen(me: Walker, what: Any) -> bool:
    box, size = what.bounding_box(), me.page.viewport_size
    return bool(box and box["y"] >= 0 and box["y"] + box["height"] <= size["height"])


def _photo() -> bytes:
    """A beach with a ball, as a phone would send it."""
    image = Image.new("RGB", (960, 720), "#8ec5ec")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 380, 960, 500), fill="#2f7fb5")
    draw.rectangle((0, 500, 960, 720), fill="#e6cf9c")
    draw.ellipse((700, 60, 820, 180), fill="#fff2b0")
    draw.ellipse((360, 400, 600, 640), fill="#d9482f")
    written = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(2)).save(written, "JPEG", quality=90)
    return written.getvalue()


def _stroke(me: Walker, canvas: Any) -> None:
    """Paint over the ball, with the finger or the mouse."""
    box = canvas.bounding_box()
    spots = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x in (0.42, 0.5, 0.58) for y in (0.6, 0.8)]
    for x, y in spots:
        (me.page.touchscreen.tap if me.touches else me.page.mouse.click)(x, y)
    me.taps += len(spots)


def _seed(studio: Studio) -> None:
    """What others drew a week ago, and an executor that has looked at it."""
    for prompt in dict.fromkeys(PROMPTS):
        submit(studio, OTHERS, Wish("vqgan-clip", {"prompt": prompt}))
    _wait(lambda: all(job.state in ENDED for job in queue.list_jobs(studio.db, limit=100)))
    with writing(studio.db) as conn:
        moved = {name: jobs.c[name] - WEEK_S for name in ("created_at", "started_at", "finished_at")}
        conn.execute(sa.update(jobs).values(moved))

    def looked_at() -> bool:
        with reading(studio.db) as conn:
            return int(conn.scalar(sa.select(sa.func.count()).select_from(embeddings)) or 0) >= len(set(PROMPTS))

    _wait(looked_at)


def _wait(condition: Callable[[], bool], timeout_s: float = 1200.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("The executor did not get ready.")
        time.sleep(0.3)


def film(browser: Any, letter: str, width_name: str, address: str, studio: Studio, folder: Path, dark: bool) -> bool:
    """Film one walk in a browser of its own; whether it could be walked."""
    from playwright.sync_api import Error

    (width, height), phone = WIDTHS[width_name], width_name == "phone"
    shots = folder / f"{letter}-{width_name}"
    shutil.rmtree(shots, ignore_errors=True)
    shots.mkdir(parents=True)
    context = browser.new_context(
        viewport={"width": width, "height": height},
        has_touch=phone,
        is_mobile=phone,
        color_scheme="dark" if dark else "light",
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.set_default_timeout(PATIENCE_MS)
    walker, began, said = Walker(context.new_page(), shots, address), time.monotonic(), "walked"
    try:
        WALKS[letter](walker, studio)
    except (Error, LookupError, ValueError) as error:
        said = f"FAILED: {str(error).strip()}"
        walker.shot("here-it-ended")
    print(f"{letter} {width_name}: {walker.taps} taps, {time.monotonic() - began:.0f} s, {said}", flush=True)
    context.close()
    return said == "walked"


def main() -> int:
    """Film the walks; exit status 1 where one cannot be walked."""
    parser = argparse.ArgumentParser(description="Film five walks through the studio as sequences of screenshots.")
    parser.add_argument("folder", type=Path, help="where the pictures go, in a folder a walk and width")
    parser.add_argument("--walks", default="".join(WALKS), help="letters of the walks (default all)")
    parser.add_argument("--widths", nargs="+", choices=WIDTHS, default=list(WIDTHS), help="default both")
    parser.add_argument("--dark", action="store_true", help="in the dark scheme")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    failed = 0
    with tempfile.TemporaryDirectory() as folder, studio_running(Path(folder)) as (address, studio):
        _seed(studio)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            for width_name in options.widths:
                for letter in options.walks:
                    failed += not film(browser, letter, width_name, address, studio, options.folder, options.dark)
            browser.close()
        studio.db.dispose()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
