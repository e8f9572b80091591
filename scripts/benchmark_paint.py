"""How soon a page can be seen: from the click to its first content, in Chromium, on a studio full of pictures.

    python scripts/benchmark_paint.py [--pictures 50000] [--rounds 5]

The server is warm, and so is the browser's cache of Streamlit's own JavaScript. "content" is what the page is there
for: the prompt's field, the first picture of the gallery once it is loaded, the pair to vote on, ... Beside it stands
an app of one line on the same Streamlit, measured in turns with the pages: what no page can go below. "server" is how
long the page's script runs, from the request over the WebSocket to the message that it has ended. Prints a Markdown
table of medians, the least of all rounds in brackets: what other programs on the machine take is not in that.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from db.engine import connect
from db.queue import workers
from generator import registry
from scripts.browser_session import Session
from scripts.full_studio import Server, ask, fill
from studio import visitor_ids
from studio.visitor_ids import COOKIE

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync", "--no-first-run"]
VISITOR = "visitor-0004-of-the-evening"  # one who has pictures and sheets
PATIENCE_MS = 60_000
EMPTY = "import streamlit as st\n\nst.text('nothing else')\n"
# The path of each page and what shows that it is there.
PAGES = {
    "generation": ("", ".st-key-set_prompt textarea"),
    "gallery": ("previous_inferences", '[class*="st-key-tile_"] img'),
    "queue": ("queue_page", '[class*="st-key-row_"]'),
    "vote": ("vote_images", ".st-key-vote_left img"),
    "wall": ("wall", ".st-key-wall img"),
    "leaderboard": ("leaderboard", ".st-key-best_pictures img"),
    "refine": ("refine", ".st-key-set_prompt textarea"),
    "compare": ("compare", ".st-key-compare_prompt textarea"),
    "sheets": ("sheets", '[class*="st-key-row_"] img'),
    "models": ("models", '[class*="st-key-row_model"]'),
}
NOTHING_ELSE = '[data-testid="stText"]'
# Notes the time at which an element is drawn: it has a size, and a picture is loaded. Looked for before each frame.
WATCH = """(() => {
    const look = () => {
        const found = window.t2iWanted && document.querySelector(window.t2iWanted);
        const there = found && found.getBoundingClientRect().height > 0
            && (found.tagName !== "IMG" || found.naturalWidth);
        if (there) window.t2iSeen = performance.now();
        else requestAnimationFrame(look);
    };
    window.t2iWanted = sessionStorage.getItem("t2iWanted");
    look();
})()"""


def painted_ms(page: Any, address: str, wanted: str) -> float:
    """Milliseconds from the navigation until the element is there."""
    page.bring_to_front()  # a tab in the background draws a frame a second
    page.evaluate("(wanted) => sessionStorage.setItem('t2iWanted', wanted)", wanted)
    page.goto(address, wait_until="commit")
    page.wait_for_function("() => window.t2iSeen", timeout=PATIENCE_MS)
    return float(page.evaluate("window.t2iSeen"))


async def run_ms(server: Server, cookie: str, rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """How long each page's script runs, after a first time that is not counted; and the mean CPU time of the server."""
    took: dict[str, list[float]] = {name: [] for name in PAGES}
    used = dict.fromkeys(PAGES, 0.0)
    async with Session(server.address, cookie) as session:
        for turn in range(rounds + 1):
            for name, (path, _) in PAGES.items():
                before = server.cpu_s()
                seconds = await session.open(path)
                if turn:
                    took[name].append(1000 * seconds)
                    used[name] += 1000 * (server.cpu_s() - before) / rounds
            if not turn:
                await asyncio.to_thread(server.idle_mb)
    return took, used


def paint(server: Server, empty: Server, cookie: str, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every round by page, "nothing" for the empty app; the first round is not counted."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    took: dict[str, list[float]] = {name: [] for name in ("nothing", *PAGES)}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.add_cookies([{"name": COOKIE, "value": cookie, "url": server.address}])
        context.add_init_script(WATCH)
        ours, bare = context.new_page(), context.new_page()
        ours.goto(f"{server.address}/_stcore/health")
        bare.goto(f"{empty.address}/_stcore/health")
        for turn in range(rounds + 1):
            for name, (path, wanted) in PAGES.items():
                ms = painted_ms(ours, f"{server.address}/{path}", wanted)
                least = painted_ms(bare, empty.address, NOTHING_ELSE)
                if turn:
                    took[name].append(ms)
                    took["nothing"].append(least)
        browser.close()
    return took


def queue_some(folder: Path) -> str:
    """An executor that is there, and jobs that wait, so that the queue has something to show; the cookie of VISITOR."""
    db = connect(f"sqlite:///{folder}/jobs.db")
    engine = "vqgan-clip"
    workers.register(
        db, worker_id="paint", device="none", engines=list(registry.ENGINES), places=1, hostname="here", pid=os.getpid()
    )
    for number in range(20):
        ask(db, engine, f"somebody-who-waits-{number}", {"prompt": "a tree"})
    cookie = visitor_ids.signed_for(db, VISITOR)
    db.dispose()
    return cookie


def main() -> int:
    """Fills, starts both apps, measures, prints."""
    parser = argparse.ArgumentParser(description="Time until a page's first content can be seen in a browser.")
    parser.add_argument("--pictures", type=int, default=50_000, help="finished pictures in the studio (default 50000)")
    parser.add_argument("--votes", type=int, default=10_000, help="votes in the studio (default 10000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often every page is opened (default 5)")
    parser.add_argument("--folder", type=Path, help="keep the studio there; one that is there is used as it is")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = options.folder or temporary
        if not (folder / "jobs.db").exists():
            folder.mkdir(parents=True, exist_ok=True)
            fill(folder, options.pictures, options.votes)
        cookie = queue_some(folder)
        (temporary / "empty.py").write_text(EMPTY)
        server = Server(folder)
        stack.callback(server.stop)
        empty = Server(folder, script=str(temporary / "empty.py"))
        stack.callback(empty.stop)
        ran, used = asyncio.run(run_ms(server, cookie, options.rounds))
        seen = paint(server, empty, cookie, options.rounds)
    print(f"{options.pictures} pictures, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| page | content, ms | times the empty app | server, ms | its CPU, ms |\n|---|---:|---:|---:|---:|")
    floor = statistics.median(seen["nothing"])
    for name, times in seen.items():
        script = f"{shown(ran[name])} | {used[name]:.0f}" if name in ran else " | "
        print(f"| {name} | {shown(times)} | {statistics.median(times) / floor:.2f} | {script} |")
    return 0


def shown(times: list[float]) -> str:
    """The median, and the least in brackets."""
    return f"{statistics.median(times):.0f} ({min(times):.0f})"


if __name__ == "__main__":
    sys.exit(main())
