"""The queue in figures, as a monitor reads them every few seconds: a few queries, none of which reads all jobs' rows.

At 100,000 jobs one look takes some 30 ms on SQLite: counts come off an index, times off the ends of indexes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from db.engine import AHEAD_S, clock, reading
from db.jobs import ENDED, State
from db.queue.estimate import newcomer_waits
from db.queue.workers import Worker, alive
from db.rules import host_rules
from db.schema import jobs, webhooks

RECENT_S = 900.0
MAX_RECENT = 200  # finished jobs of an engine that are looked at
MAX_KINDS = 40  # of failures that are told apart
OTHER = "other"


@dataclass(frozen=True)
class Recent:
    """The jobs of one engine that succeeded in the last RECENT_S, MAX_RECENT at most: s each waited, s each took."""

    waited: list[float]
    took: list[float]


@dataclass(frozen=True)
class Figures:
    """The queue at one moment. Times in s.

    jobs: how many, by engine and state. oldest_wait: of the job that has waited longest, None: none waits. next_wait:
    what somebody who has asked for nothing yet would be told, by engine; left out where it cannot be told. rate: steps
    a second of all running jobs, by engine. failures: jobs that have failed, by error_kind. webhooks: how many are
    waiting for their job's end, due, told and given_up.
    """

    jobs: dict[tuple[str, State], int]
    oldest_wait: float | None
    next_wait: dict[str, float]
    paused: bool
    executors: list[Worker]
    rate: dict[str, float]
    recent: dict[str, Recent]
    failures: dict[str, int]
    webhooks: dict[str, int]


def figures(db: sa.Engine, *, within_s: float = 30.0) -> Figures:
    """The queue now. within_s: executors that were not heard of for so long are not there."""
    with reading(db) as conn:
        now = clock(conn)
        counts = {
            (engine, State(state)): int(n)
            for engine, state, n in conn.execute(
                sa.select(jobs.c.engine, jobs.c.state, sa.func.count()).group_by(jobs.c.engine, jobs.c.state)
            )
        }
        oldest = conn.scalar(
            sa.select(jobs.c.created_at).where(jobs.c.state == State.QUEUED).order_by(jobs.c.id).limit(1)
        )
        workers = alive(conn, within_s)
        return Figures(
            jobs=counts,
            oldest_wait=None if oldest is None else max(now - oldest, 0.0),
            next_wait=newcomer_waits(conn, within_s=within_s),
            paused=host_rules.paused(conn),
            executors=workers,
            rate=_rates(conn),
            recent=_recent(conn, sorted({engine for engine, _ in counts}), now - RECENT_S),
            failures=_failures(conn),
            webhooks=_webhooks(conn),
        )


def _rates(conn: sa.Connection) -> dict[str, float]:
    total = sa.func.coalesce(sa.func.sum(jobs.c.steps_per_s), 0.0)
    rows = conn.execute(sa.select(jobs.c.engine, total).where(jobs.c.state == State.RUNNING).group_by(jobs.c.engine))
    return {engine: float(rate) for engine, rate in rows}


def _recent(conn: sa.Connection, engines: Collection[str], since: float) -> dict[str, Recent]:
    found: dict[str, Recent] = defaultdict(lambda: Recent([], []))
    columns = (jobs.c.engine, jobs.c.created_at, jobs.c.started_at, jobs.c.finished_at, jobs.c.ran_s)
    newest = [
        sa.select(*columns)
        .where(
            jobs.c.engine == engine,
            jobs.c.state == State.SUCCEEDED,
            jobs.c.finished_at.between(since, since + RECENT_S + AHEAD_S),
        )
        .order_by(jobs.c.finished_at.desc())
        .limit(MAX_RECENT)
        .subquery()
        for engine in engines
    ]
    if newest:
        for engine, created, started, finished, ran_s in conn.execute(
            sa.union_all(*(sa.select(one) for one in newest))
        ):
            # All slices but the last were before it started last.
            found[engine].waited.append(max(started - created - (ran_s or 0.0), 0.0))
            found[engine].took.append(max(finished - started, 0.0) + (ran_s or 0.0))
    return dict(found)


def _failures(conn: sa.Connection) -> dict[str, int]:
    kind, count = sa.func.coalesce(jobs.c.error_kind, OTHER), sa.func.count()
    rows = conn.execute(
        sa.select(kind, count).where(jobs.c.state == State.FAILED).group_by(kind).order_by(count.desc(), kind)
    ).all()
    found: Counter[str] = Counter()
    for n, (name, failed) in enumerate(rows):
        found[name if n < MAX_KINDS else OTHER] += int(failed)
    return dict(found)


def _webhooks(conn: sa.Connection) -> dict[str, int]:
    every, told, open_ = conn.execute(
        sa.select(sa.func.count(), sa.func.count(webhooks.c.told_at), sa.func.count(webhooks.c.due_at))
    ).one()
    due = conn.scalar(
        sa.select(sa.func.count())
        .select_from(webhooks.join(jobs, jobs.c.id == webhooks.c.job_id))
        .where(webhooks.c.due_at.is_not(None), jobs.c.state.in_(ENDED))
    )
    return {"waiting": open_ - (due or 0), "due": due or 0, "told": told, "given_up": every - told - open_}
