"""What an executor that stops does with the jobs it holds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

import sqlalchemy as sa

from db import queue
from db.errors import DbError
from db.queue import workers
from executor.context import Context
from executor.job import Work

STOP_S = 5.0  # how long files being written are awaited


def all_ended(held: Sequence[Work]) -> bool:
    """Whether the writers of these jobs are done with them, which is awaited for a while."""
    until = time.monotonic() + STOP_S
    for work in held:
        work.ended.wait(max(0.0, until - time.monotonic()))
    return all(work.ended.is_set() for work in held)


def abandon(context: Context, held: Sequence[Work]) -> None:
    """Give back what is held as it was saved last, and stop; for when the loop is stuck in a long step."""
    for work in held:
        if not work.ended.is_set():
            work.lost = True
            try:
                queue.release(context.db, worker_id=context.worker_id, job_id=work.job.id)
                context.event("given_back", job=work.job.id, reason="stopping in the middle of a step")
            except (DbError, sa.exc.SQLAlchemyError):
                continue  # not this executor's any more, or its lease will expire
    with suppress(DbError, sa.exc.SQLAlchemyError):  # its silence will say so
        workers.stop(context.db, context.worker_id)
