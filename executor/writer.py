"""A job's writer: a thread of its own that writes the job's files in order and ends the job.

Encoding, storing and every database call that may have to wait happen here, so that the next step of the batch
does not.
"""

from __future__ import annotations

import logging
import queue as fifo
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

from db import artefacts, queue
from db.errors import LeaseLost, StoreFull, StoreUnavailable
from executor.context import DATABASE_DOWN, awake
from executor.outputs import TYPES, File
from generator.images.encode import encode_preview

if TYPE_CHECKING:
    import torch

    from executor.job import Work

TASKS_WAITING = 8  # frames not yet on disk; beyond it the loop waits, so memory does not grow
STORE_TRIES = 3


class _Mine(TypedDict):
    """Whose job it is, as the queue asks."""

    worker_id: str
    job_id: str


class Writer:
    """Writes for one job until it has ended for this executor. What is not `end` is dropped once the job is lost."""

    def __init__(self, work: Work) -> None:
        self._work, self._context = work, work.context
        self._mine: _Mine = {"worker_id": self._context.worker_id, "job_id": work.job.id}
        self._tasks: fifo.Queue[Callable[[], None]] = fifo.Queue(TASKS_WAITING)
        threading.Thread(target=self._run, name=f"files-{work.job.id}", daemon=True).start()

    # Called by the main loop

    @property
    def waiting(self) -> int:
        """How many tasks wait."""
        return self._tasks.qsize()

    def frame(self, index: int, image: torch.Tensor) -> None:
        """Keep the picture (3, H, W) in [0, 1] after step `index` for the film."""
        self._tasks.put(lambda: self._frame(index, image))

    def preview(self, image: torch.Tensor) -> None:
        """Show the picture (3, H, W) in [0, 1] while it forms."""
        self._tasks.put(lambda: self._preview(image))

    def state(self, state: bytes) -> None:
        """Keep what the job could go on from."""
        self._tasks.put(lambda: self._state(state))

    def end(self, task: Callable[[], None]) -> None:
        """The last task: one of `succeed`, `fail`, `cancelled` and `release`, or nothing."""
        left_at = time.time()

        def last() -> None:
            try:
                if not self._work.lost:
                    task()
            except LeaseLost:
                self._work.say("lease_lost", logging.WARNING)
            except Exception as error:
                kind, message = self._describe(error)
                try:
                    self.fail(kind, message)
                except LeaseLost:
                    self._work.say("lease_lost", logging.WARNING)
            finally:
                self._context.traced(self._work.job, left_at)
                self._work.ended.set()

        self._tasks.put(last)

    # In the thread

    def succeed(self) -> None:
        """Store everything, then mark the job succeeded, or cancelled where that was asked meanwhile."""
        work = self._work
        if work.broken:
            return self.fail(*work.broken)
        final = None if work.cancel else work.files.upscaled(lambda: work.cancel or work.lost, work.tell)
        if work.cancel:
            return self.cancelled()
        for file in work.files.finished(work.score, final, work.tell):
            self._store(file)
        self._hold()
        self._context.retry(lambda: queue.succeed(self._context.db, **self._mine, score=work.score))
        work.say("succeeded", score=work.score)
        self._clean()

    def fail(self, kind: str, message: str) -> None:
        """Mark the job failed; its last good picture is stored."""
        work = self._work
        self._hold()
        try:
            for file in work.unfinished():
                self._store(file)
        except (OSError, StoreUnavailable) as error:
            work.say("last_picture_lost", logging.WARNING, error=str(error))
        self._context.retry(lambda: queue.fail(self._context.db, **self._mine, kind=kind, message=message))
        work.say("failed", logging.WARNING, kind=kind, error=message)
        self._clean()

    def cancelled(self) -> None:
        """Mark the job cancelled."""
        self._context.retry(lambda: queue.cancel_now(self._context.db, **self._mine))
        self._work.say("cancelled")
        self._clean()

    def release(self, reason: str, slice_over: bool = False) -> None:
        """Give the job back to the queue; slice_over: to make room for others."""
        step, spent_s, db = self._work.step, self._work.turn.spent_s, self._context.db
        self._context.retry(lambda: queue.release(db, **self._mine, step=step, spent_s=spent_s, slice_over=slice_over))
        self._work.say("given_back", reason=reason)

    def _run(self) -> None:
        work = self._work
        while not work.ended.is_set():
            task = self._tasks.get()
            try:
                task()
            except LeaseLost:
                work.lost = True
            except DATABASE_DOWN:
                pass  # a preview or state less; the heartbeat logs it
            except Exception as error:
                work.broken = work.broken or self._describe(error)

    def _describe(self, error: Exception) -> tuple[str, str]:
        """(kind, sentence) of what went wrong while writing."""
        if isinstance(error, StoreUnavailable):
            self._context.no_store(error)
            return ("store_full" if isinstance(error, StoreFull) else "store_unavailable"), str(error.public)
        if isinstance(error, OSError):
            self._context.no_store(error)
            return "disk", f"The executor's folder cannot be written: {error.strerror}."
        self._context.log.error("writing", exc_info=error, extra={"fields": {"job": self._work.job.id}})
        return "writing", f"The files of this job could not be written: {type(error).__name__}: {error}"

    def _frame(self, index: int, image: torch.Tensor) -> None:
        if not self._work.lost and not self._work.broken:
            self._work.files.frame(index, image)

    def _preview(self, image: torch.Tensor) -> None:
        if not self._work.lost:
            self._keep_lease()
            self._save(File("preview", encode_preview(image), self._work.params.actual_size))

    def _state(self, state: bytes) -> None:
        self._keep_lease()
        self._save(File("state", state))

    def _keep_lease(self) -> None:
        """After a pause (a laptop's lid) the job may be somebody else's already: ask before writing."""
        if awake() - self._work.reported[1] > self._context.settings.lease_s / 2:
            self._hold()

    def _save(self, file: File) -> None:
        if self._work.lost:
            return
        media_type, ext = TYPES[file.kind]
        width, height = file.size or (None, None)
        artefacts.save(
            self._context.db,
            self._context.store,
            job_id=self._work.job.id,
            kind=file.kind,
            data=file.data,
            media_type=media_type,
            ext=ext,
            width=width,
            height=height,
            held_by=self._context.worker_id,
        )

    def _store(self, file: File) -> None:
        """A file of the finished job; a store that hesitates is asked a few times."""
        for attempt in range(1, STORE_TRIES + 1):
            self._hold()
            try:
                return self._context.retry(lambda: self._save(file))
            except StoreUnavailable:
                if attempt == STORE_TRIES:
                    raise
                time.sleep(0.5 * attempt)

    def _hold(self) -> None:
        """Raises LeaseLost unless the job is still this executor's; its lease is renewed."""
        work, settings = self._work, self._context.settings
        if work.lost:
            raise LeaseLost(work.job.id, self._context.worker_id)
        now = awake()
        self._context.retry(
            lambda: queue.heartbeat(
                self._context.db,
                **self._mine,
                step=work.step,
                score=work.score,
                history=list(work.history),
                ran_s=work.turn.ran_s,
                spent_s=work.turn.spent_s,
                lease_s=settings.lease_s,
            )
        )
        work.reported = (work.step, now)

    def _clean(self) -> None:
        """The job has ended: nothing will go on from its state or its frames."""
        self._work.discard()
        try:
            artefacts.discard(self._context.db, self._context.store, job_id=self._work.job.id, kind="state")
        except (StoreUnavailable, *DATABASE_DOWN) as error:
            self._work.say("state_left", logging.WARNING, error=str(error).splitlines()[0])
