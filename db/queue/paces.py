"""What a step takes, learned from recent jobs: for the waits that are told, and for what a job would cost.

How long a step takes beside others is what waits are told by (`Pace`). What it costs is less: the time of the device
alone, without storing, as executor/turns.py counts it.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from db.engine import AHEAD_S, clock
from db.jobs import Job, State
from db.queue.workers import Worker
from db.schema import jobs

RECENT_JOBS = 20
MAX_AROUND = 200  # others that are looked at for who shared the device
MIN_STEPS = 10  # of a job that costs are told by: the first step of all takes longer
LIKELY_SHARE = 0.5
SHARES = [n / 10 for n in range(13)]
OVER_BUDGET = "over_budget"  # the error_kind of a job that has cost all it may


@dataclass(frozen=True)
class Pace:
    """s a step of one job takes alone, and which share of that each job beside it adds."""

    alone: float
    share: float

    def of(self, beside: float) -> float:
        """s a step takes where `beside` jobs share the device, itself included."""
        return self.alone * (1 + self.share * (beside - 1))


def fit(seen: Sequence[tuple[float, float]]) -> Pace:
    """The pace that explains (s a step, jobs that shared the device) best; a likely share where little is known."""

    def alone(share: float) -> float:
        return statistics.median(took / (1 + share * (beside - 1)) for took, beside in seen)

    def misfit(share: float) -> float:
        model = Pace(alone(share), share)
        error = statistics.fmean(abs(math.log(max(took, 1e-9) / max(model.of(beside), 1e-9))) for took, beside in seen)
        return error + 0.05 * abs(share - LIKELY_SHARE)

    best = min(SHARES, key=misfit)
    return Pace(alone(best), best)


@dataclass(frozen=True)
class Cost:
    """What a job costs in s of an executor that works on nothing else. sure: measured with the same models and size;
    else it is the least that it can be."""

    seconds: float
    sure: bool
    share: float  # which part of that each job beside it adds

    def together(self, jobs: int, places: Sequence[int]) -> float:
        """s that so many of these take on idle executors with so many places each."""
        each = math.ceil(jobs / max(len(places), 1))
        beside = min(each, max(places, default=1))
        return self.seconds * (1 + self.share * (beside - 1)) * math.ceil(each / beside)


@dataclass(frozen=True)
class Sample:
    """What a step of one recent job took: `took` s beside `beside` jobs, itself included; `cost` s of the device."""

    batch_key: str
    pixels: int | None
    took: float | None
    beside: float
    cost: float
    steps: int


@dataclass(frozen=True)
class Measured:
    """What is known of an engine: `pace`, None where no job of it has succeeded yet, and what it is known from."""

    pace: Pace | None
    samples: list[Sample]

    def cost(self, batch_key: str, pixels: int | None, steps: int) -> Cost | None:
        """What a job of so many steps would cost; None where nothing is known of these models."""
        share = self.pace.share if self.pace else 0.0
        samples = [one for one in self.samples if one.steps >= MIN_STEPS]
        same = [self._alone(one) for one in samples if one.batch_key == batch_key]
        if same:
            return Cost(_usual(same) * steps, True, share)
        sizes: dict[int, list[float]] = defaultdict(list)
        for one in samples:
            if pixels and one.pixels and _family(one.batch_key) == _family(batch_key):
                sizes[one.pixels].append(self._alone(one))
        if not pixels or not sizes:
            return None
        known = sorted((px, _usual(alone)) for px, alone in sizes.items())
        return Cost(_least(known, pixels) * steps, False, share)

    def _alone(self, one: Sample) -> float:
        share = self.pace.share if self.pace else 0.0
        return one.cost * one.beside / (1 + share * (one.beside - 1))


def _usual(seen: Sequence[float]) -> float:
    """The median; of less than three the least, since one that began with a cold device took longer."""
    return statistics.median(seen) if len(seen) > 2 else min(seen)


def _family(batch_key: str) -> str:
    """What a batch key says in front of the size: the engine and its models."""
    return batch_key.rpartition(" ")[0]


def _least(known: Sequence[tuple[int, float]], pixels: int) -> float:
    """s a step takes at least at this size. known: (px, s) of other sizes, ascending.

    A part of a step's work grows with the picture and a part does not: a larger picture takes no less, and a smaller
    one at least its share of the px. Between sizes, and beyond two of them, it is on the line through them.
    """
    first_px, first = known[0]
    if pixels <= first_px:
        return first * pixels / first_px
    if len(known) == 1:
        return first
    below = max((one for one in known[:-1] if one[0] <= pixels), default=known[0])
    above = min((one for one in known if one[0] > below[0]), default=known[-1])
    slope = max((above[1] - below[1]) / (above[0] - below[0]), 0.0)
    return below[1] + slope * (pixels - below[0])


_WHEN = ("worker_id", "started_at", "finished_at", "from_step", "step", "total_steps")
_WHAT = ("batch_key", "pixels", "spent_s")
_ENDED = (
    sa.select(*(jobs.c[name] for name in _WHEN + _WHAT))
    .where(jobs.c.finished_at.is_not(None))  # which the index of them holds alone
    .order_by(jobs.c.finished_at.desc())
    .limit(RECENT_JOBS)
)


def measure(conn: sa.Connection, engine: str, workers: Sequence[Worker], running: Sequence[Job]) -> Measured:
    """What the last RECENT_JOBS of the engine took, and what those that run have cost so far.

    workers: those that are there; running: all jobs that run, of other engines as well.
    """
    newest = _ENDED.where(jobs.c.engine == engine, jobs.c.state == State.SUCCEEDED)
    # What ended later than now did so before the clock was set back: it counts where nothing has ended since.
    until = jobs.c.finished_at <= clock(conn) + AHEAD_S
    rows = conn.execute(newest.where(until)).all() or conn.execute(newest).all()
    unfinished = _unfinished(conn, engine, running)
    if not rows:
        return Measured(None, unfinished)
    capacity = {worker.id: worker.places for worker in workers}
    since = min(row.started_at for row in rows)
    others = {engine} | {name for worker in workers for name in worker.engines}
    ended = conn.execute(
        sa.select(jobs.c.worker_id, jobs.c.started_at, jobs.c.finished_at)
        .where(jobs.c.engine.in_(sorted(others)), jobs.c.state == State.SUCCEEDED, jobs.c.finished_at >= since)
        .order_by(jobs.c.finished_at.desc())
        .limit(MAX_AROUND)
    ).all()
    around = [(o.worker_id, o.started_at, o.finished_at) for o in ended]
    around += [(o.worker_id, o.started_at, math.inf) for o in running]
    samples = []
    for row in rows:
        length = max(row.finished_at - row.started_at, 1e-6)
        shared = sum(
            max(min(row.finished_at, end) - max(row.started_at, begin), 0.0)
            for worker_id, begin, end in around
            if worker_id == row.worker_id
        )
        beside = min(max(shared / length, 1.0), capacity.get(row.worker_id, math.inf))
        took = length / max(row.total_steps - (row.from_step or 0), 1)  # in the last of its slices
        cost = took / beside if row.spent_s is None else row.spent_s / max(row.total_steps, 1)
        samples.append(Sample(row.batch_key, row.pixels, took, beside, cost, row.total_steps))
    return Measured(fit([(one.took, one.beside) for one in samples if one.took is not None]), samples + unfinished)


def _unfinished(conn: sa.Connection, engine: str, running: Sequence[Job]) -> list[Sample]:
    """What is known from jobs that have not succeeded, so that a size which never fits the budget is known as well."""
    over = _ENDED.where(
        jobs.c.engine == engine, jobs.c.state == State.FAILED, jobs.c.error_kind == OVER_BUDGET, jobs.c.spent_s > 0
    )
    found = [(row.batch_key, row.pixels, row.spent_s, row.step) for row in conn.execute(over)]
    found += [(job.batch_key, job.pixels, job.spent_s, job.step) for job in running if job.engine == engine]
    return [Sample(key, pixels, None, 1.0, spent / step, step) for key, pixels, spent, step in found if spent and step]
