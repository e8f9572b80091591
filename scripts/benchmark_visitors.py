"""Many visitors at once: how long their pages take, and what their sessions cost the web app in memory.

    python scripts/benchmark_visitors.py [--visitors 50] [--pictures 50000] [--think 5] [--seconds 60]

Starts the web app on a database of its own, full of finished pictures, and opens one WebSocket session for each
visitor, which speaks as a browser does (scripts/browser_session.py): pages are opened in turn, widgets are set, pages
that refresh by themselves are refreshed, pictures are fetched. Beside it runs an executor that draws nothing but
finishes two jobs every few seconds. Prints a Markdown table. Exit status 1 where a visitor was shown an error.

The visitors share the cores with the server here; on a machine with two cores that is a part of what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from db import artefacts, queue
from db.engine import connect
from db.queue import workers
from generator import registry
from scripts.browser_session import NoSuchWidget, Session
from scripts.full_studio import Server, fill

EXECUTOR = "benchmark"
STEPS_OF_A_JOB = 6  # reports of the executor until a job is done
EVERY_S = 1.0
FORGET_S = 125.0  # Streamlit keeps the session of a closed tab for two minutes, should it come back
Took = dict[str, list[float]]


class Executor:
    """Takes jobs, reports steps and previews, finishes them with a picture that was there before."""

    def __init__(self, folder: Path) -> None:
        self._db = connect(f"sqlite:///{folder}/jobs.db")
        self._store = artefacts.Store(f"file://{folder}/artefacts")
        self._pictures = sorted((folder / "different").glob("thumbnail-*.webp"))
        self.made = 0
        engines = list(registry.drawing_engines())
        workers.register(
            self._db, worker_id=EXECUTOR, device="none", engines=engines, places=2, hostname="here", pid=os.getpid()
        )

    def advance(self) -> None:
        """Every running job is a step further or done; free places take the next jobs."""
        workers.beat(self._db, EXECUTOR, "drawing")
        running = queue.running_jobs(self._db)
        for job in running:
            step = min(job.step + -(-job.total_steps // STEPS_OF_A_JOB), job.total_steps)
            history = [*job.history, *([n, 0.2] for n in range(job.step, step))]
            queue.heartbeat(
                self._db,
                worker_id=EXECUTOR,
                job_id=job.id,
                step=step,
                score=0.3,
                steps_per_s=20.0,
                history=history,
                lease_s=3600,
            )
            self._save(job.id, "preview")
            if step == job.total_steps:
                self._save(job.id, "picture")
                self._save(job.id, "thumbnail")
                queue.succeed(self._db, worker_id=EXECUTOR, job_id=job.id, score=0.3)
                self.made += 1
        if len(running) < 2:
            queue.claim(self._db, worker_id=EXECUTOR, limit=2 - len(running), lease_s=3600)

    def _save(self, job_id: str, kind: str) -> None:
        data = random.choice(self._pictures).read_bytes()
        artefacts.save(
            self._db, self._store, job_id=job_id, kind=kind, data=data, media_type="image/webp", ext="webp", width=256
        )

    async def work(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.to_thread(self.advance)
            await asyncio.sleep(EVERY_S)


def actions(session: Session, number: int) -> list[tuple[str, Callable[[], Awaitable[float]]]]:
    """What a visitor does in turn, by name; a name stands for one row of the table."""
    return [
        ("generation", lambda: session.open("")),
        ("generation: prompt", lambda: session.act("set_prompt", f"a tree of visitor {number}")),
        ("generation: submit", lambda: session.act("Generate")),
        ("gallery", lambda: session.open("previous_inferences")),
        ("gallery: older", lambda: session.act("older")),
        ("gallery: one picture", lambda: session.act(session.key_like("open_"))),
        ("vote", lambda: session.open("vote_images")),
        ("vote: cast", lambda: session.act("choose_left")),
        ("vote: cast", lambda: session.act("choose_right")),
        ("queue", lambda: session.open("queue_page")),
        ("queue: only mine", lambda: session.act("queue_mine", True)),
        ("leaderboard", lambda: session.open("leaderboard")),
        ("refine", lambda: session.open("refine")),
        ("sheets", lambda: session.open("sheets")),
        ("compare", lambda: session.open("compare")),
        ("models", lambda: session.open("models")),
    ]


OPENS = [0, 3, 6, 9, 11]  # of `actions`: where a visitor may begin


async def visit(
    server: Server,
    number: int,
    options: argparse.Namespace,
    took: Took,
    errors: Counter[str],
    leave: asyncio.Event,
) -> None:
    """One visitor: arrives, acts with pauses until the time is over, stays until all may leave."""
    rng = random.Random(number)
    await asyncio.sleep(rng.uniform(0, options.think))
    ends = time.monotonic() + options.seconds
    async with Session(server.address) as session:
        took["first visit"].append(await session.open(""))
        turn = OPENS[number % len(OPENS)]
        while time.monotonic() < ends:
            await asyncio.sleep(rng.uniform(0.5, 1.5) * options.think)
            steps = actions(session, number)
            name, action = steps[turn % len(steps)]
            turn += 1
            try:
                took[name].append(await action())
            except NoSuchWidget:
                took["passed over"].append(0.0)  # e.g. no older pictures, or nothing left to vote on
        took["refresh by itself"].extend(session.refreshed_s)
        took["kB received"].append(session.received / 1000)
        errors.update(session.errors)
        await leave.wait()


async def wave(server: Server, folder: Path, options: argparse.Namespace, took: Took, errors: Counter[str]) -> float:
    """All visitors at once; MB of the server while all of them are there, before they leave."""
    leave = asyncio.Event()
    worker = asyncio.create_task(Executor(folder).work())
    visits = [
        asyncio.create_task(visit(server, number, options, took, errors, leave)) for number in range(options.visitors)
    ]
    await asyncio.sleep(options.think + options.seconds + 1)
    while len(took["kB received"]) < options.visitors and not any(one.done() for one in visits):
        await asyncio.sleep(0.2)
    memory = server.memory_mb()
    leave.set()
    await asyncio.gather(*visits)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    return memory


async def one_visitor(server: Server) -> None:
    """Opens every page once and leaves: what is loaded or kept at first use is there then."""
    async with Session(server.address) as one:
        for path in ("", "previous_inferences", "vote_images", "queue_page", "leaderboard", "refine", "models"):
            await one.open(path)


def table(took: Took) -> str:
    """Markdown: one row for each page or action, times in ms."""
    lines = ["| page or action | count | p50 ms | p95 ms | max ms |", "|---|---:|---:|---:|---:|"]
    rows = {name: np.array(times) * 1000 for name, times in took.items() if times}
    pages = [times for name, times in rows.items() if name != "refresh by itself"]
    for name, times in {**rows, "**all but refreshes**": np.concatenate(pages)}.items():
        p50, p95 = np.percentile(times, [50, 95])
        lines.append(f"| {name} | {len(times)} | {p50:.0f} | {p95:.0f} | {times.max():.0f} |")
    return "\n".join(lines)


def main() -> int:
    """Fills, starts, lets the visitors in, prints."""
    parser = argparse.ArgumentParser(description="Times and memory of the web app with many visitors at once.")
    parser.add_argument("--visitors", type=int, default=50, help="sessions at once (default 50)")
    parser.add_argument("--pictures", type=int, default=50_000, help="finished pictures in the studio (default 50000)")
    parser.add_argument("--votes", type=int, default=10_000, help="votes in the studio (default 10000)")
    parser.add_argument("--think", type=float, default=5.0, help="s between two actions of a visitor (default 5)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the visitors act (default 60)")
    parser.add_argument("--waves", type=int, default=1, help="how often all come and leave (default 1)")
    parser.add_argument("--forget", type=float, default=FORGET_S, help="s to wait after they left, 0: do not look")
    parser.add_argument("--folder", type=Path, help="keep the studio there; one that is there is used as it is")
    options = parser.parse_args()
    took: Took = defaultdict(list)
    errors: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not (folder / "jobs.db").exists():
            folder.mkdir(parents=True, exist_ok=True)
            fill(folder, options.pictures, options.votes)
        # All simulated visitors come from this machine: one address.
        server = Server(folder, {"T2I_MAX_QUEUED_PER_ADDRESS": "1000000", "T2I_MAX_QUEUED": "1000000"})
        try:
            asyncio.run(one_visitor(server))
            memory = [("before", server.idle_mb())]
            for number in range(1, options.waves + 1):
                cpu, began = server.cpu_s(), time.monotonic()
                there = asyncio.run(wave(server, folder, options, took, errors))
                memory.append((f"all {options.visitors} there, wave {number}", there))
                used, lasted = server.cpu_s() - cpu, time.monotonic() - began
                if options.forget:
                    time.sleep(options.forget)
                    asyncio.run(one_visitor(server))  # Streamlit drops what is too old when the next one leaves
                    memory.append((f"after wave {number} left", server.idle_mb()))
        finally:
            server.stop()
    print(f"{options.visitors} visitors, {options.pictures} pictures, an action every {options.think:g} s each;")
    print(f"{os.cpu_count()} cores shared with the visitors, load {os.getloadavg()[0]:.1f}\n")
    skipped, kilobytes = took.pop("passed over", []), took.pop("kB received")
    runs = sum(map(len, took.values())) / options.waves
    print(table(took))
    print(f"\n{1000 * used / runs:.0f} ms of CPU time of the server for each run, {used / lasted:.2f} of one core")
    print(f"{len(skipped)} actions passed over, since the page had no such widget then")
    print("\n| memory of the server | MB |\n|---|---:|")
    print("\n".join(f"| {when} | {mb:.0f} |" for when, mb in memory))
    each = (memory[1][1] - memory[0][1]) / options.visitors
    print(f"\n{each:.2f} MB for each session, {np.median(kilobytes):.0f} kB of messages sent to each")
    for what, count in errors.most_common():
        print(f"error, {count} times: {what}")
    return int(bool(errors))


if __name__ == "__main__":
    sys.exit(main())
