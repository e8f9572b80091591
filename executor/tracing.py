"""The span of a job, made when an executor lets go of it: how long it waited, ran, and was stored."""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa

from db import queue
from db.jobs import ENDED, Job, State
from db.queue import PAUSED, TRACED
from telemetry import Traces

_WAITS = (State.QUEUED, "released", "lease_expired", "suspected", PAUSED)  # kinds of events after which a job waits


@dataclass(frozen=True)
class JobTraces:
    """Makes the spans of jobs from what the database says of them: nothing is kept while they run."""

    traces: Traces
    db: sa.Engine

    def ended(self, job: Job, left_at: float) -> None:
        """An attempt is over. job: as it was claimed; left_at: when it left the batch, in UTC s."""
        now, started = time.time(), job.started_at or job.created_at
        events = queue.events(self.db, job.id)
        is_ = queue.get(self.db, job.id)
        waits_since = max((e.at for e in events if e.kind in _WAITS and e.at <= started), default=job.created_at)
        asked = next((e.detail for e in events if e.kind == State.QUEUED and e.detail), None)
        if is_.worker_id not in (None, job.worker_id):
            outcome, end = "lost", now
        else:
            outcome, end = (str(is_.state) if is_.state in ENDED else "given back"), is_.finished_at or now
        around = self.traces.past(
            f"job {job.engine}",
            waits_since,
            end,
            within=asked and asked.removeprefix(TRACED),
            consumes=True,
            failed=is_.error_kind if outcome == State.FAILED else None,
            job=job.id,
            engine=job.engine,
            checkpoint=job.checkpoint,
            attempt=job.attempt,
            steps=is_.step,
            outcome=outcome,
        )
        left = min(max(left_at, started), end)
        for name, begin, until in (("queue", waits_since, started), ("run", started, left), ("store", left, end)):
            self.traces.past(name, begin, until, within=around)
