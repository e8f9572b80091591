"""One job in the executor's hands: its slot, its progress, and a thread of its own that writes its files in order.

The main loop only hands pictures over; encoding, storing and every database call that may have to wait
happen here, so that the next step of the batch does not.
"""

from __future__ import annotations

import errno
import io
import logging
import queue as fifo
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from db import artefacts, queue
from db.errors import LeaseLost, StoreFull, StoreUnavailable, UnknownArtefact
from db.jobs import HISTORY_POINTS, Job, thin
from executor.engines import EngineKey
from executor.station import DATABASE_DOWN, Station
from generator.output import Recorder, encode_png, encode_preview, encode_thumbnail, to_image
from generator.upscaler import NotEnlarged, enlarging

if TYPE_CHECKING:
    from PIL import Image

    from generator.engine import Engine, Slot, Step
    from generator.params import Params

PREVIEW_EVERY_S = 0.5
FRAMES_WAITING = 8  # frames not yet on disk; beyond it the loop waits, so memory does not grow
STORE_TRIES = 3
DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR)
FILES = {  # what the recorder makes -> (kind, media type, extension) of the artefact
    "png": ("picture", "image/png", "png"),
    "thumbnail": ("thumbnail", "image/webp", "webp"),
    "gif": ("gif", "image/gif", "gif"),
    "sheet": ("sheet", "image/webp", "webp"),
    "webp": ("webp", "image/webp", "webp"),
    "mp4": ("mp4", "video/mp4", "mp4"),
    "json": ("json", "application/json", "json"),
}


class Work:
    """A claimed job until it is ended, given back or lost. Made and driven by the main loop.

    cancel, lost and broken are set by other threads and looked at between two steps.
    """

    def __init__(self, job: Job, station: Station) -> None:
        self.job, self.station = job, station
        self.params: Params
        self.key: EngineKey
        self.engine: Engine
        self.slot: Slot | None = None
        self.state: bytes | None = None  # the saved slot state the job would go on from
        self.step, self.score = job.step, job.score
        self.history: list[list[float]] = []
        self.cancel = self.lost = False
        self.broken: tuple[str, str] | None = None
        self.ended = threading.Event()
        self.reported = (-1, time.time())  # step and wall-clock time of the last heartbeat
        self._state_at = time.monotonic()
        self._preview_at = self._logged_at = 0.0
        self._step_times: deque[float] = deque(maxlen=20)
        self._last_image: torch.Tensor | None = None
        self._recorder: Recorder | None = None
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

    # Called by the main loop

    def read_state(self) -> dict[str, Any] | None:
        """The slot state saved by whoever ran this job before, its score curve taken over; None: start anew."""
        station = self.station
        saved = station.patiently(lambda: artefacts.of_job(station.db, self.job.id)).get("state")
        if saved is None:
            return None
        try:
            self.state = station.store.get(saved.key)
        except UnknownArtefact:
            return None
        return self.unpack_state()

    def unpack_state(self) -> dict[str, Any] | None:
        """The slot state in `self.state`; an unreadable one is logged and left, so that the job starts anew."""
        self.history = []
        if self.state is None:
            return None
        try:
            saved = torch.load(io.BytesIO(self.state), weights_only=True, map_location="cpu")
            self.history, slot_state = saved["history"], saved["slot"]
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

    def took(self, step: Step) -> None:
        """A step was made: note the progress, hand its picture over."""
        now = time.monotonic()
        self.step, self.score = step.index, step.score
        self._step_times.append(now)
        self.history.append([step.index, step.score])
        if len(self.history) > 2 * HISTORY_POINTS:
            self.history = thin(self.history)
        image = step.image
        if image is not None:
            self._last_image = image
            self._tasks.put(lambda: self._frame(step.index, image))
            if now - self._preview_at >= PREVIEW_EVERY_S and self._tasks.qsize() <= 2:
                self._preview_at = now
                self._tasks.put(lambda: self._preview(image))
        if now - self._logged_at >= self.station.settings.heartbeat_s:
            self._logged_at = now
            self._say("step", total=step.total, score=step.score, steps_per_s=self.steps_per_s)
        if now - self._state_at >= self.station.settings.state_every_s and not step.done:
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

        def last() -> None:
            try:
                if not self.lost:
                    task()
            except LeaseLost:
                self._say("lease_lost", logging.WARNING)
            except Exception as error:
                kind, message = self._describe(error)
                try:
                    self._fail(kind, message)
                except LeaseLost:
                    self._say("lease_lost", logging.WARNING)
            finally:
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
            self.station.store_trouble = str(error)
            return ("store_full" if isinstance(error, StoreFull) else "store_unavailable"), str(error)
        if isinstance(error, OSError):
            self.station.store_trouble = str(error)
            return "disk", f"The executor's folder {self.station.work_dir} cannot be written: {error.strerror}."
        self.station.log.error("writing", exc_info=error, extra={"fields": {"job": self.job.id}})
        return "writing", f"The files of this job could not be written: {type(error).__name__}: {error}"

    def _frame(self, index: int, image: torch.Tensor) -> None:
        if self.lost or self.broken:
            return
        if self._recorder is None:
            self._recorder = Recorder(self._folder, self.params, self.job.engine)
        self._recorder.add(index, image)

    def _preview(self, image: torch.Tensor) -> None:
        if not self.lost:
            self._keep_lease()
            self._save("preview", encode_preview(image), "image/webp", "webp", *self.params.actual_size)

    def _save_state(self, state: bytes) -> None:
        self._keep_lease()
        self._save("state", state, "application/octet-stream", "pt")

    def _keep_lease(self) -> None:
        """After a pause (a laptop's lid) the job may be somebody else's already: ask before writing."""
        if time.time() - self.reported[1] > self.station.settings.lease_s / 2:
            self._hold()

    def _save(
        self, kind: str, data: bytes, media_type: str, ext: str, width: int | None = None, height: int | None = None
    ) -> None:
        if self.lost:
            return
        artefacts.save(
            self.station.db,
            self.station.store,
            job_id=self.job.id,
            kind=kind,
            data=data,
            media_type=media_type,
            ext=ext,
            width=width,
            height=height,
        )

    def _succeed(self) -> None:
        if self.broken:
            return self._fail(*self.broken)
        final = None if self.cancel else self._enlarged()
        if self.cancel:
            return self._cancelled()
        self._store_files(final)
        self._hold()
        self.station.patiently(
            lambda: queue.succeed(
                self.station.db, worker_id=self.station.worker_id, job_id=self.job.id, score=self.score
            )
        )
        self._say("succeeded", score=self.score)
        self._clean()

    def _enlarged(self) -> Image.Image | None:
        """The finished picture as large as `upscale` says; None where it stays as it was drawn."""
        drawn = self._recorder.last() if self._recorder else None
        final = None
        if self.params.upscale > 1 and drawn is not None:
            try:
                for progress in enlarging(drawn, self.params.upscale):
                    if self.cancel or self.lost:
                        return None
                    final = progress.image
            except NotEnlarged as error:
                self._say("not_enlarged", logging.WARNING, error=str(error))
        return final

    def _store_files(self, final: Image.Image | None) -> None:
        """Picture, films and settings of the finished job, each stored and recorded while the job is still ours."""
        if self._recorder is None:
            raise ValueError(f"job {self.job.id} has ended without a picture")
        try:
            files = self._recorder.finish(self.score, final)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in DISK_TROUBLE:
                raise
            # A picture without its MP4 (a missing or broken ffmpeg) is better than none.
            self._say("no_mp4", logging.WARNING, error=f"{type(error).__name__}: {error}".splitlines()[0])
            files = self._recorder.finish(self.score, final, mp4=False)
        for name, data in files.items():
            self._store(name, data, final.size if final and name in ("png", "thumbnail") else None)

    def _store_last_picture(self, image: torch.Tensor) -> None:
        picture = to_image(image)
        self._store("png", encode_png(picture, self.job.engine, self.params, self.score))
        self._store("thumbnail", encode_thumbnail(picture))

    def _store(self, name: str, data: bytes, size: tuple[int, int] | None = None) -> None:
        """A file of the finished job, as large as drawn unless told; a store that hesitates is asked a few times."""
        kind, media_type, ext = FILES[name]
        width, height = (None, None) if kind in ("json", "sheet") else size or self.params.actual_size
        for attempt in range(1, STORE_TRIES + 1):
            self._hold()
            try:
                return self.station.patiently(lambda: self._save(kind, data, media_type, ext, width, height))
            except StoreUnavailable:
                if attempt == STORE_TRIES:
                    raise
                time.sleep(0.5 * attempt)

    def _hold(self) -> None:
        """Raises LeaseLost unless the job is still this executor's; its lease is renewed."""
        if self.lost:
            raise LeaseLost(self.job.id, self.station.worker_id)
        now = time.time()
        self.station.patiently(
            lambda: queue.heartbeat(
                self.station.db,
                worker_id=self.station.worker_id,
                job_id=self.job.id,
                step=self.step,
                score=self.score,
                history=list(self.history),
                lease_s=self.station.settings.lease_s,
            )
        )
        self.reported = (self.step, now)

    def _fail(self, kind: str, message: str) -> None:
        self._hold()
        if self._last_image is not None:
            try:
                self._store_last_picture(self._last_image)
            except (OSError, StoreUnavailable) as error:
                self._say("last_picture_lost", logging.WARNING, error=str(error))
        self.station.patiently(
            lambda: queue.fail(
                self.station.db,
                worker_id=self.station.worker_id,
                job_id=self.job.id,
                kind=kind,
                message=message,
            )
        )
        self._say("failed", logging.WARNING, kind=kind, error=message)
        self._clean()

    def _cancelled(self) -> None:
        self.station.patiently(
            lambda: queue.cancel_now(self.station.db, worker_id=self.station.worker_id, job_id=self.job.id)
        )
        self._say("cancelled")
        self._clean()

    def _release(self, reason: str) -> None:
        self.station.patiently(
            lambda: queue.release(self.station.db, worker_id=self.station.worker_id, job_id=self.job.id)
        )
        self._say("given_back", reason=reason)

    def _clean(self) -> None:
        """The job has ended: nothing will go on from its state or its frames."""
        shutil.rmtree(self._folder, ignore_errors=True)
        try:
            artefacts.discard(self.station.db, self.station.store, job_id=self.job.id, kind="state")
        except (StoreUnavailable, *DATABASE_DOWN) as error:
            self._say("state_left", logging.WARNING, error=str(error).splitlines()[0])

    def _say(self, event: str, level: int = logging.INFO, **fields: Any) -> None:
        self.station.event(event, level, job=self.job.id, step=self.step, **fields)

    @property
    def _folder(self) -> Path:
        return self.station.work_dir / self.job.id
