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
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from db import artefacts, queue
from db.errors import DatabaseReplaced, LeaseLost, StoreUnavailable, UnknownArtefact
from executor.attempt import Finished
from executor.context import DATABASE_DOWN, awake
from executor.erasing import forsake
from executor.outputs import TYPES, File
from executor.provenance import MADE_BY_MODEL, MADE_WITH_MODEL
from generator.images.encode import encode_preview

if TYPE_CHECKING:
    import torch

    from executor.job import Work

TASKS_WAITING = 8  # frames not yet on disk; beyond it the loop waits, so memory does not grow
MAX_WAIT_S = 15.0  # between two tries to store what is finished


class _Mine(TypedDict):
    """Whose job it is, as the queue asks."""

    worker_id: str
    job_id: str


class Writer:
    """Writes for one job until it has ended for this executor. What is not `end` is dropped once the job is lost."""

    def __init__(self, work: Work) -> None:
        self._work, self._context = work, work.context
        self._mine: _Mine = {"worker_id": self._context.worker_id, "job_id": work.job.id}
        self._kept = False  # what is finished and cannot be stored lies on this machine, or found no room there either
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

    def do(self, task: Callable[[], None]) -> None:
        """Anything else that takes a while, in its turn; nothing where the job was lost meanwhile."""

        def unless_lost() -> None:
            self._keep_lease()
            task()

        self._tasks.put(unless_lost)

    def end(self, task: Callable[[], None]) -> None:
        """The last task: one of `succeed`, `fail`, `cancelled` and `release`, or nothing."""
        left_at = time.time()

        def last() -> None:
            work = self._work
            try:
                try:
                    if not work.lost:
                        task()
                except (LeaseLost, DatabaseReplaced):
                    raise
                except Exception as error:
                    self.fail(*self._describe(error))
            except DatabaseReplaced as error:
                work.say("lease_lost", logging.WARNING, error=str(error))
            except LeaseLost as error:
                work.lost = True
                work.say("lease_lost", logging.WARNING, error=str(error))
            finally:
                if work.lost:
                    forsake(self._context, work.job.id, work.attempt)
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
        made: list[File] = []

        def finish() -> None:  # what it was made from may lie in a store that is away
            made.extend([self._signed(one) for one in work.files.finished(work.score, final, work.tell)])

        if self._patiently(finish):
            self.store_kept(Finished(made, work.score), new=True)

    def store_kept(self, finished: Finished, *, new: bool = False) -> None:
        """Store finished files, however long the store does not take them, and mark the job succeeded.

        new: where they are not kept on this machine yet.
        """
        work, size = self._work, sum(file.length for file in finished.files)
        self._context.probe_bytes = max(self._context.probe_bytes, size)
        keep = finished if new else None
        if not all(self._store(file, keep) for file in finished.files):
            return
        self._hold()
        work.announce()
        step = work.ended_at
        self._context.retry(lambda: queue.succeed(self._context.db, **self._mine, score=finished.score, step=step))
        work.say("succeeded", score=finished.score)
        self._context.seen(work.job.id, next((one.data for one in finished.files if one.kind == "picture"), None))
        self._clean()

    def fail(self, kind: str, message: str) -> None:
        """Mark the job failed; its last good picture is stored."""
        self._hold()
        if not all(self._store(self._signed(file)) for file in self._work.unfinished()):
            return
        self._work.announce()
        self._context.retry(lambda: queue.fail(self._context.db, **self._mine, kind=kind, message=message))
        self._work.say("failed", logging.WARNING, kind=kind, error=message)
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

    def _signed(self, file: File) -> File:
        """A picture with where it comes from, where the studio signs. What cannot be signed is better than none."""
        provenance, work = self._context.provenance, self._work
        if provenance is None or file.kind != "picture":
            return file
        try:
            kind = MADE_WITH_MODEL if work.files.keeps_given else MADE_BY_MODEL
            return replace(file, data=provenance.signed(file.data, kind))
        except Exception as error:  # whatever a package of others raises
            work.tell("picture_not_signed", error)
            return file

    def _run(self) -> None:
        work = self._work
        while not work.ended.is_set():
            task = self._tasks.get()
            try:
                task()
            except (LeaseLost, DatabaseReplaced) as error:
                if not work.lost:
                    work.say("lease_lost", logging.WARNING, error=str(error))
                work.lost = True
            except DATABASE_DOWN:
                pass  # a preview or state less; the heartbeat logs it
            except Exception as error:
                work.broken = work.broken or self._describe(error)
        del self._work  # which has this writer: it goes now, with its pictures, and not when a collector comes by

    def _describe(self, error: Exception) -> tuple[str, str]:
        """(kind, sentence) of what went wrong while writing; not the store, which is waited for."""
        if isinstance(error, UnknownArtefact):
            return "source_deleted", str(error)  # a picture that is needed at the end
        self._context.log.error("writing", exc_info=error, extra={"fields": {"job": self._work.job.id}})
        return "writing", f"The files of this job could not be written: {type(error).__name__}: {error}"

    def _frame(self, index: int, image: torch.Tensor) -> None:
        if not self._work.lost and not self._work.broken:
            self._keep_lease()
            self._work.files.frame(index, image, self._work.tell)

    def _preview(self, image: torch.Tensor) -> None:
        if self._context.store_trouble is not None:
            return  # one less; a store that is slow is not asked more than needed
        self._keep_lease()
        try:
            self.save(File("preview", encode_preview(image), (image.shape[-1], image.shape[-2])))
        except StoreUnavailable as error:
            self._context.no_store(error)

    def _state(self, state: bytes) -> None:
        self._keep_lease()
        if self._context.store_trouble is None:
            try:
                self.save(File("state", state))
            except StoreUnavailable as error:
                self._context.no_store(error)
            else:
                return self._work.attempt.drop_state()
        try:
            self._work.attempt.keep_state(state)
        except OSError as error:
            self._work.tell("state_not_kept", error)

    def _keep_lease(self) -> None:
        """After a pause (a laptop's lid) the job may be somebody else's already: ask before writing."""
        if self._work.lost or awake() - self._work.reported[1] > self._context.settings.lease_s / 2:
            self._hold()

    def save(self, file: File) -> None:
        """Keep a file of the job. Raises LeaseLost, StoreUnavailable, OSError."""
        media_type, ext = TYPES[file.kind]
        if file.path is not None:
            ext = file.path.suffix.removeprefix(".")  # of a model: one file, or a zip of several
        width, height = file.size or (None, None)
        artefacts.save(
            self._context.db,
            self._context.store,
            job_id=self._work.job.id,
            kind=file.kind,
            data=file.data,
            path=file.path,
            media_type=media_type,
            ext=ext,
            width=width,
            height=height,
            held_by=self._context.worker_id,
            attempt=self._work.attempt.token,
        )

    def _store(self, file: File, keep: Finished | None = None) -> bool:
        """Store a file of a job that has ended here; False where the job was let go of meanwhile, see `_patiently`."""

        def save() -> None:
            self._hold()
            self._context.retry(lambda: self.save(file))

        return self._patiently(save, keep)

    def _patiently(self, call: Callable[[], None], keep: Finished | None = None) -> bool:
        """Call until the store serves, longer apart each time; the heartbeat keeps the job meanwhile.

        False where it was cancelled, or given back since the executor stops; what is to `keep` lies on this machine.
        """
        work, wait = self._work, 0.5
        while True:
            try:
                call()
            except StoreUnavailable as error:
                self._context.no_store(error)
                self._wait_for_store(keep)
            else:
                return True
            if self._context.stop.wait(wait):
                self.release("stopping while the store cannot be written")
                return False
            if work.cancel:
                self.cancelled()
                return False
            wait = min(2 * wait, MAX_WAIT_S)

    def _wait_for_store(self, keep: Finished | None) -> None:
        work = self._work
        if keep is not None and not self._kept:
            self._kept = True
            try:
                work.attempt.keep_finished(keep)
            except OSError as error:
                work.tell("kept_in_memory", error)
        if work.waits_for is None:
            work.waits_for = "store"
            work.say("waits_for_store", logging.WARNING)
            self._hold()

    def _hold(self) -> None:
        """Raises LeaseLost unless the job is still this executor's; its lease is renewed."""
        work, settings = self._work, self._context.settings
        if work.lost:
            raise LeaseLost(work.job.id, self._context.worker_id)
        now, db, worker_id = awake(), self._context.db, self._context.worker_id
        # What is told is how it stands at each try: the database may be away for long.
        self._context.retry(
            lambda: queue.heartbeat(db, worker_id=worker_id, lease_s=settings.lease_s, **vars(work.progress()))
        )
        work.reported = (work.step, now)

    def _clean(self) -> None:
        """The job has ended: nothing will go on from its state or its frames."""
        context, job_id = self._context, self._work.job.id
        self._work.attempt.discard()
        try:
            artefacts.discard(context.db, context.store, job_id=job_id, kind="state")
            artefacts.tidy(context.db, context.store, job_id)
        except (StoreUnavailable, *DATABASE_DOWN) as error:
            self._work.say("state_left", logging.WARNING, error=str(error).splitlines()[0])
