"""An evening of 200 visitors in a minute or two: how far the estimated waits are from what became of them.

    python scripts/simulate_evening.py
    python scripts/simulate_evening.py --visitors 200 --hours 2 --executors 2 --seed 7

The queue is the real one, on an empty SQLite file; only its clock is simulated, and the executors compute nothing.
Visitors come in bursts, ask for 1 to 8 pictures of one of four engines, look, and ask again. Every estimate that a
visitor would have seen (at the moment of asking, then every minute) is compared with when the job did start.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import random
import statistics
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import db.engine
import db.jobs
from db import queue
from db.errors import TooManyQueued
from db.jobs import Job
from db.queue import workers
from db.queue.enqueueing import Limits, NewJob
from db.queue.fair_order import SAME_BATCH_S
from db.sheets import submissions
from db.sheets.submissions import NewSheet

PLACES = 4
IDLE_S = 0.5  # as executor/loop.py
BEAT_S = 5.0
LOOK_S = 60.0
LONG_STEPS = 4000
SLICE_S, SHARE = 120.0, 0.5
STORING_S = 1.5  # upscaling, the film, the files; the place is free meanwhile

# engine: its share of the requests, steps, s a step of one job takes, share of that which each further job adds.
ENGINES = {
    "vqgan-clip": (0.6, 24, 0.12, 0.6),
    "latent-diffusion": (0.2, 20, 0.25, 0.7),
    "guided-diffusion": (0.1, 50, 0.20, 0.8),
    "upscale": (0.1, 4, 0.60, 1.0),
}


class Clock:
    """Stands in for the module `time` where the queue asks for it."""

    def __init__(self) -> None:
        self.now = 1.8e9

    def time(self) -> float:
        """UTC s."""
        return self.now

    def time_ns(self) -> int:
        """UTC ns."""
        return int(self.now * 1e9)


@dataclass
class Executor:
    """One executor: what it works on, and since when it may take any batch."""

    name: str
    speed: float
    active: dict[str, Job] = field(default_factory=dict)
    steps: Counter[str] = field(default_factory=Counter)
    began: dict[str, float] = field(default_factory=dict)
    turn_at: float = -math.inf
    claim_at: float = -math.inf
    freed: bool = False
    beat_at: float = -math.inf
    look_at: float = -math.inf
    from_: dict[str, int] = field(default_factory=dict)


@dataclass
class Evening:
    """The state of the simulation and what it has seen. `looks`: job -> (when, estimate in s)."""

    base: sa.Engine
    clock: Clock
    draw: random.Random
    looks: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    asked: dict[str, float] = field(default_factory=dict)
    started: dict[str, float] = field(default_factory=dict)
    firsts: list[str] = field(default_factory=list)
    unknown: int = 0
    refused: int = 0
    longest: int = 0
    slices: int = 0
    presses: list[str] = field(default_factory=list)
    agenda: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    order: itertools.count[int] = field(default_factory=itertools.count)

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Put something on the agenda."""
        heapq.heappush(self.agenda, (when, next(self.order), what))

    def look(self, job_id: str) -> None:
        """A visitor looks at the estimate, and again later while the job waits."""
        if job_id in self.started:
            return
        position, wait = queue.position_and_wait(self.base, job_id)
        if position == 0:
            return
        self.longest = max(self.longest, position)
        if wait is None:
            self.unknown += 1
        else:
            self.looks[job_id].append((self.clock.now, wait))
        self.at(self.clock.now + LOOK_S, lambda: self.look(job_id))

    def ask(self, visitor: str, left: int) -> None:
        """A visitor asks for one to eight pictures, and later for more."""
        draw = self.draw
        engine = draw.choices(list(ENGINES), [share for share, *_ in ENGINES.values()])[0]
        count = 1 if engine == "upscale" else draw.choices([1, 2, 4, 8], [55, 15, 20, 10])[0]
        steps = (
            LONG_STEPS
            if visitor in self.presses
            else ENGINES[engine][1] * (draw.choice([1, 1, 1, 2]) if engine != "upscale" else 1)
        )
        new = NewJob(
            engine=engine,
            checkpoint="mini",
            batch_key=f"{engine} {draw.choice(['64x64', '64x64', '96x64'])}",
            prompt="a red heart",
            params={"prompt": "a red heart"},
            total_steps=steps,
        )
        wanted = [(str(n), new) for n in range(count)]
        try:
            sheet = NewSheet(kind="candidates", prompt=new.prompt, wanted=wanted)
            made = submissions.submit(self.base, sheet, submitter=visitor, limits=Limits(max_queued=50))[1]
        except TooManyQueued:
            self.refused += 1
            made = []
        self.firsts += [job.id for job in made[:1]]
        for job in made:
            self.asked[job.id] = self.clock.now
            self.look(job.id)
        if left > 1:
            self.at(self.clock.now + 20 + draw.expovariate(1 / 120), lambda: self.ask(visitor, left - 1))

    def round(self, executor: Executor) -> None:
        """One step of everything an executor works on; then the next."""
        self._make_room(executor)
        self._fill(executor)
        batches: dict[str, list[Job]] = defaultdict(list)
        for job in executor.active.values():
            batches[job.batch_key].append(job)
        took = 0.0
        for batch in batches.values():
            _, _, alone, further = ENGINES[batch[0].engine]
            took += alone * (1 + further * (len(batch) - 1)) * executor.speed * self.draw.lognormvariate(0, 0.15)
        took = took or 0.5
        self.at(self.clock.now + took, lambda: self._end_round(executor))

    def _end_round(self, executor: Executor) -> None:
        now = self.clock.now
        for job in list(executor.active.values()):
            executor.steps[job.id] += 1
            if executor.steps[job.id] >= job.total_steps:
                del executor.active[job.id]
                executor.freed = True
                self.at(now + STORING_S, lambda job=job: self._store(executor, job))  # type: ignore[misc]
        if now - executor.beat_at >= BEAT_S:
            executor.beat_at = now
            workers.beat(self.base, executor.name, f"{len(executor.active)} jobs")
            for job in executor.active.values():
                step = executor.steps[job.id]
                pace = (step - executor.from_[job.id]) / max(now - executor.began[job.id], 1e-3)
                queue.heartbeat(
                    self.base, worker_id=executor.name, job_id=job.id, step=step, steps_per_s=pace, lease_s=1e6
                )
        self.round(executor)

    def _store(self, executor: Executor, job: Job) -> None:
        queue.succeed(self.base, worker_id=executor.name, job_id=job.id, score=0.3)

    def _make_room(self, executor: Executor) -> None:
        """As executor/turns.py, once a second: who has had a slice makes room."""
        now = self.clock.now
        if len(executor.active) < PLACES or now < executor.look_at:
            return
        executor.look_at = now + 1.0
        ready = [job.id for job in executor.active.values() if now - executor.began[job.id] >= SLICE_S]
        chosen = queue.to_make_room(
            self.base, worker_id=executor.name, engines=list(ENGINES), ready=ready, places=PLACES
        )
        for job_id in chosen:
            del executor.active[job_id]
            step = executor.steps.pop(job_id)
            queue.release(self.base, worker_id=executor.name, job_id=job_id, step=step, slice_over=True)
            executor.freed, executor.turn_at = True, -math.inf
            self.slices += 1

    def _fill(self, executor: Executor) -> None:
        free = PLACES - len(executor.active)
        if free < 1 or (self.clock.now < executor.claim_at and not executor.freed):
            return
        executor.claim_at, executor.freed = self.clock.now + IDLE_S, False
        claimed: list[Job] = []
        if executor.active and self.clock.now - executor.turn_at < SAME_BATCH_S:
            keys = Counter(job.batch_key for job in executor.active.values())
            claimed = self._claim(executor, free, keys.most_common(1)[0][0])
        if not claimed:
            executor.turn_at = self.clock.now
            claimed = self._claim(executor, free, None)
        for job in claimed:
            executor.active[job.id] = job
            executor.began[job.id] = self.clock.now
            executor.steps[job.id] = executor.from_[job.id] = job.step
            self.started.setdefault(job.id, self.clock.now)

    def _claim(self, executor: Executor, free: int, batch_key: str | None) -> list[Job]:
        return queue.claim(
            self.base, worker_id=executor.name, limit=free, batch_key=batch_key, share=SHARE, lease_s=1e6
        )


def simulate(visitors: int, hours: float, executors: int, seed: int, folder: Path, presses: int = 0) -> Evening:
    """Run the evening until the last visitor has been served."""
    clock = Clock()
    base = db.engine.connect(f"sqlite:///{folder}/jobs.db")
    for module in (db.engine, db.jobs):
        vars(module)["time"] = clock
    evening = Evening(base, clock, random.Random(seed))
    evening.presses = [f"visitor-{n}" for n in range(presses)]
    draw, begin = evening.draw, clock.now
    for n in range(executors):
        executor = Executor(f"executor-{n}", draw.uniform(0.9, 1.2))
        workers.register(
            evening.base,
            worker_id=executor.name,
            device="cpu",
            engines=list(ENGINES),
            places=PLACES,
            hostname="here",
            pid=n,
            slice_s=SLICE_S,
            share=SHARE,
        )
        evening.at(begin, lambda executor=executor: evening.round(executor))  # type: ignore[misc]
    talks = [begin + hours * 3600 * share for share in (0.05, 0.3, 0.55)]
    for n in range(visitors):
        # Half of them come when a talk has ended, the others at any time.
        burst = draw.choice(talks) + abs(draw.gauss(0, 300))
        at = burst if draw.random() < 0.5 else begin + draw.uniform(0, hours * 3600)
        requests = min(1 + int(draw.expovariate(1 / 2)), 8)
        evening.at(at, lambda n=n, requests=requests: evening.ask(f"visitor-{n}", requests))  # type: ignore[misc]
    last = begin + hours * 3600
    while evening.agenda:
        when, _, what = heapq.heappop(evening.agenda)
        clock.now = max(clock.now, when)
        what()
        if clock.now > last and len(evening.started) == len(evening.asked):
            break
    return evening


def report(evening: Evening) -> str:
    """What was promised against what came, in lines of text."""
    first: list[tuple[float, float]] = []
    later: list[tuple[float, float]] = []
    for job_id, looks in evening.looks.items():
        for n, (at, estimate) in enumerate(looks):
            (later if n else first).append((estimate, evening.started[job_id] - at))
    waits = sorted(evening.started[job_id] - at for job_id, at in evening.asked.items())
    firsts = sorted(evening.started[job_id] - evening.asked[job_id] for job_id in evening.firsts)
    lines = [
        f"{len(waits)} jobs, {evening.refused} requests refused, longest line {evening.longest}; waited: median "
        f"{statistics.median(waits):.0f} s, p90 {waits[int(0.9 * len(waits))]:.0f} s, most {waits[-1]:.0f} s",
        f"the first picture of a request: median {statistics.median(firsts):.0f} s, "
        f"p90 {firsts[int(0.9 * len(firsts))]:.0f} s, most {firsts[-1]:.0f} s",
        f"{evening.slices} times a long job made room for others",
        f"{evening.unknown} looks before anything was known of the engine's pace",
    ]
    for name, pairs in (("on asking", first), ("later looks", later), ("all", first + later)):
        lines.append(f"{name}: {_errors(pairs)}")
    return "\n".join(lines)


def _errors(pairs: list[tuple[float, float]]) -> str:
    long = [(estimate, true) for estimate, true in pairs if true >= 10]
    relative = sorted(abs(estimate - true) / true for estimate, true in long)
    signed = statistics.median((estimate - true) / true for estimate, true in long)
    near = sum(error <= 0.25 for error in relative) / len(relative)
    short = statistics.median(abs(e - t) for e, t in pairs if t < 10) if len(long) < len(pairs) else 0.0
    return (
        f"{len(long)} waits of 10 s or more: median relative error {statistics.median(relative):.0%}, "
        f"p90 {relative[int(0.9 * len(relative))]:.0%}, within a quarter {near:.0%}, median bias {signed:+.0%}; "
        f"{len(pairs) - len(long)} shorter ones: median error {short:.1f} s"
    )


def main(argv: Any = None) -> int:
    """Simulate and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--visitors", type=int, default=200)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--executors", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--presses", type=int, default=0, help="visitors who ask for pictures of LONG_STEPS steps")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        evening = simulate(args.visitors, args.hours, args.executors, args.seed, Path(folder), args.presses)
        print(report(evening))
        evening.base.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
