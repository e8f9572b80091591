"""How soon a picture is seen to form: from the press on Generate to the first preview, and to the finished card.

    python scripts/benchmark_first_preview.py [--rounds 5]

Web app, a warm executor and Chromium share this machine. Every round draws one picture, with the embedded VQGAN + CLIP
as the form has it. Beside what the browser saw stands what the executor took, from the row in the queue to its end: the
ratio of the two is what the pages add.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from db import queue
from db.jobs import ENDED
from scripts.make_screenshots import FLAGS, studio_running

PATIENCE_MS = 120_000
# Looks before each frame of the browser at the first card, which is that of the newest job.
WATCH = """(() => {
    const key = (card) => card?.className.match(/st-key-job_\\w+/)?.[0];
    const newest = () => document.querySelector('.st-key-live_cards [class*="st-key-job_"]');
    const before = key(newest());
    window.t2iTimes = {};
    addEventListener("pointerdown", () => { window.t2iTimes.pressed ??= performance.now(); }, { capture: true });
    const look = () => {
        const card = newest(), times = window.t2iTimes;
        if (card && key(card) !== before && times.pressed) {
            if (card.querySelector("img")?.naturalWidth) times.preview ??= performance.now();
            if (card.innerText.includes("done in")) times.done = performance.now();
        }
        if (!times.done) requestAnimationFrame(look);
    };
    look();
})()"""


def draw(page: Any) -> tuple[float, float]:
    """ms until the first preview and until the card says that it is done."""
    page.evaluate(WATCH)
    page.get_by_role("button", name="Generate").click()
    page.wait_for_function("() => window.t2iTimes.done", timeout=PATIENCE_MS)
    times = page.evaluate("window.t2iTimes")
    return times["preview"] - times["pressed"], times["done"] - times["pressed"]


def main() -> int:
    """Starts the studio, draws, prints a Markdown table."""
    parser = argparse.ArgumentParser(description="Time until a picture is seen to form in a browser.")
    parser.add_argument("--rounds", type=int, default=5, help="pictures that are counted (default 5)")
    parser.add_argument("--prompt", default="a red heart")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    previews, dones, executors = list[float](), list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder, studio_running(Path(folder)) as (address, studio):
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(address)
            page.get_by_role("textbox", name="Prompt").fill(options.prompt)
            page.get_by_role("textbox", name="Prompt").press("Control+Enter")
            page.wait_for_timeout(2000)
            for turn in range(options.rounds + 1):  # the first loads the models
                preview, done = draw(page)
                (job,) = queue.list_jobs(studio.db, states=ENDED, limit=1)
                if turn:
                    previews.append(preview / 1000)
                    dones.append(done / 1000)
                    executors.append((job.finished_at or 0) - job.created_at)
                page.wait_for_timeout(1000)
            browser.close()
        studio.db.dispose()
    print("| | median, s | least, s |\n|---|---|---|")
    rows = {"first preview seen": previews, "done seen": dones, "the executor, from asked to done": executors}
    for name, seconds in rows.items():
        print(f"| {name} | {statistics.median(seconds):.2f} | {min(seconds):.2f} |")
    shares = [done / alone for done, alone in zip(dones, executors, strict=True)]
    print(f"\nThe card says it is done after {statistics.median(shares):.2f} times what the executor took.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
