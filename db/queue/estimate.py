"""How long until a waiting job starts: the queue, played forward as the executors would serve it.

Executors advance the jobs in their places together, so a step takes longer the more jobs share the device. How much,
is learned for every engine from recent jobs: a step takes a * (1 + s * (k - 1)) s beside k - 1 others. Visitors who
come later take their turns before somebody who has several jobs waiting; the recent rate of requests says how many.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from db.engine import AHEAD_S, clock, reading
from db.errors import UnknownJob
from db.jobs import Job, State, from_row, microseconds, oldest_id
from db.queue.fair_order import last_served, last_turns, line_in_order, newest_stamp
from db.queue.simulation import Lane, Pace, Waiting, fit, play
from db.queue.workers import Worker, alive
from db.rules import host_rules
from db.schema import jobs

RECENT_JOBS = 20
MAX_AROUND = 200  # others that are looked at for who shared the device
NEWCOMERS_S = 600.0  # the rate of requests is that of so long
NEW_LINES = 0.25  # the share of them that has nothing waiting yet; fits scripts/simulate_evening.py best
MAX_NEWCOMERS = 0.5  # of all places they may be thought to take


@dataclass(frozen=True)
class Place:
    """Where a job stands: 1 is next, 0 where it no longer waits; wait in s until it starts, None: not known."""

    position: int
    wait: float | None


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
    """As `position_and_wait`, of several jobs at once: the queue is played forward once for all.

    skip_unknown: those that are not there are left out; else UnknownJob is raised.
    """
    with reading(db) as conn:
        states = _states(conn, job_ids, skip_unknown)
        found = {job_id: Place(0, 0.0) for job_id in states}
        wanted = {job_id for job_id, state in states.items() if state == State.QUEUED}
        if not wanted:
            return found
        line = _line(conn)
        positions = {job.id: n for n, job in enumerate(line, start=1) if job.id in wanted}
        workers = [] if host_rules.paused(conn) else alive(conn, within_s)
        waits = _waits(conn, line, workers, {job_id: line[n - 1] for job_id, n in positions.items()})
    return found | {job_id: Place(position, waits.get(job_id)) for job_id, position in positions.items()}


def newcomer_waits(conn: sa.Connection, *, within_s: float = 30.0) -> dict[str, float]:
    """The wait in s that somebody who has asked for nothing yet would be told, by engine that executors serve.

    Engines whose wait would not be told are left out, see `position_and_wait`.
    """
    if host_rules.paused(conn):
        return {}
    workers, line, now = alive(conn, within_s), _line(conn), _now(conn)
    # They take a place and no time, so that one does not make the others wait.
    ask = {name: Waiting(name, name, name, 0, f"newcomer:{name}", 0, now) for one in workers for name in one.engines}
    waits = _waits(conn, [*line, *ask.values()], workers, ask)
    return {name: max(wait, 0.0) for name, wait in waits.items()}


def _line(conn: sa.Connection) -> list[Waiting]:
    return [
        Waiting(
            r.id, r.engine, r.batch_key, r.total_steps, r.submitter, r.priority, microseconds(r.id) / 1e6, r.address
        )
        for r in line_in_order(conn)
    ]


def _now(conn: sa.Connection) -> float:
    """Now as stamps tell it, in s: they may be ahead of the clock, where it was set back."""
    return max(clock(conn), microseconds(newest_stamp(conn)) / 1e6)


# Made once: making a statement takes longer than running it.
_STATES = sa.select(jobs.c.id, jobs.c.state).where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)))


def _states(conn: sa.Connection, job_ids: Sequence[str], skip_unknown: bool) -> dict[str, str]:
    found = {}
    for i in range(0, len(job_ids), 500):
        rows = conn.execute(_STATES, {"ids": job_ids[i : i + 500]})
        found.update({row.id: row.state for row in rows})
    for job_id in job_ids:
        if job_id not in found and not skip_unknown:
            raise UnknownJob(job_id)
    return found


def _waits(
    conn: sa.Connection, line: list[Waiting], workers: list[Worker], wanted: dict[str, Waiting]
) -> dict[str, float]:
    """The wait of those jobs whose wait can be told."""
    if not workers:
        return {}
    served = {engine for worker in workers for engine in worker.engines}
    running = [from_row(row) for row in conn.execute(sa.select(*jobs.c).where(jobs.c.state == State.RUNNING))]
    engines = {job.engine for job in line} | {job.engine for job in running}
    paces = {engine: pace for engine in engines if (pace := _pace(conn, engine, workers, running)) is not None}
    known = {job_id for job_id, job in wanted.items() if job.engine in served and job.engine in paces}
    if not known:
        return {}
    usual = Pace(statistics.median(p.alone for p in paces.values()), statistics.median(p.share for p in paces.values()))
    paces |= {engine: usual for engine in engines if engine not in paces}
    now = clock(conn)
    lanes = [_lane(worker, running, paces, now) for worker in workers]
    last = {who: us / 1e6 for who, us in last_served(conn, sorted({job.submitter for job in line})).items()}
    turns = {address: [us / 1e6 for us in some] for address, some in last_turns(conn).items()}
    starts = play(line, lanes, paces, known, last, _now(conn), turns)
    (requests, size), ahead = _newcomers(conn, now), _ahead_of_own(line)
    waits = {}
    for job_id, (wait, before) in starts.items():
        # Newcomers pass the half of one's own jobs, on average: the line is worked off meanwhile.
        passing = min(size, ahead[job_id] / 2)
        taken = min(NEW_LINES * requests * passing * wait / max(before, 1), MAX_NEWCOMERS)
        waits[job_id] = wait / (1 - taken)
    return waits


def _ahead_of_own(line: list[Waiting]) -> dict[str, int]:
    """How many jobs of the same visitor wait before each."""
    seen: Counter[str] = Counter()
    ahead = {}
    for job in line:
        ahead[job.id] = seen[job.submitter]
        seen[job.submitter] += 1
    return ahead


def _lane(worker: Worker, running: list[Job], paces: dict[str, Pace], now: float) -> Lane:
    here = [job for job in running if job.worker_id == worker.id]
    lane = Lane(worker.places, frozenset(worker.engines))
    for job in here:
        pace = paces[job.engine]
        if job.steps_per_s:
            alone = 1 / job.steps_per_s / (1 + pace.share * (len(here) - 1))
            step = job.step + max(now - worker.beat_at, 0.0) * job.steps_per_s
        else:
            alone = pace.alone
            step = max(now - (job.started_at or now), 0.0) / pace.of(len(here))
        lane.take(job.batch_key, max(job.total_steps - step, 0.0), Pace(alone, pace.share))
    return lane


def _newcomers(conn: sa.Connection, now: float) -> tuple[float, float]:
    """Visitors a second who ask for something, and how many jobs each asks for."""
    row = conn.execute(
        sa.select(sa.func.count(), sa.func.count(sa.distinct(jobs.c.submitter))).where(
            jobs.c.id > oldest_id(now - NEWCOMERS_S),
            # Ids are ahead of a clock that was set back: of those that are, only the ones of this time.
            jobs.c.created_at.between(now - NEWCOMERS_S, now + AHEAD_S),
        )
    ).one()
    return row[1] / NEWCOMERS_S, row[0] / max(row[1], 1)


def _pace(conn: sa.Connection, engine: str, workers: list[Worker], running: list[Job]) -> Pace | None:
    """What a step has taken in the last RECENT_JOBS of the engine that succeeded, beside how many others."""
    newest = (
        sa.select(jobs.c.worker_id, jobs.c.started_at, jobs.c.finished_at, jobs.c.total_steps)
        .where(jobs.c.engine == engine, jobs.c.state == State.SUCCEEDED)
        .order_by(jobs.c.finished_at.desc())
        .limit(RECENT_JOBS)
    )
    # What ended later than now did so before the clock was set back: it counts where nothing has ended since.
    until = jobs.c.finished_at <= clock(conn) + AHEAD_S
    rows = conn.execute(newest.where(until)).all() or conn.execute(newest).all()
    if not rows:
        return None
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
    seen = []
    for row in rows:
        length = max(row.finished_at - row.started_at, 1e-6)
        shared = sum(
            max(min(row.finished_at, end) - max(row.started_at, begin), 0.0)
            for worker_id, begin, end in around
            if worker_id == row.worker_id
        )
        beside = min(max(shared / length, 1.0), capacity.get(row.worker_id, math.inf))
        seen.append((length / row.total_steps, beside))
    return fit(seen)
