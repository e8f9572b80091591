"""How long until a waiting job starts: the queue, played forward as the executors would serve it.

Executors advance the jobs in their places together, so a step takes longer the more jobs share the device. How much,
is learned for every engine from recent jobs: a step takes a * (1 + s * (k - 1)) s beside k - 1 others. Visitors who
come later take their turns before somebody who has several jobs waiting; the recent rate of requests says how many.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from db.engine import AHEAD_S, clock, reading
from db.errors import UnknownJob
from db.jobs import State, from_row, microseconds, oldest_id
from db.queue import shares
from db.queue.fair_order import last_served, last_turns, line_in_order, newest_stamp
from db.queue.paces import LIKELY_SHARE, Cost, Pace, measure
from db.queue.simulation import Lane, Waiting, play
from db.queue.workers import Worker, alive
from db.rules import host_rules
from db.schema import jobs

NEWCOMERS_S = 600.0  # the rate of requests is that of so long
NEW_LINES = 0.25  # the share of them that has nothing waiting yet; fits scripts/simulate_evening.py best
MAX_NEWCOMERS = 0.5  # of all places they may be thought to take


@dataclass(frozen=True)
class Place:
    """Where a job stands: 1 is next, 0 where it no longer waits; wait in s until it starts, None: not known.

    cost: what all of it costs, None: not known, or it no longer waits.
    """

    position: int
    wait: float | None
    cost: Cost | None = None


def position_and_wait(db: sa.Engine, job_id: str, *, within_s: float = 30.0) -> tuple[int, float | None]:
    """Place in the queue (1 is next) and the estimated wait in s until it starts.

    A job that no longer waits has position 0 and wait 0. The wait is None while no executor that serves the
    job's engine has been seen for `within_s`, while the host has paused the queue, or where no job of that engine has
    ever succeeded. Raises UnknownJob.
    """
    place = places(db, [job_id], within_s=within_s)[job_id]
    return place.position, place.wait


def places(
    db: sa.Engine, job_ids: Sequence[str], *, within_s: float = 30.0, skip_unknown: bool = False
) -> dict[str, Place]:
    """As `position_and_wait`, of several jobs at once, with their costs: the queue is played forward once for all.

    skip_unknown: those that are not there are left out; else UnknownJob is raised.
    """
    with reading(db) as conn:
        states = _states(conn, job_ids, skip_unknown)
        found = {job_id: Place(0, 0.0) for job_id in states}
        wanted = {job_id for job_id, state in states.items() if state == State.QUEUED}
        if not wanted:
            return found
        return found | _in_line(conn, wanted, within_s)


def first_places(db: sa.Engine, most: int, *, within_s: float = 30.0) -> dict[str, Place]:
    """As `places`, of so many jobs that wait, those that come first."""
    with reading(db) as conn:
        return _in_line(conn, most, within_s)


def _in_line(conn: sa.Connection, wanted: set[str] | int, within_s: float) -> dict[str, Place]:
    """Places of these jobs that wait, or of the first so many."""
    rows = list(line_in_order(conn))
    look = _Look(conn, within_s, {row.engine for row in rows})
    told = [(n, row) for n, row in enumerate(rows) if (n < wanted if isinstance(wanted, int) else row.id in wanted)]
    line = [_waiting(row) for row in rows]
    waits = {} if host_rules.paused(conn) else look.waits(line, {row.id: line[n] for n, row in told})
    alike = {(row.engine, row.batch_key, row.pixels, row.total_steps) for _n, row in told}
    costs = {(engine, *what): look.measured[engine].cost(*what) for engine, *what in alike}
    return {
        row.id: Place(n + 1, waits.get(row.id), costs[row.engine, row.batch_key, row.pixels, row.total_steps])
        for n, row in told
    }


def time_left(db: sa.Engine, *, within_s: float = 30.0) -> dict[str, float]:
    """In how many s each running job has made its last step, as far as its speed is known. Jobs that share a device
    are faster when the first of them has ended, unless another one waits for its place."""
    with reading(db) as conn:
        line = [] if host_rules.paused(conn) else list(line_in_order(conn))
        look = _Look(conn, within_s, ())
        paces = {engine: known.pace or Pace(1.0, LIKELY_SHARE) for engine, known in look.measured.items()}
        left: dict[str, float] = {}
        for worker in look.workers:
            refilled = any(row.engine in worker.engines for row in line)
            left |= look.lane(worker, paces).ends(refilled)
    pace = {job.id: job.steps_per_s for job in look.running if job.steps_per_s}
    return {
        job.id: left.get(job.id, (job.total_steps - job.step) / pace[job.id]) for job in look.running if job.id in pace
    }


def newcomer_waits(conn: sa.Connection, *, within_s: float = 30.0) -> dict[str, float]:
    """The wait in s that somebody who has asked for nothing yet would be told, by engine that executors serve.

    Engines whose wait would not be told are left out, see `position_and_wait`.
    """
    if host_rules.paused(conn):
        return {}
    line, now = [_waiting(row) for row in line_in_order(conn)], _now(conn)
    look = _Look(conn, within_s, {job.engine for job in line}, served=True)
    # They take a place and no time, so that one does not make the others wait.
    ask = {name: Waiting(name, name, name, 0, f"newcomer:{name}", 0, now) for name in look.served}
    waits = look.waits([*line, *ask.values()], ask)
    return {name: max(wait, 0.0) for name, wait in waits.items()}


def cost(
    db: sa.Engine,
    engine: str,
    batch_key: str,
    pixels: int | None,
    total_steps: int,
    jobs: int = 1,
    *,
    within_s: float = 30.0,
) -> tuple[Cost, float] | None:
    """What a job that is not yet asked for would cost, and how many s so many of them take where no others are.

    None where nothing is known of such jobs. See `Measured.cost`, and `NewJob` for what it is told of them.
    """
    with reading(db) as conn:
        look = _Look(conn, within_s, {engine})
        found = look.measured[engine].cost(batch_key, pixels, total_steps)
        if found is None:
            return None
        return found, found.together(jobs, [one.places for one in look.workers if engine in one.engines])


def _waiting(row: Any) -> Waiting:
    """A row of the line. What has made steps already has those that are left, at the pace that it had."""
    paused = row.turn is not None
    alone = row.spent_s / row.step if row.spent_s and row.step else None
    left = max(row.total_steps - row.step, 1)
    arrived = microseconds(row.id) / 1e6
    of = row.id, row.engine, row.batch_key, left, row.submitter, row.priority, arrived, row.address
    return Waiting(*of, paused=paused, alone=alone, suspect=row.suspect_step is not None)


def _now(conn: sa.Connection) -> float:
    """Now as stamps tell it, in s: they may be ahead of the clock, where it was set back."""
    return max(clock(conn), microseconds(newest_stamp(conn)) / 1e6)


# Made once: making a statement takes longer than running it.
_STATES = sa.select(jobs.c.id, jobs.c.state).where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)))
_RUNNING = sa.select(*jobs.c).where(jobs.c.state == State.RUNNING)
_NEWCOMERS = sa.select(sa.func.count(), sa.func.count(sa.distinct(jobs.c.submitter))).where(
    jobs.c.id > sa.bindparam("oldest"),
    # Ids are ahead of a clock that was set back: of those that are, only the ones of this time.
    jobs.c.created_at.between(sa.bindparam("since"), sa.bindparam("until")),
)


def _states(conn: sa.Connection, job_ids: Sequence[str], skip_unknown: bool) -> dict[str, str]:
    found = {}
    for i in range(0, len(job_ids), 500):
        rows = conn.execute(_STATES, {"ids": job_ids[i : i + 500]})
        found.update({row.id: row.state for row in rows})
    for job_id in job_ids:
        if job_id not in found and not skip_unknown:
            raise UnknownJob(job_id)
    return found


class _Look:
    """The queue as it is now: who is there, what runs, and what is known of these engines and of those that run.

    served: of all that executors serve as well.
    """

    def __init__(self, conn: sa.Connection, within_s: float, engines: Collection[str], served: bool = False) -> None:
        self.conn, self.now = conn, clock(conn)
        self.workers = alive(conn, within_s)
        self.served = sorted({engine for worker in self.workers for engine in worker.engines})
        rows = conn.execute(_RUNNING).all()
        self.running, self.addresses = [from_row(row) for row in rows], {row.id: row.address for row in rows}
        self.lease_s = max((row.lease_s for row in rows if row.lease_s), default=math.inf)
        wanted = {*engines, *(job.engine for job in self.running), *(self.served if served else ())}
        self.measured = {engine: measure(conn, engine, self.workers, self.running) for engine in sorted(wanted)}

    def waits(self, line: list[Waiting], wanted: dict[str, Waiting]) -> dict[str, float]:
        """The wait of those jobs whose wait can be told."""
        if not self.workers:
            return {}
        paces = {engine: known.pace for engine, known in self.measured.items() if known.pace is not None}
        known = {job_id for job_id, job in wanted.items() if job.engine in self.served and job.engine in paces}
        if not known:
            return {}
        usual = statistics.median(p.alone for p in paces.values()), statistics.median(p.share for p in paces.values())
        engines = {job.engine for job in line} | {job.engine for job in self.running}
        paces |= {engine: Pace(*usual) for engine in engines if engine not in paces}
        lanes = [self.lane(worker, paces) for worker in self.workers]
        last = last_served(self.conn, sorted({job.submitter for job in line}))
        served = {who: us / 1e6 for who, us in last.items()}
        most = shares.most_of(self.workers, min((w.share for w in self.workers if w.share), default=None))
        turns = {at: {i: us / 1e6 for i, us in some.items()} for at, some in last_turns(self.conn).items()}
        most_ = math.inf if most is None else most
        starts = play(line, lanes, paces, known, served, _now(self.conn), turns=turns, most=most_)
        (requests, size), ahead = _newcomers(self.conn, self.now), _ahead_of_own(line)
        waits = {}
        for job_id, (wait, before) in starts.items():
            # Newcomers pass the half of one's own jobs, on average: the line is worked off meanwhile.
            passing = min(size, ahead[job_id] / 2)
            taken = min(NEW_LINES * requests * passing * wait / max(before, 1), MAX_NEWCOMERS)
            waits[job_id] = wait / (1 - taken)
        return waits

    def lane(self, worker: Worker, paces: Mapping[str, Pace]) -> Lane:
        """An executor with what runs on it. paces: by engine."""
        now = self.now
        here = [job for job in self.running if job.worker_id == worker.id]
        lane = Lane(worker.places, frozenset(worker.engines), slice_s=worker.slice_s or math.inf)
        lane.at, lane.lease_s = (worker.hostname, worker.device), self.lease_s
        for job in here:
            pace = paces[job.engine]
            if job.steps_per_s:
                alone = 1 / job.steps_per_s / (1 + pace.share * (len(here) - 1))
                step = job.step + max(now - worker.beat_at, 0.0) * job.steps_per_s
            else:
                alone = pace.alone
                step = max(now - (job.started_at or now), 0.0) / pace.of(len(here))
            left, had = max(job.total_steps - step, 0.0), max(now - (job.started_at or now), 0.0)
            arrived = microseconds(job.id) / 1e6
            known = Waiting(
                job.id,
                job.engine,
                job.batch_key,
                left,
                job.submitter,
                job.priority,
                arrived,
                self.addresses.get(job.id),
                suspect=job.suspect_step is not None,
            )
            lane.take(job.batch_key, left, Pace(alone, pace.share), known, had)
        return lane


def _ahead_of_own(line: list[Waiting]) -> dict[str, int]:
    """How many jobs of the same visitor wait before each."""
    seen: Counter[str] = Counter()
    ahead = {}
    for job in line:
        ahead[job.id] = seen[job.submitter]
        seen[job.submitter] += 1
    return ahead


def _newcomers(conn: sa.Connection, now: float) -> tuple[float, float]:
    """Visitors a second who ask for something, and how many jobs each asks for."""
    since = now - NEWCOMERS_S
    row = conn.execute(_NEWCOMERS, {"oldest": oldest_id(since), "since": since, "until": now + AHEAD_S}).one()
    return row[1] / NEWCOMERS_S, row[0] / max(row[1], 1)
