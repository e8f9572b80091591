"""Kill executors at random and count what became of the jobs: none may be lost, none done twice.

    python scripts/stress_queue.py --kills 200
    python scripts/stress_queue.py --kills 200 --database-url postgresql://user@host/empty

Worker processes claim jobs, report progress and finish them; a process is ended with kill -9 at a random
moment, its leases run out, and another one goes on. The events of every job must tell a legal story.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from db import queue
from db.engine import connect, reading
from db.errors import LeaseLost
from db.jobs import State
from db.schema import events, jobs

LEASE_S = 0.5
STEPS = 3

LOST = ("lease_expired", "suspected")  # alone, which costs an attempt; beside others
# What may follow what in a job's life, told by its events.
FOLLOWS = {
    "queued": {"claimed"},
    "claimed": {"succeeded", *LOST},
    **{lost: {"claimed"} for lost in LOST},
    "succeeded": set(),
}


def work(url: str, seed: int) -> None:
    """One executor without pictures: claims up to three jobs, reports every step, finishes them, for ever."""
    draw = random.Random(seed)
    worker_id = f"{os.getpid()}-{seed}"
    db = connect(url)
    while True:
        queue.requeue_expired(db)
        held = queue.claim(db, worker_id=worker_id, limit=draw.randint(1, 3), lease_s=LEASE_S)
        if not held:
            time.sleep(0.02)
        for job in held:
            try:
                for step in range(1, STEPS + 1):
                    time.sleep(draw.uniform(0, 0.02))
                    queue.heartbeat(db, worker_id=worker_id, job_id=job.id, step=step, lease_s=LEASE_S)
                queue.succeed(db, worker_id=worker_id, job_id=job.id, score=1.0)
            except LeaseLost:
                continue


def stress(url: str, *, kills: int, processes: int, seed: int) -> Counter[str]:
    """Kill `kills` workers, wait for all jobs to end, return what happened. Raises AssertionError with the job."""
    # New processes are forked from one that has read the modules but opened nothing: they start at once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "db.queue", "sqlalchemy.dialects.sqlite.pysqlite", "psycopg"])
    draw = random.Random(seed)
    db = connect(url)
    seeds = iter(range(seed * 1_000_000, (seed + 1) * 1_000_000))

    def start() -> BaseProcess:
        process = context.Process(target=work, args=(url, next(seeds)), daemon=True)
        process.start()
        return process

    running = [start() for _ in range(processes)]
    asked: list[str] = []
    try:
        for _ in range(kills):
            _ask(db, asked, draw, at_least=10 * processes)
            victim = draw.choice(_busy(db, running))
            time.sleep(draw.uniform(0, 0.02))
            os.kill(int(victim.pid or 0), signal.SIGKILL)
            victim.join()
            running[running.index(victim)] = start()
        _finish(db, running)
    finally:
        for process in running:
            process.kill()
            process.join()
    result = check(db, asked)
    db.dispose()
    return result


def check(db: sa.Engine, asked: Sequence[str]) -> Counter[str]:
    """Every job that was asked for succeeded, once, after a legal life. Returns how often each event occurred."""
    with reading(db) as conn:
        found = conn.execute(sa.select(jobs.c.id, jobs.c.state, jobs.c.attempt).order_by(jobs.c.id)).all()
        log = conn.execute(sa.select(events.c.job_id, events.c.kind).order_by(events.c.id)).all()
    assert [row.id for row in found] == sorted(asked), "jobs were lost or made up"
    lives: dict[str, list[str]] = {row.id: [] for row in found}
    for job_id, kind in log:
        lives[job_id].append(kind)
    for row in found:
        life = lives[row.id]
        story = f"job {row.id}, {row.state}: {', '.join(life)}"
        assert row.state == State.SUCCEEDED, f"not finished: {story}"
        assert life[0] == "queued" and life.count("succeeded") == 1, f"lost or doubled: {story}"
        assert all(b in FOLLOWS[a] for a, b in itertools.pairwise(life)), f"illegal life: {story}"
        assert row.attempt == 1 + life.count("lease_expired"), f"attempts miscounted: {story}"
    return Counter(kind for _, kind in log)


def _ask(db: sa.Engine, asked: list[str], draw: random.Random, at_least: int) -> None:
    waiting = queue.counts(db)[State.QUEUED]
    for _ in range(at_least - waiting):
        new = queue.NewJob(
            engine="none",
            checkpoint="none",
            batch_key=draw.choice("ab"),
            prompt="",
            params={},
            total_steps=STEPS,
            max_attempts=1000,
        )
        asked.append(queue.enqueue(db, new, submitter=draw.choice(["ada", "bob", "eve"])).id)


def _busy(db: sa.Engine, running: Sequence[BaseProcess]) -> list[BaseProcess]:
    """The processes that hold a job, as soon as there is one: only they have something to lose."""
    while True:
        _alive(running)
        holders = {str(job.worker_id).split("-")[0] for job in queue.running_jobs(db)}
        if busy := [process for process in running if str(process.pid) in holders]:
            return busy
        time.sleep(0.005)


def _finish(db: sa.Engine, running: Sequence[BaseProcess]) -> None:
    while (left := queue.counts(db))[State.QUEUED] + left[State.RUNNING]:
        _alive(running)
        time.sleep(0.05)


def _alive(running: Sequence[BaseProcess]) -> None:
    ended = [process.exitcode for process in running if process.exitcode is not None]
    assert not ended, f"a worker ended by itself with status {ended[0]}; see its traceback above"


def main() -> int:
    """Run the stress and print what happened; 1 if a job was lost or doubled."""
    parser = argparse.ArgumentParser(description="Kill executors at random; no job may be lost or done twice.")
    parser.add_argument("--kills", type=int, default=200, help="how many processes to kill (default 200)")
    parser.add_argument("--processes", type=int, default=4, help="how many work at once (default 4)")
    parser.add_argument("--seed", type=int, default=1, help="what the random moments are drawn from (default 1)")
    parser.add_argument("--database-url", help="an empty database (default: a SQLite file in a temporary folder)")
    args = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        url = args.database_url or f"sqlite:///{folder}/jobs.db"
        try:
            happened = stress(url, kills=args.kills, processes=args.processes, seed=args.seed)
        except AssertionError as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    print(
        f"{args.kills} kills, {happened['queued']} jobs, {sum(happened[kind] for kind in LOST)} leases expired "
        f"({happened['lease_expired']} of jobs that ran alone), "
        f"{happened['succeeded']} succeeded, none lost, none doubled, {time.monotonic() - started:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
