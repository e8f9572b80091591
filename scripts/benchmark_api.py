"""What the API costs: asking for jobs, streams of events, calls of OpenAI's kind, and pages beside it.

    python scripts/benchmark_api.py
    python scripts/benchmark_api.py --only enqueue streams --rounds 5 --json api.json

Each part has its baseline in the same run, the two taking turns, and prints their ratio:
enqueue   POST /api/v1/jobs by 50 callers at once beside studio.submit by 50 threads in a process, on an empty database
          and on one with 100,000 jobs; each caller has a key of its own
streams   200 event streams on running jobs beside 200 idle connections: memory of the server each, CPU while nothing
          changes, and how long after the database's change an event arrives
overhead  an OpenAI call beside the time its job took from request to end, with a real executor on the embedded model
          and with one that draws nothing
pages     p95 of the pages with programs calling the API beside them and without

Callers share the cores with the server here; with two cores that is a part of what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from db import artefacts, queue
from db.engine import connect, writing
from db.rules import keys
from db.schema import events, jobs
from scripts import api_load, benchmark_visitors
from scripts.full_studio import Server, ask, executor, fill, machine
from scripts.played_executors import Running, instant_executor
from settings import Settings
from studio.context import Studio, Submitter
from studio.submit import Wish, submit

PROCESSES = multiprocessing.get_context("spawn")
NO_LIMIT = {
    "T2I_MAX_QUEUED_PER_SUBMITTER": "1000000",
    "T2I_MAX_QUEUED_PER_ADDRESS": "1000000",
    "T2I_MAX_QUEUED": "1000000",
    "T2I_API": "local",
}
BEAT_S = 1.0  # between two reports of a running job, as executors send them
Results = dict[str, dict[str, float]]


def percentiles(took: list[float]) -> dict[str, float]:
    """p50 and p95 in ms."""
    p50, p95 = np.percentile(np.array(took) * 1000, [50, 95])
    return {"p50_ms": float(p50), "p95_ms": float(p95)}


def fastest(rounds: list[tuple[list[float], float]], at_once: int) -> dict[str, float]:
    """The quietest round, since others may use the machine meanwhile: percentiles, calls a second, CPU time of each."""
    took, cpu_s = min(rounds, key=lambda one: float(np.percentile(one[0], 95)))
    return percentiles(took) | {"per_s": at_once / float(np.mean(took)), "cpu_ms_each": 1000 * cpu_s / len(took)}


def in_process(folder: str, threads: int, each: int, took: Any) -> None:
    """So many threads ask the studio as the API would, without HTTP."""
    settings = Settings(max_queued_per_submitter=1_000_000, max_queued=1_000_000)
    studio = Studio(settings, connect(f"sqlite:///{folder}/jobs.db"), artefacts.Store(f"file://{folder}/artefacts"))
    wish = Wish(str(api_load.BODY["engine"]), api_load.BODY["params"])  # type: ignore[arg-type]
    times: list[float] = []
    ready = threading.Barrier(threads)

    def work(n: int) -> None:
        ready.wait()
        for _ in range(each):
            started = time.perf_counter()
            submit(studio, Submitter(f"in-process-{n}"), wish)
            times.append(time.perf_counter() - started)

    cpu = time.process_time()
    running = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    took.put((times, time.process_time() - cpu))


def over_http(address: str, secrets: list[str], each: int, took: Any) -> None:
    """The same by HTTP."""
    took.put((api_load.post(address, secrets, each), 0.0))


def apart(target: Callable[..., None], *args: Any) -> Any:
    """What a function puts into the queue that it is given last, run in a process of its own."""
    answers = PROCESSES.Queue()
    process = PROCESSES.Process(target=target, args=(*args, answers))
    process.start()
    answer = answers.get(timeout=600)
    process.join()
    return answer


def forget_waiting(db: sa.Engine) -> None:
    """As it was before the callers came: what they asked for is gone."""
    with writing(db) as conn:
        waiting = sa.select(jobs.c.id).where(jobs.c.state == "queued")
        conn.execute(sa.delete(events).where(events.c.job_id.in_(waiting)))
        conn.execute(sa.delete(jobs).where(jobs.c.state == "queued"))


def enqueue(folder: Path, options: argparse.Namespace) -> Results:
    """Asking for jobs, over HTTP and without."""
    db = connect(f"sqlite:///{folder}/jobs.db", busy_timeout_s=120)
    secrets = [keys.make(db, f"caller {n}")[0] for n in range(options.callers)]
    server = Server(folder, NO_LIMIT, script=None)
    times: dict[str, list[tuple[list[float], float]]] = defaultdict(list)
    try:
        apart(over_http, server.address, secrets[:2], 5)
        for _ in range(options.rounds):
            for name, target, args in (
                ("studio.submit", in_process, (str(folder), options.callers)),
                ("POST /api/v1/jobs", over_http, (server.address, secrets)),
            ):
                forget_waiting(db)
                cpu = server.cpu_s()
                took, own = apart(target, *args, options.each)
                times[name].append((took, own or server.cpu_s() - cpu))
    finally:
        server.stop()
        forget_waiting(db)
        db.dispose()
    return {name: fastest(rounds, options.callers) for name, rounds in times.items()}


@contextmanager
def beside(target: Callable[..., None], *args: Any, answers: Any = None) -> Iterator[Any]:
    """A function in a process of its own while the block lasts: it is told to end by an event that it is given."""
    until = PROCESSES.Event()
    process = PROCESSES.Process(target=target, args=(*args, until, *([answers] if answers is not None else [])))
    process.start()
    try:
        yield process
    finally:
        until.set()


def streams(folder: Path, options: argparse.Namespace) -> Results:
    """Streams on running jobs, beside connections without any."""
    count, found = options.streams, dict[str, dict[str, float]]()
    running = Running(folder, count)
    server = Server(folder, NO_LIMIT, script=None)
    try:
        for name in ("warm-up", "idle connections", "event streams"):
            opened, times = PROCESSES.Semaphore(0), PROCESSES.Queue()
            before = server.idle_mb()
            some = running.ids[:10] if name == "warm-up" else running.ids
            of: tuple[Any, ...] = (api_load.idle, server.address, len(some), opened)
            if name != "idle connections":
                of = (api_load.follow, server.address, some, opened)
            with beside(*of, answers=None if name == "idle connections" else times) as process:
                for _ in some:
                    assert opened.acquire(timeout=60), "a stream did not open"
                time.sleep(2)
                cpu, began = server.cpu_s(), time.monotonic()
                time.sleep(options.seconds / 2)
                used = (server.cpu_s() - cpu) / (time.monotonic() - began)
                found[name] = {"kB_each": 1000 * (server.memory_mb() - before) / len(some), "cpu_idle": used}
                if name != "event streams":
                    continue
                changed: dict[tuple[str, int], float] = {}
                began, cpu = time.monotonic(), server.cpu_s()
                for number in range(1, max(int(options.seconds / BEAT_S), 2) + 1):
                    changed |= running.step(number)
                    time.sleep(max(began + number * BEAT_S - time.monotonic(), 0))
                time.sleep(1)
                found[name]["cpu_busy"] = (server.cpu_s() - cpu) / (time.monotonic() - began)
                found[name]["kB_each_later"] = 1000 * (server.memory_mb() - before) / len(some)
            if name != "idle connections":
                heard, _ = times.get(timeout=60)
                if name == "event streams":
                    late = [at - changed[job_id, step] for job_id, step, at in heard if (job_id, step) in changed]
                    found[name] |= {f"late_{part}": ms for part, ms in percentiles(late).items()}
                    found[name]["events_of_changes"] = len(late) / len(changed)
            process.join()
    finally:
        server.stop()
        running.end()
    del found["warm-up"]
    return found


def overhead(folder: Path, options: argparse.Namespace) -> Results:
    """An OpenAI call over its job."""
    db = connect(f"sqlite:///{folder}/jobs.db", busy_timeout_s=120)

    def created(job_id: str) -> tuple[float, float]:
        job = queue.get(db, job_id)
        assert job.finished_at is not None
        return job.created_at, job.finished_at

    found = {}
    server = Server(folder, NO_LIMIT, script=None)
    try:
        with instant_executor(folder):
            took = api_load.draw(server.address, "mini", options.calls, created)
            found["over an instant executor's job"] = percentiles(took)
        with executor(folder):
            took = api_load.draw(server.address, "mini-latent-diffusion", options.calls, created)
            found["over a real executor's job"] = percentiles(took)
    finally:
        server.stop()
        db.dispose()
    return found


def pages(folder: Path, options: argparse.Namespace) -> Results:
    """The pages' times alone, and with programs beside them."""
    db = connect(f"sqlite:///{folder}/jobs.db", busy_timeout_s=120)
    secrets = [keys.make(db, f"program {n}")[0] for n in range(10)]
    asked = argparse.Namespace(visitors=options.visitors, think=options.think, seconds=options.seconds)
    server = Server(folder, NO_LIMIT)
    seen: dict[str, list[list[float]]] = defaultdict(list)
    try:
        asyncio.run(benchmark_visitors.one_visitor(server))
        for _ in range(options.rounds):
            for name in ("pages alone", "pages beside programs"):
                took, errors = defaultdict[str, list[float]](list), Counter[str]()
                forget_waiting(db)
                followed = [
                    ask(db, "vqgan-clip", f"followed-{n}", {"prompt": "a followed job"}).id
                    for n in range(options.beside)
                ]
                with contextlib.ExitStack() as stack:
                    if name != "pages alone":
                        answers, times = PROCESSES.Queue(), PROCESSES.Queue()
                        of: tuple[Any, ...] = (api_load.busy, server.address, secrets, options.per_s)
                        stack.enter_context(beside(*of, answers=answers))
                        opened = PROCESSES.Semaphore(0)
                        of = (api_load.follow, server.address, followed, opened)
                        stack.enter_context(beside(*of, answers=times))
                    asyncio.run(benchmark_visitors.wave(server, folder, asked, took, errors))
                assert not errors, errors
                rows = ("passed over", "kB received", "refresh by itself")
                seen[name].append([s for row, some in took.items() if row not in rows for s in some])
                if name != "pages alone":
                    seen["the programs' calls"].append(answers.get(timeout=120))
                    times.get(timeout=120)
    finally:
        server.stop()
        forget_waiting(db)
        db.dispose()
    return {
        name: percentiles(min(rounds, key=lambda took: float(np.percentile(took, 95)))) for name, rounds in seen.items()
    }


PARTS: dict[str, Callable[[Path, argparse.Namespace], Results]] = {
    "streams": streams,
    "overhead": overhead,
    "pages": pages,
}


def table(title: str, found: Results) -> None:
    """Prints what a part has found: a row for each way, and the last beside the first."""
    print(f"\n{title}", flush=True)
    for name, values in found.items():
        print(f"  {name:32s} " + "  ".join(f"{key} {value:.3g}" for key, value in values.items()), flush=True)
    names = list(found)
    common = [key for key in found[names[0]] if found[names[0]][key] and all(key in found[name] for name in names)]
    if len(names) > 1:
        ratios = "  ".join(f"{key} x{found[names[1]][key] / found[names[0]][key]:.2f}" for key in common)
        print(f"  {names[1]} : {names[0]}   {ratios}", flush=True)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What the API costs, beside baselines in the same run.")
    parser.add_argument("--only", nargs="+", choices=["enqueue", *PARTS], default=["enqueue", *PARTS])
    parser.add_argument("--callers", type=int, default=50, help="callers at once that ask for jobs (default 50)")
    parser.add_argument("--each", type=int, default=10, help="jobs that each of them asks for (default 10)")
    parser.add_argument("--jobs", type=int, default=100_000, help="jobs in the large database (default 100000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the quietest one counts (default 3)")
    parser.add_argument("--streams", type=int, default=200, help="event streams open at once (default 200)")
    parser.add_argument("--calls", type=int, default=20, help="OpenAI calls (default 20)")
    parser.add_argument("--visitors", type=int, default=10, help="visitors of the pages (default 10)")
    parser.add_argument("--think", type=float, default=3.0, help="s between two actions of a visitor (default 3)")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="how long streams and pages are watched (default 20)"
    )
    parser.add_argument("--per-s", type=float, default=20.0, help="calls a second beside the pages (default 20)")
    parser.add_argument("--beside", type=int, default=20, help="event streams beside the pages (default 20)")
    parser.add_argument("--folder", type=Path, help="keep the large studio there; one that is there is used as it is")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there as well")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers and executors end as well
    print(machine())
    every: dict[str, Any] = {"machine": json.loads(machine())}
    with tempfile.TemporaryDirectory() as temporary:
        small, large = Path(temporary, "small"), options.folder or Path(temporary, "large")
        for folder, pictures in ((small, 2), (large, options.jobs)):
            needed = folder == small or "enqueue" in options.only or "pages" in options.only
            if needed and not (folder / "jobs.db").exists():
                folder.mkdir(parents=True, exist_ok=True)
                fill(folder, pictures, 0)
        if "enqueue" in options.only:
            for name, folder in (("empty", small), (f"{options.jobs} jobs", large)):
                every[f"enqueue, {name}"] = enqueue(folder, options)
                table(f"enqueue, {options.callers} callers, {name}", every[f"enqueue, {name}"])
        for name, part in PARTS.items():
            if name in options.only:
                every[name] = part(large if name == "pages" else small, options)
                table(name, every[name])
    if options.json:
        options.json.write_text(json.dumps(every, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
