"""What was deleted is removed from this machine as well: at the start, and soon after it was deleted."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from db import queue
from db.errors import StoreUnavailable, UnknownJob
from db.evening import deleting, erasures, work_folders
from db.evening.erasing import sweep_store
from db.jobs import ENDED
from executor import data, models
from executor.context import DATABASE_DOWN, Context

if TYPE_CHECKING:
    from executor.attempt import Attempt
    from executor.job import Work


def obey(context: Context, held: Iterable[Work] = ()) -> None:
    """Carry out the erasures that this executor has not seen. held: the jobs it has; those deleted are dropped.

    What cannot be removed is tried again at the next call. Raises where the database or the store are down.
    """
    told = erasures.since(context.db, context.erased)
    if not told:
        return
    for work in held:
        if any(one.covers(work.job.id) for one in told):
            work.lost = True
    left = work_folders.clear(context.work_dir, told)
    for one in told:
        if one.job_id is None:
            sweep_store(context.store, one)
    deleting.finish(context.db, context.store)
    data.forget_deleted(context)
    models.forget_deleted(context)
    if left:
        context.event("not_erased", logging.WARNING, files=len(left), first=left[0].name)
        return
    erasures.carried_out(context.db, [context.worker_id], told[-1].id)
    context.erased = told[-1].id
    context.event("erased", erasures=len(told))


def obey_first(context: Context) -> None:
    """Carry out what was deleted while no executor was here, before anything is claimed."""
    try:
        context.retry(lambda: obey(context))
    except StoreUnavailable as error:  # the heartbeat tries again
        context.no_store(error)


def is_empty(work_dir: Path) -> bool:
    """Whether nothing of any job lies in this work folder."""
    return not work_dir.is_dir() or not any(work_dir.iterdir())


def forsake(context: Context, job_id: str, attempt: Attempt) -> None:
    """Of a job that was taken from this executor: what is kept of it here goes, unless somebody goes on with it."""
    try:
        ended = queue.get(context.db, job_id).state in ENDED
    except UnknownJob:
        ended = True
    except DATABASE_DOWN:
        return  # `obey` and `sweep` come by
    if ended:
        attempt.discard()
