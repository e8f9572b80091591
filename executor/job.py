"""One job in the executor's hands: its slot, its progress, and a thread of its own that writes its files in order.

The main loop only hands pictures over; encoding, storing and every database call that may have to wait
happen here, so that the next step of the batch does not.
"""

from __future__ import annotations

import io
import logging
import queue as fifo
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import torch

from db import artefacts, queue
from db.artefacts import sources
from db.errors import LeaseLost, StoreFull, StoreUnavailable, UnknownArtefact
from db.jobs import HISTORY_POINTS, Job, thin
from executor.context import DATABASE_DOWN, Context, awake
from executor.engines import EngineKey
from executor.erasing import forsake
from executor.failures import DownloadsOff
from executor.outputs import TYPES, File, Files
from generator.checkpoints.fingerprint import own_weights
from generator.checkpoints.store import upscaler_file
from generator.images.encode import encode_preview
from generator.output.sources import Sources
from generator.params import DownloadParams, Params

if TYPE_CHECKING:
    from generator.engines.base import Engine, Slot, Step
    from generator.params import JobParams

PREVIEW_EVERY_S = 0.5
FRAMES_WAITING = 8  # frames not yet on disk; beyond it the loop waits, so memory does not grow
STORE_TRIES = 3


class _Mine(TypedDict):
    """Whose job it is, as the queue asks."""

    worker_id: str
    job_id: str


class Work:
    """A claimed job until it is ended, given back or lost. Made and driven by the main loop.

    cancel, lost and broken are set by other threads and looked at between two steps.
    """

    def __init__(self, job: Job, context: Context) -> None:
        self.job, self.context = job, context
        self.params: JobParams
        self.key: EngineKey
        self.engine: Engine
        self.slot: Slot | None = None
        self.state: bytes | None = None  # the saved slot state the job would go on from
        self.alone_past: int | None = None  # its batch failed in this step: it shares none until it has made it
        self.step, self.score = job.step, job.score
        self.history: list[list[float]] = []
        self.cancel, self.lost, self.ended = False, False, threading.Event()
        self.broken: tuple[str, str] | None = None
        self.reported = (-1, awake())  # step of the last heartbeat, and when that was
        self._claimed_at = self._state_at = time.monotonic()
        self._preview_at = self._logged_at = 0.0
        self._step_times: deque[float] = deque(maxlen=20)
        self._files: Files | None = None
        self._tasks: fifo.Queue[Callable[[], None]] = fifo.Queue(FRAMES_WAITING)
        threading.Thread(target=self._write, name=f"files-{job.id}", daemon=True).start()

    @property
    def batch(self) -> tuple[EngineKey, str]:
        """Jobs with the same value share every forward and backward pass."""
        return self.key, self.params.batch_key

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) in px, None before the parameters are read."""
        return self.params.actual_size if hasattr(self, "params") else None

    @property
    def steps_per_s(self) -> float | None:
        times = self._step_times
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else None

    @property
    def ran_s(self) -> float:
        """s since it was claimed, whatever the clock on the wall was set to meanwhile."""
        return time.monotonic() - self._claimed_at

    @property
    def _mine(self) -> _Mine:
        return {"worker_id": self.context.worker_id, "job_id": self.job.id}

    # Called by the main loop

    def begin(self, params: JobParams, device: str) -> None:
        """The parameters are read and good. Raises CheckpointMissing for an upscaler that is not there, DownloadsOff
        where none are fetched here, UnknownArtefact or SourceHidden where a picture it starts from is gone."""
        context, folder = self.context, self.context.settings.checkpoints_dir
        weights = {} if isinstance(params, DownloadParams) else own_weights(params, folder)
        self.params, self.key = params, EngineKey.of(self.job.engine, params, weights)
        context.retry(lambda: sources.check(context.db, context.store, params.sources))
        pictures = context.retry(lambda: sources.hashes(context.db, params.sources))
        if isinstance(params, Params) and params.upscale > 1:  # said before the picture is drawn
            upscaler_file(params.upscaler, folder)
        if isinstance(params, DownloadParams) and not self.context.settings.downloads:
            raise DownloadsOff(
                "Downloads from the page are switched off here. The host can set T2I_DOWNLOADS=1, or run: "
                f"python -m generator.checkpoints download {params.name}"
            )
        made_from = Sources(pictures, weights)
        upscaling = {"device": device, "checkpoints_dir": folder}
        self._files = Files(self.job.engine, params, made_from, self._folder, self._read_source, **upscaling)

    def read_state(self) -> dict[str, Any] | None:
        """The slot state saved by whoever ran this job before, its score curve taken over; None: start anew."""
        context = self.context
        saved = context.retry(lambda: artefacts.of_job(context.db, self.job.id)).get("state")
        if saved is None:
            return None
        try:
            self.state = context.store.get(saved.key)
        except UnknownArtefact:
            return None
        return self.unpack_state()

    def unpack_state(self) -> dict[str, Any] | None:
        """The slot state in `self.state`; an unreadable one is logged and left, so that the job starts anew."""
        self.history = []
        if self.state is None:
            return None
        try:
            saved: dict[str, Any] = torch.load(io.BytesIO(self.state), weights_only=True, map_location="cpu")
            slot_state: dict[str, Any] = saved["slot"]
            self.history = saved["history"]
        except Exception as error:  # whatever damaged bytes make torch raise
            self._forget_state(error)
            return None
        return slot_state

    def open(self, state: dict[str, Any] | None) -> None:
        """A slot to advance, going on from the state if there is one. Raises what the engine raises."""
        if state is not None:
            try:
                self.slot = self.engine.resume(self.params, state)
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                self._forget_state(error)  # of another version of the engine
        if self.slot is None or self.slot.done:
            self.slot, self.history = self.engine.open(self.params), []
        self.step = self.slot.index
        self._step_times.clear()

    def _forget_state(self, error: Exception) -> None:
        self.state, self.history = None, []
        self._say("state_unusable", logging.WARNING, error=f"{type(error).__name__}: {error}".splitlines()[0])

    def on_step(self, step: Step) -> None:
        """A step was made: note the progress, hand its picture over."""
        now = time.monotonic()
        if step.index != self.step or not self._step_times:  # a download is asked more often than it moves
            self._step_times.append(now)
        self.step, self.score = step.index, step.score
        self.history.append([step.index, step.score])
        if len(self.history) > 2 * HISTORY_POINTS:
            self.history = thin(self.history)
        files, image = self.files, step.image
        files.on_step(step)
        if image is not None and files.shows(step):
            self._tasks.put(lambda: self._frame(step.index, image))
            if now - self._preview_at >= PREVIEW_EVERY_S and self._tasks.qsize() <= 2:
                self._preview_at = now
                self._tasks.put(lambda: self._preview(image))
        if now - self._logged_at >= self.context.settings.heartbeat_s:
            self._logged_at = now
            self._say("step", total=step.total, score=step.score, steps_per_s=self.steps_per_s)
        if now - self._state_at >= self.context.settings.state_every_s and not step.done:
            self.save_state()

    def save_state(self) -> None:
        """Keep what is needed to go on from here. Serialised now, since the next step changes the tensors."""
        if self.slot is None or self.slot.done or self.slot.index == 0:
            return
        file = io.BytesIO()
        torch.save({"slot": self.slot.state_dict(), "history": thin(self.history)}, file)
        state = self.state = file.getvalue()
        self._state_at = time.monotonic()
        self._tasks.put(lambda: self._save_state(state))

    def rejoin(self) -> None:
        """Alone past the step in which its batch failed: from now on it shares one again, and never goes back there."""
        if self.slot is not None and self.alone_past is not None and self.slot.index > self.alone_past:
            self.alone_past = None
            self.save_state()

    def finish(self) -> None:
        """The last step was made: store everything, then mark the job succeeded (or cancelled, if asked meanwhile)."""
        self._end(self._succeed)

    def fail(self, kind: str, message: str) -> None:
        """The job cannot go on; its last good picture stays."""
        self._end(lambda: self._fail(kind, message))

    def stop_cancelled(self) -> None:
        """The job was to be cancelled."""
        self._end(self._cancelled)

    def give_back(self, reason: str) -> None:
        """Back to the queue at no cost to its attempts, to go on from the state saved last."""
        self._end(lambda: self._release(reason))

    def drop(self) -> None:
        """The job is somebody else's now: write nothing any more."""
        self.lost = True
        self._say("dropped", logging.WARNING)
        self._end(lambda: None)

    # In the job's own thread

    def _end(self, task: Callable[[], None]) -> None:
        self.slot = None
        left_at = time.time()

        def last() -> None:
            try:
                try:
                    if not self.lost:
                        task()
                except LeaseLost:
                    raise
                except Exception as error:
                    self._fail(*self._describe(error))
            except LeaseLost:
                self.lost = True
                self._say("lease_lost", logging.WARNING)
            finally:
                if self.lost:
                    forsake(self.context, self.job.id, self._files)
                self.context.traced(self.job, left_at)
                self.ended.set()

        self._tasks.put(last)

    def _write(self) -> None:
        while not self.ended.is_set():
            task = self._tasks.get()
            try:
                task()
            except LeaseLost:
                self.lost = True
            except DATABASE_DOWN:
                pass  # a preview or state less; the heartbeat logs it
            except Exception as error:
                self.broken = self.broken or self._describe(error)

    def _describe(self, error: Exception) -> tuple[str, str]:
        """(kind, sentence) of what went wrong while writing."""
        if isinstance(error, StoreUnavailable):
            self.context.no_store(error)
            return ("store_full" if isinstance(error, StoreFull) else "store_unavailable"), str(error.public)
        if isinstance(error, OSError):
            self.context.no_store(error)
            return "disk", f"The executor's folder cannot be written: {error.strerror}."
        if isinstance(error, UnknownArtefact):
            return "source_deleted", str(error)  # a picture that is needed at the end
        self.context.log.error("writing", exc_info=error, extra={"fields": {"job": self.job.id}})
        return "writing", f"The files of this job could not be written: {type(error).__name__}: {error}"

    def _frame(self, index: int, image: torch.Tensor) -> None:
        if not self.lost and not self.broken:
            self.files.frame(index, image)

    def _preview(self, image: torch.Tensor) -> None:
        if not self.lost:
            self._keep_lease()
            self._save(File("preview", encode_preview(image), self.params.actual_size))

    def _save_state(self, state: bytes) -> None:
        self._keep_lease()
        self._save(File("state", state))

    def _keep_lease(self) -> None:
        """After a pause (a laptop's lid) the job may be somebody else's already: ask before writing."""
        if awake() - self.reported[1] > self.context.settings.lease_s / 2:
            self._hold()

    def _save(self, file: File) -> None:
        if self.lost:
            return
        media_type, ext = TYPES[file.kind]
        width, height = file.size or (None, None)
        artefacts.save(
            self.context.db,
            self.context.store,
            job_id=self.job.id,
            kind=file.kind,
            data=file.data,
            media_type=media_type,
            ext=ext,
            width=width,
            height=height,
            held_by=self.context.worker_id,
        )

    def _succeed(self) -> None:
        if self.broken:
            return self._fail(*self.broken)
        final = None if self.cancel else self.files.upscaled(lambda: self.cancel or self.lost, self._tell)
        if self.cancel:
            return self._cancelled()
        for file in self.files.finished(self.score, final, self._tell):
            self._store(file)
        self._hold()
        self.context.retry(lambda: queue.succeed(self.context.db, **self._mine, score=self.score))
        self._say("succeeded", score=self.score)
        self._clean()

    def _store(self, file: File) -> None:
        """A file of the finished job; a store that hesitates is asked a few times."""
        for attempt in range(1, STORE_TRIES + 1):
            self._hold()
            try:
                return self.context.retry(lambda: self._save(file))
            except StoreUnavailable:
                if attempt == STORE_TRIES:
                    raise
                time.sleep(0.5 * attempt)

    def _hold(self) -> None:
        """Raises LeaseLost unless the job is still this executor's; its lease is renewed."""
        if self.lost:
            raise LeaseLost(self.job.id, self.context.worker_id)
        now = awake()
        self.context.retry(
            lambda: queue.heartbeat(
                self.context.db,
                **self._mine,
                step=self.step,
                score=self.score,
                history=list(self.history),
                ran_s=self.ran_s,
                lease_s=self.context.settings.lease_s,
            )
        )
        self.reported = (self.step, now)

    def _fail(self, kind: str, message: str) -> None:
        self._hold()
        try:
            for file in self._files.unfinished(self.score) if self._files else ():
                self._store(file)
        except (OSError, StoreUnavailable) as error:
            self._say("last_picture_lost", logging.WARNING, error=str(error))
        self.context.retry(lambda: queue.fail(self.context.db, **self._mine, kind=kind, message=message))
        self._say("failed", logging.WARNING, kind=kind, error=message)
        self._clean()

    def _cancelled(self) -> None:
        self.context.retry(lambda: queue.cancel_now(self.context.db, **self._mine))
        self._say("cancelled")
        self._clean()

    def _release(self, reason: str) -> None:
        self.context.retry(lambda: queue.release(self.context.db, **self._mine))
        self._say("given_back", reason=reason)

    def _clean(self) -> None:
        """The job has ended: nothing will go on from its state or its frames."""
        if self._files:
            self._files.discard()
        try:
            artefacts.discard(self.context.db, self.context.store, job_id=self.job.id, kind="state")
        except (StoreUnavailable, *DATABASE_DOWN) as error:
            self._say("state_left", logging.WARNING, error=str(error).splitlines()[0])

    def _say(self, event: str, level: int = logging.INFO, **fields: Any) -> None:
        self.context.event(event, level, job=self.job.id, step=self.step, **fields)

    def _tell(self, event: str, error: BaseException) -> None:
        self._say(event, logging.WARNING, error=f"{type(error).__name__}: {error}".splitlines()[0])

    def _read_source(self, reference: str) -> bytes:
        return self.context.store.get(self.context.key_of(reference))

    @property
    def files(self) -> Files:
        """What the job has made, once its parameters are read."""
        assert self._files is not None
        return self._files

    @property
    def _folder(self) -> Path:
        return self.context.work_dir / self.job.id
