"""What the contract tests share: a job with only the fields a test is about, and the address for other processes."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from db import queue
from db.jobs import Job, State, new_id
from db.queue import Limits, NewJob


def add(db: sa.Engine, submitter: str = "ada", **fields: Any) -> Job:
    """Enqueue a job that is like every other but for `fields`."""
    usual: dict[str, Any] = {
        "engine": "vqgan-clip",
        "checkpoint": "mini",
        "batch_key": "vqgan-clip/mini/64x64",
        "prompt": "a red heart",
        "params": {"seed": 1},
        "total_steps": 10,
    }
    limits = Limits(**{name: fields.pop(name) for name in ("max_queued", "max_per_hour") if name in fields})
    return queue.enqueue(db, NewJob(**(usual | fields)), submitter=submitter, limits=limits)


def take(db: sa.Engine, worker_id: str = "w1", limit: int = 1, lease_s: float = 60.0, **fields: Any) -> list[Job]:
    """Claim with a lease long enough for any test."""
    return queue.claim(db, worker_id=worker_id, limit=limit, lease_s=lease_s, **fields)


def in_state(db: sa.Engine, state: State, worker_id: str = "w1") -> Job:
    """A job that has come to `state` the way a real one does."""
    job = add(db, batch_key=f"alone-{new_id()}")
    if state == State.QUEUED:
        return job
    (job,) = take(db, worker_id, batch_key=job.batch_key)
    if state == State.RUNNING:
        return job
    if state == State.SUCCEEDED:
        return queue.succeed(db, worker_id=worker_id, job_id=job.id, score=0.5)
    if state == State.FAILED:
        return queue.fail(db, worker_id=worker_id, job_id=job.id, kind="nan", message="The picture became NaN.")
    return queue.cancel_now(db, worker_id=worker_id, job_id=job.id)


def address(db: sa.Engine) -> str:
    """The URL another process connects to."""
    return db.url.set(query={k: v for k, v in db.url.query.items() if k == "host"}).render_as_string(False)
