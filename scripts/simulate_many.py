"""A thousand executors and a hundred thousand waiting jobs on the real queue: how fast, how fair, what is told.

    python scripts/simulate_many.py
    python scripts/simulate_many.py --on postgresql --executors 1000 --jobs 100000 --processes 4 --claims 8000

Half of the jobs are of one visitor in a hundred. A few processes play all executors in turn: each asks for four jobs,
reports on them, finishes them; nothing is computed, so that what is measured is the queue alone. Printed are jobs a
second from claim to end and what each call took; how even the turns are among those who waited all the time (Jain et
al. 1984, "A quantitative measure of fairness"; 1 is even) and by how many turns they differ; what it takes to tell the
waits, and what is told, beside the work in front of a job divided by what all executors do together.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from db import queue  # noqa: E402
from db.engine import connect  # noqa: E402
from db.jobs import State, new_id  # noqa: E402
from db.queue import estimate, workers  # noqa: E402
from db.schema import jobs  # noqa: E402
from scripts.benchmark_queue import LIKE, Databases  # noqa: E402

PLACES = 4
STEPS, TOOK_S = 24, 60.0  # of the jobs that ended before, each beside three others
ENDED = 30
LOOKED_AT = (1, 1_000, 10_000, 100_000)  # places in the line whose waits are printed
CONTEXT = multiprocessing.get_context("spawn")


def fill(url: str, executors: int, waiting: int, visitors: int) -> None:
    """Executors that are there, jobs that ended lately, and jobs that wait: copies of one that the queue made."""
    db, rng = connect(url), random.Random(0)
    new = queue.NewJob(
        engine="vqgan-clip",
        checkpoint="mini",
        batch_key="vqgan-clip mini 64x64",
        prompt="a red heart",
        params={"prompt": "a red heart", "seed": 1, "steps": STEPS},
        total_steps=STEPS,
    )
    first = queue.enqueue(db, new, submitter="visitor-0")
    now = time.time()
    for n in range(executors):
        workers.register(
            db,
            worker_id=f"e{n}",
            device="cpu",
            engines=["vqgan-clip"],
            places=PLACES,
            hostname=f"h{n}",
            pid=1,
            share=0.5,
        )
    presses = max(visitors // 100, 1)
    with db.begin() as conn:
        like = dict(conn.execute(sa.select(*jobs.c).where(jobs.c.id == first.id)).one()._mapping)
        ended = {"state": State.SUCCEEDED, "step": STEPS, "started_at": now - TOOK_S, "finished_at": now}
        rows = [like | ended | {"id": new_id(), "worker_id": f"e{n // PLACES}"} for n in range(ENDED)]
        whose = [
            rng.randrange(presses) if rng.random() < 0.5 else rng.randrange(presses, visitors)
            for _ in range(waiting - 1)
        ]
        rows += [like | {"id": new_id(), "submitter": f"visitor-{who}"} for who in whose]
        for start in range(0, len(rows), 5000):
            conn.execute(sa.insert(jobs), rows[start : start + 5000])
    if db.dialect.name == "postgresql":
        with db.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(sa.text("VACUUM ANALYZE"))
    db.dispose()


def play(url: str, executors: list[str], claims: int, barrier: Any, told: Any) -> None:
    """One process: its executors in turn, until it has claimed so many jobs; puts the s of each call, by name."""
    db = connect(url, busy_timeout_s=120)
    took: dict[str, list[float]] = {"claim": [], "report": [], "finish": []}

    def timed(name: str, call: Any, **values: Any) -> Any:
        began = time.perf_counter()
        found = call(db, **values)
        took[name].append(time.perf_counter() - began)
        return found

    barrier.wait()
    done, turn, began = 0, 0, time.monotonic()
    while done < claims:
        me = executors[turn % len(executors)]
        turn += 1
        held = timed("claim", queue.claim, worker_id=me, limit=PLACES, share=0.5, lease_s=600)
        if not held:
            break
        progress = [queue.Progress(job_id=job.id, step=1, score=0.3) for job in held]
        timed("report", queue.heartbeats, worker_id=me, progress=progress, lease_s=600)
        for job in held:
            timed("finish", queue.succeed, worker_id=me, job_id=job.id, score=0.3)
        done += len(held)
    told.put((done, began, time.monotonic(), took))


def evenness(db: sa.Engine, before: set[str]) -> tuple[float, int, int]:
    """Jain's index of the turns of those who wait still, the largest difference of two, and how many they are.

    before: jobs that had ended before it began.
    """
    with db.connect() as conn:
        waits = set(conn.scalars(sa.select(jobs.c.submitter).distinct().where(jobs.c.state == State.QUEUED)))
        rows = conn.execute(sa.select(jobs.c.id, jobs.c.submitter).where(jobs.c.state == State.SUCCEEDED))
        turns = Counter(row.submitter for row in rows if row.id not in before)
    had = np.array([turns[who] for who in waits], float)
    return float(had.sum() ** 2 / (len(had) * (had**2).sum())), int(had.max() - had.min()), len(had)


def telling(db: sa.Engine, executors: int) -> None:
    """Print what it takes to tell the waits, and what is told."""
    began, cpu = time.perf_counter(), time.process_time()
    found = estimate.first_places(db, 1000)
    print(f"\nfirst 1,000 places told in {time.perf_counter() - began:.2f} s, {time.process_time() - cpu:.2f} s of CPU")
    everybody = estimate.first_places(db, max(LOOKED_AT))
    began = time.perf_counter()
    queue.position_and_wait(db, next(iter(found)))
    print(f"one place told in {time.perf_counter() - began:.2f} s")
    told = {place.position: place.wait for place in everybody.values()}
    print("\n| place in the line | told, s | work in front of it over what all executors do, s |\n|---:|---:|---:|")
    for position in LOOKED_AT:
        if position in told:
            wait = "" if (known := told[position]) is None else f"{known:.0f}"
            print(f"| {position:,} | {wait} | {position * TOOK_S / executors / PLACES:.0f} |")


def simulate(databases: Databases, args: argparse.Namespace) -> None:
    """Print the figures of one kind of database."""
    with databases.fresh("studio", 0) as url:
        fill(url, args.executors, args.jobs, args.visitors)
        db = connect(url)
        with db.connect() as conn:
            before = set(conn.scalars(sa.select(jobs.c.id).where(jobs.c.state == State.SUCCEEDED)))
        print(
            f"\n{databases.kind}: {args.executors} executors, {args.jobs} jobs of {args.visitors} visitors wait",
            flush=True,
        )
        telling(db, args.executors)
        barrier, told = CONTEXT.Barrier(args.processes), CONTEXT.Queue()
        names = [f"e{n}" for n in range(args.executors)]
        share = args.claims // args.processes
        players = [
            CONTEXT.Process(target=play, args=(url, names[n :: args.processes], share, barrier, told))
            for n in range(args.processes)
        ]
        for player in players:
            player.start()
        said = [told.get() for _ in players]
        for player in players:
            player.join()
        done = sum(count for count, *_ in said)
        lasted = max(ended for _, _, ended, _ in said) - min(began for _, began, *_ in said)
        print(
            f"\n{args.processes} processes claimed, reported on and finished {done} jobs: {done / lasted:.0f} a second"
        )
        print("\n| call | median, ms | 95 %, ms |\n|---|---:|---:|")
        for name, what in (
            ("claim", f"claim {PLACES} jobs"),
            ("report", f"report on {PLACES}"),
            ("finish", "finish one"),
        ):
            times = sorted(s for *_, took in said for s in took[name])
            print(f"| {what} | {1000 * statistics.median(times):.1f} | {1000 * times[int(0.95 * len(times))]:.1f} |")
        index, apart, who = evenness(db, before)
        print(f"\nturns of the {who} visitors who waited all the time: evenness {index:.4f}, {apart} apart at most")
        db.dispose()


def main() -> int:
    """Each kind of database in turn."""
    parser = argparse.ArgumentParser(description="Many executors and many waiting jobs on the real queue.")
    parser.add_argument("--on", nargs="+", choices=list(LIKE), default=list(LIKE), help="default: both")
    parser.add_argument("--executors", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=100_000, help="that wait (default 100000)")
    parser.add_argument("--visitors", type=int, default=2000, help="whose they are (default 2000)")
    parser.add_argument("--processes", type=int, default=4, help="that play the executors (default 4)")
    parser.add_argument("--claims", type=int, default=8000, help="jobs that are claimed and finished (default 8000)")
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for kind in args.on:
        with tempfile.TemporaryDirectory() as folder:
            databases = Databases(kind, Path(folder), {"studio": str(ROOT)})
            try:
                simulate(databases, args)
            finally:
                databases.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
