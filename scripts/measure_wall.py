"""Does the wall survive days? Memory of server and browser over some hundred refreshes, and a restart of the server.

    .venv/bin/python scripts/measure_wall.py [--refreshes 300] [--every 0.2]
    .venv/bin/python scripts/measure_wall.py --server-only --refreshes 4000

Starts the web app on a database of its own, opens the wall at 1920 x 1080 in Chromium and plays an executor beside it:
in every refresh two pictures form a little further, and finished ones make room. The page is loaded again at the end,
as the wall does by itself every half hour. Exit status 1 where more stays then than the limits below allow, or where
the wall does not come back after the server was away. Needs Chromium and requirements-dev.txt.

--server-only asks for the refreshes itself, as fast as they are answered, and prints the server's memory ten times on
the way: days of refreshes in minutes. Exit status 1 where the second half adds more than a limit.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from db import artefacts, queue  # noqa: E402
from db.engine import connect  # noqa: E402
from db.queue import workers  # noqa: E402
from scripts.browser_session import Session  # noqa: E402
from scripts.full_studio import Server, ask, resident_mb  # noqa: E402

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync", "--no-first-run", "--js-flags=--expose-gc"]
EXECUTOR = "measure-1"
PICTURES = 12  # as many as hang beside the stage
STEPS = 12
WARM = 4  # of the run: a quarter of the refreshes come before the first measurement
LIMITS = {"server_mb": 15.0, "browser_heap_mb": 3.0, "browser_nodes": 200.0, "browser_mb": 40.0}
PATIENCE_S = 90.0
LEVELS_WITHIN_MB = 3.0  # of the server, in the second half of --server-only


class Player:
    """An executor that draws noise: what the wall shows changes in every refresh, as on a busy evening."""

    def __init__(self, folder: Path) -> None:
        self.db = connect(f"sqlite:///{folder}/jobs.db")
        self.store = artefacts.Store(f"file://{folder}/artefacts")
        workers.register(
            self.db,
            worker_id=EXECUTOR,
            device="cpu",
            engines=["vqgan-clip"],
            places=2,
            hostname="here",
            pid=os.getpid(),
        )
        self.made = 0
        for _ in range(PICTURES + 3):
            self._enqueue()
            (job,) = queue.claim(self.db, worker_id=EXECUTOR, limit=1, lease_s=3600)
            self._finish(job)

    def play(self) -> None:
        """The running pictures form further by a step; those that are done make room for the next."""
        workers.beat(self.db, EXECUTOR, "drawing")
        for job in queue.running_jobs(self.db):
            if job.step >= STEPS:
                self._finish(job)
                continue
            queue.heartbeat(
                self.db,
                worker_id=EXECUTOR,
                job_id=job.id,
                step=job.step + 1,
                score=0.3,
                steps_per_s=4.0,
                history=[],
                lease_s=3600,
            )
            self._put(job.id, "preview")
        for _ in range(2 - len(queue.running_jobs(self.db))):
            self._enqueue()
            queue.claim(self.db, worker_id=EXECUTOR, limit=1, lease_s=3600)

    def _enqueue(self) -> None:
        self.made += 1
        settings = {"prompt": f"picture number {self.made}", "steps": STEPS}
        ask(self.db, "vqgan-clip", f"visitor-{self.made % 9}", settings)

    def _finish(self, job: Any) -> None:
        self._put(job.id, "picture")
        self._put(job.id, "thumbnail")
        queue.succeed(self.db, worker_id=EXECUTOR, job_id=job.id, score=0.4)

    def _put(self, job_id: str, kind: str) -> None:
        out = io.BytesIO()
        Image.effect_noise((256, 256), random.uniform(20, 90)).convert("RGB").save(out, "WEBP", quality=85, method=0)
        artefacts.save(
            self.db,
            self.store,
            job_id=job_id,
            kind=kind,
            data=out.getvalue(),
            media_type="image/webp",
            ext="webp",
            width=256,
            height=256,
        )


def renderers(session: Any) -> list[int]:
    """Processes of the browser that hold pages."""
    found = session.send("SystemInfo.getProcessInfo")["processInfo"]
    return [process["id"] for process in found if process["type"] == "renderer"]


def measure(server: Server, page: Any, on_page: Any, on_browser: Any) -> dict[str, float]:
    """Memory now, without garbage and without what the browser gives back where memory is short (decoded pictures)."""
    on_page.send("Memory.simulatePressureNotification", {"level": "critical"})
    on_page.send("HeapProfiler.collectGarbage")
    page.wait_for_timeout(1000)
    values = {one["name"]: one["value"] for one in on_page.send("Performance.getMetrics")["metrics"]}
    return {
        "server_mb": server.memory_mb(),
        "browser_heap_mb": values["JSHeapUsedSize"] / 2**20,
        "browser_nodes": page.evaluate("document.querySelectorAll('*').length"),
        "browser_mb": resident_mb(renderers(on_browser)),
    }


def refresh(page: Any, player: Player, count: int) -> None:
    """Let `count` refreshes pass, something new in each."""
    for _ in range(count):
        before = page.evaluate("document.querySelector('[data-beat]').dataset.beat")
        player.play()
        page.wait_for_function("(b) => (document.querySelector('[data-beat]')?.dataset.beat ?? b) !== b", arg=before)


def comes_back(server: Server, page: Any) -> float:
    """Seconds from the server's return until the wall is drawn anew, without a touch."""
    server.stop()
    page.wait_for_timeout(20_000)
    before = page.evaluate("document.querySelector('[data-beat]')?.dataset.beat ?? ''")
    server.start()
    started = time.monotonic()
    page.wait_for_function(
        "(b) => (document.querySelector('[data-beat]')?.dataset.beat ?? b) !== b", arg=before, timeout=1000 * PATIENCE_S
    )
    seen = "() => document.querySelectorAll('.st-key-wall img').length > 5"
    page.wait_for_function(seen, timeout=1000 * PATIENCE_S)
    return time.monotonic() - started


async def fast(server: Server, player: Player, refreshes: int) -> list[tuple[int, float]]:
    """(refreshes so far, MB of the server) eleven times; the first after a warm up of a tenth of the refreshes."""
    points, part = [], max(refreshes // 10, 1)
    async with Session(server.address) as wall:
        await wall.open("wall")
        for number in range(11 * part + 1):
            if number and number % part == 0:
                points.append((number - part, server.memory_mb()))
            player.play()
            await wall.refresh()
        if wall.errors:
            raise SystemExit(f"The wall showed an error: {wall.errors[0]}")
    return points


def server_only(refreshes: int) -> int:
    """Prints the server's memory over many refreshes; exit status 1 where it has not levelled off."""
    with tempfile.TemporaryDirectory() as name:
        player, server = Player(Path(name)), Server(Path(name), {"T2I_WALL_REFRESH_S": "60"})
        try:
            points = asyncio.run(fast(server, player, refreshes))
        finally:
            server.stop()
            player.db.dispose()
    print("| refreshes | server, MB |\n|---:|---:|")
    print("\n".join(f"| {number} | {mb:.1f} |" for number, mb in points))
    return int(points[-1][1] - points[len(points) // 2][1] > LEVELS_WITHIN_MB)


def main() -> int:
    """Prints a table; exit status 1 where something grows or the wall does not come back."""
    parser = argparse.ArgumentParser(description="Memory of the wall over many refreshes, and a restart.")
    parser.add_argument("--refreshes", type=int, default=300, help="refreshes between the two measurements")
    parser.add_argument("--every", type=float, default=0.2, help="seconds between refreshes, 0.1 or more")
    parser.add_argument("--server-only", action="store_true", help="no browser: as fast as the server answers")
    options = parser.parse_args()
    if options.server_only:
        return server_only(options.refreshes)
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        player, server = Player(Path(name)), Server(Path(name), {"T2I_WALL_REFRESH_S": str(options.every)})
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            player.play()  # where nobody is there, one picture hangs alone
            page = browser.new_page(viewport={"width": 1920, "height": 1080})
            page.goto(f"http://127.0.0.1:{server.port}/wall")
            page.locator(".st-key-wall img").nth(PICTURES - 1).wait_for(timeout=1000 * PATIENCE_S)
            on_page, on_browser = page.context.new_cdp_session(page), browser.new_browser_cdp_session()
            on_page.send("Performance.enable")
            refresh(page, player, max(options.refreshes // WARM, 1))
            first = measure(server, page, on_page, on_browser)
            started = time.monotonic()
            refresh(page, player, options.refreshes)
            took = time.monotonic() - started
            last = measure(server, page, on_page, on_browser)
            page.reload()  # as the wall does by itself every half hour
            page.locator(".st-key-wall img").nth(PICTURES - 1).wait_for(timeout=1000 * PATIENCE_S)
            fresh = measure(server, page, on_page, on_browser)
            back_s = comes_back(server, page)
        finally:
            browser.close()
            server.stop()
            player.db.dispose()
    print(f"{options.refreshes} refreshes in {took:.0f} s; pictures made: {player.made}")
    print(f"{'':16} {'start':>8} {'end':>8} {'reloaded':>8}")
    for key, limit in LIMITS.items():
        print(f"{key:16} {first[key]:8.1f} {last[key]:8.1f} {fresh[key]:8.1f}   (may grow by {limit:g})")
    print(f"back {back_s:.1f} s after the server was")
    return int(any(fresh[key] - first[key] > limit for key, limit in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main())
