"""Pictures of every page, from the running app with jobs that a real executor draws.

    .venv/bin/python scripts/make_screenshots.py [--steps 40] [--output docs/screenshots]

Starts the web app and one executor on a database of their own and stops both. Needs Chromium and requirements-dev.txt.
"""

from __future__ import annotations

import argparse
import io
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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from db import artefacts, queue, votes  # noqa: E402
from db.artefacts import Store  # noqa: E402
from db.engine import connect  # noqa: E402
from db.jobs import ENDED, Job  # noqa: E402
from db.sheets import refinements, submissions  # noqa: E402
from db.votes import pairs  # noqa: E402
from settings import Settings  # noqa: E402
from studio import refine, visitor_ids  # noqa: E402
from studio.context import Studio, Submitter  # noqa: E402
from studio.submit import Wish, submit  # noqa: E402
from studio.visitor_ids import COOKIE  # noqa: E402

VISITOR, PASSWORD = Submitter("screenshots-visitor"), "screenshots"
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
DARK = ("generation", "detail")  # pages that are taken in both schemes
PROJECTOR = (1920, 1080)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync", "--no-first-run"]


def main() -> int:
    """Draws the jobs, takes the pictures; exit status 1 with one line where something is missing."""
    parser = argparse.ArgumentParser(description="Take pictures of every page at desktop and phone width.")
    parser.add_argument("--steps", type=int, default=40, help="steps of each picture")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "screenshots", help="folder of the pictures")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, studio_running(Path(folder)) as (address, studio):
        jobs = [_draw(studio, prompt, options.steps)[0] for prompt in PROMPTS]
        sheet = _draw(studio, "a robot", options.steps, pictures=4)
        refinement = refine.begin(
            studio, VISITOR, prompt="a cat", engine="vqgan-clip", checkpoint="mini", style=None, count=4
        )
        _finish(studio.db)
        _refine(studio, refinement.id)
        _finish(studio.db)
        _vote(studio.db)
        # Some that are still at work, so that the pages show what waiting and watching look like.
        for prompt in ("a tree", "a golden crown", "a fish"):
            _draw(studio, prompt, options.steps * 4)
        _wait(lambda: any(job.step > 2 for job in queue.running_jobs(studio.db)))
        found = submissions.of_jobs(studio.db, [sheet[0].id])[sheet[0].id]
        pages = {
            "generation": "",
            "refine": f"refine?refinement={refinement.id}",
            "compare": "compare",
            "sheet": f"sheets?sheet={found.id}",
            "previous_inferences": "previous_inferences",
            "detail": f"previous_inferences?job={jobs[3].id}",
            "vote_images": "vote_images",
            "leaderboard": "leaderboard",
            "queue": "queue_page",
            "models": "models",
            "host": "host",
        }
        _take(address, options.output, pages, visitor_ids.signed_for(studio.db, VISITOR.id))
        studio.db.dispose()
    return 0


@contextmanager
def studio_running(folder: Path) -> Iterator[tuple[str, Studio]]:
    """The address of a running web app with one executor, and its database and store."""
    database, store = f"sqlite:///{folder}/jobs.db", f"file://{folder}/artefacts"
    environment = {**os.environ, "T2I_DATABASE_URL": database, "T2I_STORE_URL": store, "T2I_HOST_PASSWORD": PASSWORD}
    environment["T2I_PUBLIC_URL"] = "http://draw.example.org"  # for the wall: this server serves its own machine alone
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
            settings = Settings(database_url=database, store_url=store)
            yield f"http://127.0.0.1:{port}", Studio(settings, connect(database), Store(store))
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


def _wait(condition: Any, timeout_s: float = 1200.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("The studio did not get ready; is there an embedded model in generator/weights/?")
        time.sleep(0.3)


def _draw(studio: Studio, prompt: str, steps: int, pictures: int = 1) -> list[Job]:
    return submit(studio, VISITOR, Wish("vqgan-clip", {"prompt": prompt, "steps": steps}, pictures))


def _finish(db: sa.Engine) -> None:
    """Wait until nothing is queued or running."""
    _wait(lambda: all(job.state in ENDED for job in queue.list_jobs(db, limit=100)))


def _refine(studio: Studio, refinement_id: str) -> None:
    """Mark the first picture of the first row and ask for variations of it."""
    (row,) = refinements.stages_of(studio.db, refinement_id)
    job = submissions.jobs_of(studio.db, row.submission.id)[0].job
    refine.mark(studio, refinement_id, job.id, True)
    picture = artefacts.of_jobs(studio.db, [job.id])[job.id]["picture"]
    refine.vary_marked(studio, VISITOR, refinement_id, row, [(job, picture)], count=4, skip_rate=0.45)


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


def _take(address: str, output: Path, pages: Mapping[str, str], cookie: str) -> None:
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
                context.add_cookies([{"name": COOKIE, "value": cookie, "url": address}])
                page = context.new_page()
                for name, path in pages.items():
                    if scheme == "dark" and name not in DARK:
                        continue
                    page.goto(f"{address}/{path}")
                    page.locator("h1").wait_for()
                    if name == "host":
                        page.locator("input[type=password]").fill(PASSWORD)
                        page.keyboard.press("Enter")
                    page.wait_for_timeout(4000)
                    _save(page, output / f"{name}-{width_name}-{scheme}.png")
                context.close()
        width, height = PROJECTOR
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(f"{address}/wall")
        page.wait_for_timeout(6000)
        _save(page, output / "wall-projector.png")
        browser.close()


def _save(page: Any, path: Path) -> None:
    """A screenshot with 255 colours, a third of the size: it is kept in the repository."""
    with Image.open(io.BytesIO(page.screenshot())) as shot:
        shot.convert("RGB").quantize(255).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
