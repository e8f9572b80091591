"""Does the studio stay as it is after thousands of pictures? Web app and executor over many jobs, with visitors.

    .venv/bin/python scripts/measure_long_life.py [--jobs 2000]

A real executor draws with the embedded VQGAN + CLIP, few steps each, so that what comes with a job outweighs the
drawing; a visitor opens first page and gallery after every group of jobs. Ten times on the way it prints what both
processes hold: memory, open files, temporary files, what database and store take for each picture there is, and how
long a page took. Exit status 1 where the second half of the way adds more than the limits below.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from db import queue  # noqa: E402
from db.engine import connect  # noqa: E402
from db.jobs import ENDED  # noqa: E402
from scripts.browser_session import Session  # noqa: E402
from scripts.full_studio import Server, ask, executor, resident_mb  # noqa: E402

SMALL = {"steps": 1, "cutn": 1, "candidates": 1, "upscale": 1}
PAGES = ("", "previous_inferences")
POINTS = 10
GROUP = 20  # jobs asked at once
TEMPORARY = "temporary"  # the folder for both processes' temporary files
# What may be added from the middle of the way to its end. Pages share the cores with an executor.
LIMITS = {"executor MB": 25.0, "web MB": 25.0, "executor files": 3.0, "web files": 5.0, "temporary files": 3.0}
LIMITS |= {"database kB a job": 2.0, "store kB a job": 5.0}


def open_files(process: int) -> int:
    """How many files, pipes and sockets a process has open."""
    return len(os.listdir(f"/proc/{process}/fd"))


def size(*places: Path) -> int:
    """Bytes of files, and of all files in folders."""
    found = [file for place in places for file in ([place] if place.is_file() else place.rglob("*"))]
    return sum(file.stat().st_size for file in found if file.is_file())


class Studio:
    """A web app and an executor at work on a folder."""

    def __init__(self, folder: Path, server: Server, executor: subprocess.Popen[bytes]) -> None:
        self.folder, self.server, self.executor = folder, server, executor
        self.db = connect(f"sqlite:///{folder}/jobs.db")

    def measure(self, jobs: int, pages_s: list[float]) -> dict[str, float]:
        """All there is to know now, after so many jobs."""
        database = [self.folder / name for name in ("jobs.db", "jobs.db-wal", "jobs.db-shm")]
        return {
            "jobs": jobs,
            "executor MB": resident_mb([self.executor.pid]),
            "web MB": self.server.memory_mb(),
            "executor files": open_files(self.executor.pid),
            "web files": open_files(self.server.process.pid),
            "temporary files": sum(1 for _ in (self.folder / TEMPORARY).rglob("*")),
            "database kB a job": size(*(file for file in database if file.exists())) / 1000 / jobs,
            "store kB a job": size(self.folder / "artefacts") / 1000 / jobs,
            "page ms": 1000 * statistics.median(pages_s),
        }


async def live(studio: Studio, jobs: int) -> list[dict[str, float]]:
    """Ask, wait and look, group after group; a row of measurements for each of POINTS parts of the way."""
    rows, pages_s, done = list[dict[str, float]](), list[float](), 0
    while done < jobs:
        for n in range(GROUP):
            settings = {"prompt": f"a red heart number {done + n}", "seed": done + n, **SMALL}
            ask(studio.db, "vqgan-clip", f"visitor-{n}", settings)
        while sum(queue.counts(studio.db)[state] for state in ENDED) < done + GROUP:
            if studio.executor.poll() is not None:
                raise SystemExit(f"The executor ended: {(studio.folder / 'executor.log').read_text()[-500:]}")
            await asyncio.sleep(0.2)
        done += GROUP
        async with Session(studio.server.address) as visitor:
            pages_s += [await visitor.open(page) for page in PAGES]
            if visitor.errors:
                raise SystemExit(f"A page showed an error: {next(iter(visitor.errors))}")
        if done * POINTS // jobs > len(rows):
            rows.append(studio.measure(done, pages_s[-2 * max(jobs // POINTS // GROUP, 1) :]))
            print("| " + " | ".join(f"{value:.0f}" for value in rows[-1].values()) + " |", flush=True)
    return rows


def main() -> int:
    """Prints a Markdown table as it grows; exit status 1 where something grows that should not."""
    parser = argparse.ArgumentParser(description="Memory, files and pages over many jobs.")
    parser.add_argument("--jobs", type=int, default=2000, help=f"at least {2 * POINTS * GROUP} (default 2000)")
    options = parser.parse_args()
    if options.jobs < 2 * POINTS * GROUP:
        parser.error(f"--jobs: {options.jobs} is too few to see a trend; at least {2 * POINTS * GROUP}.")
    with tempfile.TemporaryDirectory() as name:
        folder, began = Path(name), time.monotonic()
        (folder / TEMPORARY).mkdir()
        beside = {"TMPDIR": str(folder / TEMPORARY)}
        server = Server(folder, beside)
        try:
            with executor(folder, "vqgan-clip", **beside) as process:
                columns = ("jobs", *list(LIMITS), "page ms")
                print(f"| {' | '.join(columns)} |\n|{'---:|' * len(columns)}", flush=True)
                rows = asyncio.run(live(Studio(folder, server, process), options.jobs))
        finally:
            server.stop()
    middle, last = rows[len(rows) // 2 - 1], rows[-1]
    grown = {name: last[name] - middle[name] for name, most in LIMITS.items() if last[name] - middle[name] > most}
    minutes, said = (time.monotonic() - began) / 60, grown or "nothing"
    print(f"\n{options.jobs} jobs in {minutes:.0f} min; grown in the second half: {said}")
    return int(bool(grown))


if __name__ == "__main__":
    sys.exit(main())
