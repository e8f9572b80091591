"""What all jobs of one executor share: its identity, its database and store, its log, and the waiting for both."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from db import artefacts, identity, queue
from db.artefacts import sweeping
from db.errors import DatabaseReplaced, DatabaseUnavailable, StoreUnavailable, UnknownJob
from db.evening import retention
from db.jobs import ENDED, Job
from db.queue import workers
from db.search import searches
from executor.attempt import kept
from executor.provenance import Provenance
from executor.tracing import JobTraces
from settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

DATABASE_DOWN = (DatabaseUnavailable, sa.exc.OperationalError, sa.exc.InterfaceError)
SWEPT_AT_ONCE = 200
KEPT_LOOK_S = 5.0
SWEEP_S = 5.0  # for old jobs at one sweep: heartbeats wait for it

T = TypeVar("T")


def awake() -> float:
    """s on a clock that nobody sets, and that goes on, where the system has such a one, while a laptop's lid is closed:
    what tells how long this executor was silent."""
    lasting = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if lasting is None else time.clock_gettime(lasting)


@dataclass
class Context:
    """What all jobs of one executor share: who it is, where it reads and writes, what it logs to."""

    worker_id: str
    db: sa.Engine
    store: artefacts.Store
    settings: Settings
    work_dir: Path
    log: logging.Logger
    store_trouble: str | None = None  # what visitors read of the store's last error, until it can be written again
    probe_bytes: int = 1 << 20  # as much as the files of the largest job so far, or 1 MiB
    traces: JobTraces | None = None
    provenance: Provenance | None = None  # None: pictures are not signed
    stop: threading.Event = field(default_factory=threading.Event)  # the executor was told to stop
    began: float = field(default_factory=awake)  # as `awake` has it
    erased: int | None = None  # the newest erasure that was carried out here
    seen: Callable[[str, bytes | None], None] = lambda job_id, picture: None  # told of what succeeds; executor/sight.py
    show_early: Callable[[Tensor], None] | None = None  # of the job that is being opened

    @property
    def studio_id(self) -> str:
        """What the studio's database calls it."""
        return identity.of(self.db)

    def event(self, event: str, level: int = logging.INFO, **fields: Any) -> None:
        """One structured line: an event and key=value fields."""
        self.log.log(level, event, extra={"fields": fields})

    def no_store(self, error: StoreUnavailable) -> None:
        """Nothing is claimed until the store can be written again; the Queue page says what visitors may read."""
        if self.store_trouble is None:
            self.event("store_unavailable", logging.WARNING, error=str(error))
        self.store_trouble = error.public

    def traced(self, job: Job, left_at: float) -> None:
        """The spans of a job that is let go of, where traces are made. left_at: when it left the batch, in UTC s."""
        if self.traces is None:
            return
        try:
            self.traces.ended(job, left_at)
        except Exception as error:  # a trace less; the job has ended well or not, as it is
            self.event("not_traced", logging.WARNING, job=job.id, error=f"{type(error).__name__}: {error}")

    def key_of(self, reference: str) -> str:
        """The key of a picture named in a job's parameters: a key itself, or the id of an artefact.

        Raises UnknownArtefact.
        """
        return reference if "/" in reference else artefacts.get(self.db, reference).key

    def retry(self, call: Callable[[], T]) -> T:
        """The call's answer; while the database is down it waits, longer each time, and says so once.

        Raises DatabaseReplaced: no waiting helps then.
        """
        wait = 0.2
        while True:
            try:
                return call()
            except DatabaseReplaced:
                raise
            except DATABASE_DOWN as error:
                if wait == 0.2:
                    self.event("database_unavailable", logging.WARNING, error=str(error).splitlines()[0])
                time.sleep(wait)
                wait = min(wait * 2, 10.0)


def register(context: Context, device: str, engines: Sequence[str], places: int) -> None:
    """Announce the executor on the Queue page."""
    workers.register(
        context.db,
        worker_id=context.worker_id,
        device=device,
        engines=engines,
        places=places,
        hostname=socket.gethostname(),
        pid=os.getpid(),
        folder=str(context.work_dir.resolve())[:1024],
        slice_s=context.settings.slice_s or None,
        share=context.settings.share,
    )


def sweep(context: Context) -> None:
    """Remove what jobs that have ended left behind: frames on this machine, and states nobody will go on from.

    An executor that is killed just after its job succeeded leaves them, and so does a job cancelled while it waits.
    What was given and that no job names goes as well, and what was searched for and nobody has read.
    """
    ours = kept(context.work_dir, context.studio_id)
    for folder in context.work_dir.glob("*"):
        try:
            if queue.get(context.db, folder.name).state in ENDED:
                shutil.rmtree(folder, ignore_errors=True)
        except UnknownJob:
            if folder.name in ours:  # its job was deleted
                shutil.rmtree(folder, ignore_errors=True)
            continue  # another studio's: two may share a folder
    swept = sweeping.sweep(context.db, context.store)
    if swept.due or swept.strays:
        context.event("swept", due=swept.due, strays=swept.strays)
    searches.tidy(context.db)
    for job_id in artefacts.left_by_ended_jobs(context.db, "state", limit=SWEPT_AT_ONCE):
        artefacts.discard(context.db, context.store, job_id=job_id, kind="state")
    # A clock that is wrong after the machine's start has been set by then: nothing is taken for old before.
    if awake() - context.began >= retention.SETTLED_S:
        ends = awake() + SWEEP_S
        while awake() < ends and (removed := retention.remove_due(context.db, context.store)):
            context.event("removed_old_jobs", jobs=removed)


def claim_kept(context: Context, held: set[str]) -> list[Job]:
    """Claim the jobs whose finished files wait on this machine, left by an executor that ended before they were stored.

    held: the ids of those this executor has already. One that is another's, or has ended, is not to be had.
    """
    wanted = [job_id for job_id in kept(context.work_dir, context.studio_id) if job_id not in held]
    lease_s, worker_id = context.settings.lease_s, context.worker_id
    claimed = [queue.claim_this(context.db, worker_id=worker_id, job_id=job_id, lease_s=lease_s) for job_id in wanted]
    return [job for job in claimed if job is not None]


class KeptHere:
    """Looks every KEPT_LOOK_S for such jobs."""

    def __init__(self, context: Context) -> None:
        self._context, self._look_at = context, 0.0

    def claim(self, held: set[str]) -> list[Job]:
        """As `claim_kept`; none between two looks."""
        now = time.monotonic()
        if now < self._look_at:
            return []
        self._look_at = now + KEPT_LOOK_S
        return claim_kept(self._context, held)
