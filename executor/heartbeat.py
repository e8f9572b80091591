"""The executor's heartbeat: a thread that keeps leases, reports progress, hears cancel requests, and takes jobs
from executors that fell silent. A step or a load that takes minutes loses no lease."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from contextlib import suppress

from db import queue
from db.errors import DatabaseReplaced, StoreUnavailable
from db.queue import workers
from executor import data, models
from executor.context import DATABASE_DOWN, Context, awake, sweep
from executor.erasing import obey
from executor.job import Work

SWEEP_EVERY_S = 600.0
BEAT_S = 1.0  # a page that watches a job sees it move at least so often


class Heartbeat(threading.Thread):
    """Beats until `end()`. held: the jobs whose leases it keeps; status: a few words for the Queue page.

    replaced: the sentence, where the database became another one; the beats have ended then and the executor stops.
    """

    def __init__(self, context: Context, held: Callable[[], list[Work]], status: Callable[[], str]) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.replaced: str | None = None
        self._context, self._held, self._status = context, held, status
        self._end = threading.Event()
        self._said, self._said_at = "", -math.inf
        self._swept_at = -math.inf
        # Where the clock was set ahead just before this executor came, others have had the time to renew their leases.
        self._look_at = awake() + 2 * self._every_s

    def end(self) -> None:
        """No more beats; waits for the one in progress, a second at most."""
        self._end.set()
        self.join(1.0)

    def run(self) -> None:
        settings = self._context.settings
        every = min(BEAT_S, settings.heartbeat_s, settings.lease_s / 4)
        wait = every
        while not self._end.wait(wait):
            try:
                self._beat()
            except DatabaseReplaced as error:
                self.replaced = str(error)
                self._context.stop.set()
                return
            except DATABASE_DOWN as error:
                if wait <= every:
                    self._context.event("database_unavailable", logging.WARNING, error=str(error).splitlines()[0])
                wait = min(2 * wait, max(every, settings.lease_s / 4))
            except Exception as error:
                # Whatever it is, jobs whose leases nobody renews would be done twice.
                self._context.log.error("heartbeat_failed", exc_info=error)
            else:
                if wait > every:
                    self._context.event("database_back")
                wait = every

    def _beat(self) -> None:
        context, settings, now = self._context, self._context.settings, awake()
        silent_s = min(settings.heartbeat_s, settings.lease_s / 4)
        self._report([work for work in self._held() if self._is_due(work, now, silent_s)], now)
        status = self._status()
        if status != self._said or now - self._said_at >= settings.heartbeat_s:
            workers.beat(context.db, context.worker_id, status)
            self._said, self._said_at = status, now
        if now >= self._look_at:
            self._look_at = now + self._every_s
            lapsed = queue.requeue_expired(context.db)
            if lapsed:
                context.event("requeued", logging.WARNING, jobs=lapsed)
            with suppress(StoreUnavailable):  # tried again next time
                obey(context, self._held())
        if now - self._swept_at >= SWEEP_EVERY_S:
            self._swept_at = now
            try:
                sweep(context)
                data.forget_deleted(context)
                models.forget_deleted(context)
            except (StoreUnavailable, OSError):
                return  # tried again next time

    @property
    def _every_s(self) -> float:
        """How often it is looked for executors that fell silent."""
        return min(5.0, self._context.settings.lease_s / 4)

    @staticmethod
    def _is_due(work: Work, now: float, silent_s: float) -> bool:
        step, at = work.reported
        return not work.ended.is_set() and (step != work.step or now - at >= silent_s)

    def _report(self, due: list[Work], now: float) -> None:
        """The progress of these jobs, in one transaction."""
        if not due:
            return
        said = {work.job.id: work.progress() for work in due}
        to_be_cancelled = queue.heartbeats(
            self._context.db,
            worker_id=self._context.worker_id,
            progress=list(said.values()),
            lease_s=self._context.settings.lease_s,
        )
        for work in due:
            if work.job.id not in to_be_cancelled:
                # A job whose files are stored has ended just now; any other is somebody else's.
                work.lost = work.lost or not work.ended.is_set()
                continue
            work.reported = (said[work.job.id].step, now)
            work.cancel = work.cancel or to_be_cancelled[work.job.id]
