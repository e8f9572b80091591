"""Pictures of every page for the README, from the running app with jobs that a real executor draws.

    .venv/bin/python scripts/make_screenshots.py [--steps 40] [--output docs/screenshots]

Starts the web app and one executor on a database of their own and stops both. Needs Chromium and requirements-dev.txt.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from db import pairs, queue, votes  # noqa: E402
from db.engine import connect  # noqa: E402
from db.jobs import ENDED  # noqa: E402
from generator.params import validate  # noqa: E402

VISITOR = "screenshots-visitor"
PROMPTS = (
    "a red heart",
    "a slice of pizza",
    "a blue car",
    "a penguin",
    "a smiling face with sunglasses",
    "a rocket",
    "a house",
    "a strawberry",
    "a banana",
    "a football",
    "a red heart",
    "a rocket",
)
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
PAGES = {
    "generation": "",
    "previous_inferences": "previous_inferences",
    "vote_images": "vote_images",
    "leaderboard": "leaderboard",
    "queue": "queue_page",
}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync", "--no-first-run"]


def main() -> int:
    """Draws the jobs, takes the pictures; exit status 1 with one line where something is missing."""
    parser = argparse.ArgumentParser(description="Take pictures of every page at desktop and phone width.")
    parser.add_argument("--steps", type=int, default=40, help="steps of each picture")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "screenshots", help="folder of the pictures")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, _studio(Path(folder)) as (address, database):
        db = connect(database)
        jobs = [_enqueue(db, prompt, options.steps) for prompt in PROMPTS]
        while any(queue.get(db, job).state not in ENDED for job in jobs):
            time.sleep(0.5)
        _vote(db)
        # Some that are still at work, so that the pages show what waiting and watching look like.
        for prompt in ("a tree", "a golden crown", "a fish"):
            _enqueue(db, prompt, options.steps * 4)
        _wait(lambda: any(job.step > 2 for job in queue.running_jobs(db)))
        _take(address, options.output, jobs[3])
        db.dispose()
    return 0


@contextmanager
def _studio(folder: Path) -> Iterator[tuple[str, str]]:
    database = f"sqlite:///{folder}/jobs.db"
    environment = {**os.environ, "T2I_DATABASE_URL": database, "T2I_STORE_URL": f"file://{folder}/artefacts"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    web = [sys.executable, "-m", "streamlit", "run", "webapp.py"]
    commands = (
        [*web, f"--server.port={port}", "--server.address=127.0.0.1"],
        [sys.executable, "job_executor.py", "--batch", "2"],
    )
    with (folder / "log.txt").open("wb") as log:
        processes = [subprocess.Popen(c, cwd=ROOT, env=environment, stdout=log, stderr=log) for c in commands]
        try:
            _wait(lambda: _healthy(f"http://127.0.0.1:{port}/_stcore/health"))
            yield f"http://127.0.0.1:{port}", database
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait(30)


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def _wait(condition: Any, longest_s: float = 300.0) -> None:
    deadline = time.monotonic() + longest_s
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("The studio did not get ready; is there an embedded model in generator/weights/?")
        time.sleep(0.3)


def _enqueue(db: sa.Engine, prompt: str, steps: int) -> str:
    params = validate("vqgan-clip", {"prompt": prompt, "steps": steps})
    return queue.enqueue(
        db,
        engine="vqgan-clip",
        checkpoint=params.checkpoint,
        batch_key=params.batch_key,
        prompt=params.prompt,
        params=params.model_dump(mode="json"),
        total_steps=params.total_steps,
        submitter=VISITOR,
    ).id


def _vote(db: sa.Engine) -> None:
    """Simulated visitors compare the pictures; they side with CLIP's score two times in three."""
    chance = random.Random(0)
    for voter in range(30):
        pool = pairs.pool(db)
        for _ in range(6):
            pair = pairs.next_pair(db, f"simulated-visitor-{voter}", among=pool)
            if pair is None:
                return
            left, right = pair
            ahead = (left.score or 0) > (right.score or 0)
            choice: votes.Choice = "left" if ahead == (chance.random() < 2 / 3) else "right"
            votes.cast(db, voter=f"simulated-visitor-{voter}", left_id=left.id, right_id=right.id, choice=choice)


def _take(address: str, output: Path, detail: str) -> None:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for width_name, (width, height) in WIDTHS.items():
            for scheme in ("light", "dark"):
                context: Any = browser.new_context(
                    viewport={"width": width, "height": height},
                    color_scheme="dark" if scheme == "dark" else "light",
                )
                context.add_cookies([{"name": "t2i_visitor", "value": VISITOR, "url": address}])
                page = context.new_page()
                for name, path in {**PAGES, "detail": f"previous_inferences?job={detail}"}.items():
                    page.goto(f"{address}/{path}")
                    page.locator("h1").wait_for()
                    page.get_by_test_id("stMain").locator("img, .t2i-empty").first.wait_for()
                    page.wait_for_timeout(2500)
                    page.screenshot(path=output / f"{name}-{width_name}-{scheme}.png")
                context.close()
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
