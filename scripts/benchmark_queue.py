"""How fast the queue is, beside huey on SQLite: enqueue, claim and finish per second with 1, 4 and 16 processes.

    python scripts/benchmark_queue.py
    python scripts/benchmark_queue.py --jobs 2000 --rounds 5

Both write to a fresh SQLite file in WAL mode, wait for the disk at each commit (synchronous=FULL: what is told survives
a power cut), and take turns in one run; each figure is the median of the rounds. huey does less for its money: it
deletes a task as it hands it out, so that a killed process loses it, and keeps no history, owner, lease, progress or
turns. "by 8" claims eight jobs at once, as an executor that batches does.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from db import queue
from db.engine import connect

PARAMS = {"seed": 1, "steps": 200, "size": 64, "cutn": 32, "learning_rate": 0.1, "optimiser": "adam"}
PROMPT = "a red heart on a white background"
BATCH = 8


def studio(path: str, n: int) -> dict[str, Callable[[int], Any]]:
    """Our three steps; each is called with how many jobs to do it to."""
    db = connect(f"sqlite:///{path}", busy_timeout_s=120)
    worker_id = f"w{n}"
    held: list[str] = []

    def enqueue(count: int) -> None:
        for _ in range(count):
            new = queue.NewJob(
                engine="vqgan-clip", checkpoint="mini", batch_key="b", prompt=PROMPT, params=PARAMS, total_steps=200
            )
            queue.enqueue(db, new, submitter=f"visitor-{n}", limits=queue.Limits(max_queued=1_000_000))

    def claim(count: int, limit: int = 1) -> None:
        wanted = len(held) + count
        while len(held) < wanted:
            most = min(limit, wanted - len(held))
            held.extend(job.id for job in queue.claim(db, worker_id=worker_id, limit=most, lease_s=3600))

    def finish(count: int) -> None:
        for job_id in held[:count]:
            queue.succeed(db, worker_id=worker_id, job_id=job_id, score=0.5)
        del held[:count]

    return {"enqueue": enqueue, "claim": claim, "finish": finish, "claim by 8": lambda count: claim(count, BATCH)}


def huey(path: str, n: int) -> dict[str, Callable[[int], Any]]:
    """The same three steps with huey: calling a task, dequeue as its consumer does, execute and store the result."""
    from huey import SqliteHuey

    app = SqliteHuey(filename=path, timeout=120)
    app.storage.sql("pragma synchronous=2")

    def half(prompt: str, params: dict[str, Any]) -> float:
        return 0.5

    draw = app.task()(half)

    held: list[Any] = []

    def enqueue(count: int) -> None:
        for _ in range(count):
            draw(PROMPT, PARAMS)

    def claim(count: int) -> None:
        wanted = len(held) + count
        while len(held) < wanted:
            task = app.dequeue()
            if task is not None:
                held.append(task)

    def finish(count: int) -> None:
        for task in held[:count]:
            app.execute(task)
        del held[:count]

    return {"enqueue": enqueue, "claim": claim, "finish": finish}


SYSTEMS = {"studio": studio, "huey": huey}
STEPS = ("enqueue", "claim", "finish", "claim by 8")


def work(system: str, path: str, n: int, count: int, barrier: Any, times: Any) -> None:
    """One process: every step on `count` jobs, all processes together; puts (step, start s, end s) for each."""
    steps = SYSTEMS[system](path, n)
    for name in ("enqueue", "claim", "finish", "refill", "claim by 8"):
        if name not in steps and (name != "refill" or "claim by 8" not in steps):
            continue
        barrier.wait()
        started = time.monotonic()
        steps["enqueue" if name == "refill" else name](count)
        times.put((name, started, time.monotonic()))


def measure(system: str, processes: int, jobs: int, folder: str) -> dict[str, float]:
    """Jobs per second of each step, by the clock on the wall from the first process's start to the last one's end."""
    context = multiprocessing.get_context("spawn")
    path = os.path.join(folder, f"{system}-{processes}-{time.monotonic_ns()}.db")
    SYSTEMS[system](path, 0)
    barrier, times = context.Barrier(processes), context.Queue()
    count = max(jobs // processes, 1)
    running = [context.Process(target=work, args=(system, path, n, count, barrier, times)) for n in range(processes)]
    for process in running:
        process.start()
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(processes * (5 if system == "studio" else 3)):
        step, started, ended = times.get(timeout=600)
        spans[step].append((started, ended))
    for process in running:
        process.join()
    return {
        step: count * processes / (max(end for _, end in span) - min(start for start, _ in span))
        for step, span in spans.items()
        if step in STEPS
    }


def main() -> int:
    """Print a table: jobs per second of both, and ours as a multiple of huey's."""
    parser = argparse.ArgumentParser(description="Queue operations per second, beside huey on SQLite.")
    parser.add_argument("--jobs", type=int, default=960, help="jobs per step and round (default 960)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, the two taking turns (default 3)")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 4, 16], help="default 1 4 16")
    args = parser.parse_args()
    print("processes  step         studio/s    huey/s   studio : huey")
    for processes in args.processes:
        rates: dict[tuple[str, str], list[float]] = defaultdict(list)
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(args.rounds):
                for system in SYSTEMS:
                    for step, rate in measure(system, processes, args.jobs, folder).items():
                        rates[system, step].append(rate)
        for step in STEPS:
            ours = statistics.median(rates["studio", step])
            theirs = statistics.median(rates["huey", "claim" if step == "claim by 8" else step])
            print(f"{processes:9d}  {step:11s} {ours:9.0f} {theirs:9.0f} {ours / theirs:15.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
