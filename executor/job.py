"""One job in the executor's hands: its slot and its progress, driven by the main loop.

The loop only hands pictures over; what may have to wait is done by the job's writer (`executor.writer`).
"""

from __future__ import annotations

import io
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from db import artefacts, queue
from db.artefacts import sources
from db.errors import StoreUnavailable, UnknownArtefact
from db.jobs import HISTORY_POINTS, Job, thin
from executor.attempt import Attempt
from executor.context import Context, awake
from executor.engines import EngineKey
from executor.failures import DownloadsOff
from executor.models import fetch_missing
from executor.outputs import File, Files
from executor.turns import Turn
from executor.writer import Writer
from generator.checkpoints.fingerprint import own_weights
from generator.checkpoints.store import upscaler_file
from generator.output.sources import Sources
from generator.params import DownloadParams, Params

if TYPE_CHECKING:
    from generator.engines.base import Engine, Slot, Step
    from generator.params import JobParams

PREVIEW_EVERY_S = 0.5


class Work:
    """A claimed job until it is ended, given back or lost. Made and driven by the main loop.

    cancel, lost and broken are set by other threads and looked at between two steps. is_run: whether it trains, see
    executor/training.py.
    """

    is_run = False

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
        self.waits_for: str | None = None  # "store": its files are finished and cannot be stored yet; runs.RESTS
        self.attempt = Attempt(context.work_dir, job.id, context.studio_id)
        self.reported = (-1, awake())  # step of the last heartbeat, and when that was
        self.turn = Turn(job)
        self._state_at = time.monotonic()
        self._preview_at = self._logged_at = 0.0
        self._step_times: deque[float] = deque(maxlen=20)
        self._files: Files | None = None
        self._writer = Writer(self)

    @property
    def batch(self) -> tuple[EngineKey, str]:
        """Jobs with the same value share every forward and backward pass."""
        return self.key, self.params.batch_key

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) in px, None before the parameters are read."""
        return self.params.actual_size if hasattr(self, "params") else None

    @property
    def ended_at(self) -> int | None:
        """The step at which it ended; None: its last one."""
        return None

    @property
    def steps_per_s(self) -> float | None:
        times = self._step_times
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else None

    def progress(self) -> queue.Progress:
        """What the queue is told of it now. For any thread."""
        return queue.Progress(
            job_id=self.job.id,
            step=self.step,
            score=self.score,
            steps_per_s=self.steps_per_s,
            history=list(self.history),
            ran_s=self.turn.ran_s,
            spent_s=self.turn.spent_s,
            waits_for=self.waits_for,
        )

    # Called by the main loop

    def begin(self, params: JobParams, device: str) -> None:
        """The parameters are read and good. Raises CheckpointMissing for an upscaler that is not there, DownloadsOff
        where none are fetched here, UnknownArtefact or SourceHidden where a picture it starts from is gone."""
        context, folder = self.context, self.context.settings.checkpoints_dir
        fetch_missing(context, params)
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
        licence = context.settings.picture_licence
        read = partial(_read_source, context)  # not of this job, which would not go before a collector comes by
        self._files = Files(self.job.engine, params, made_from, self.attempt.folder, read, licence, **upscaling)

    def store_kept(self) -> bool:
        """Whether an attempt before has finished the job on this machine: its files are being stored then."""
        finished = self.attempt.finished()
        if finished is None:
            return False
        self.step, self.score, self.history = self.job.total_steps, finished.score, self.job.history
        self._end(lambda: self._writer.store_kept(finished))
        return True

    def read_state(self) -> dict[str, Any] | None:
        """The slot state saved by whoever ran this job before, its score curve taken over; None: start anew.

        It is in the store, or here where the store did not take it. Raises StoreUnavailable where it cannot be read.
        """
        context, found = self.context, self.attempt.states()
        saved = context.retry(lambda: artefacts.of_job(context.db, self.job.id)).get("state")
        if saved is not None:
            try:
                found.append(context.store.get(saved.key))
            except UnknownArtefact:
                pass
            except StoreUnavailable:
                if not found:
                    raise
        read = [(state, self._unpack(state)) for state in found]
        usable = [(state, document) for state, document in read if document is not None]
        if not usable:
            return None
        self.state, _ = max(usable, key=lambda one: one[1].get("step", 0))
        self.attempt.take_over()
        return self.unpack_state()

    def unpack_state(self) -> dict[str, Any] | None:
        """The slot state in `self.state`; an unreadable one is logged and left, so that the job starts anew."""
        document = None if self.state is None else self._unpack(self.state)
        self.history = [] if document is None else document["history"]
        return None if document is None else document["slot"]

    def _unpack(self, state: bytes) -> dict[str, Any] | None:
        try:
            document: dict[str, Any] = torch.load(io.BytesIO(state), weights_only=True, map_location="cpu")
            return {"slot": document["slot"], "history": document["history"], "step": int(document.get("step", 0))}
        except Exception as error:  # whatever damaged bytes make torch raise
            self._forget_state(error)
            return None

    def open(self, state: dict[str, Any] | None) -> None:
        """A slot to advance, going on from the state if there is one. Raises what the engine raises."""
        if state is not None:
            try:
                self.slot = self.engine.resume(self.params, state)
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                self._forget_state(error)  # of another version of the engine
        if self.slot is None or self.slot.done:
            self.context.show_early = self._show_early
            try:
                self.slot, self.history = self.engine.open(self.params), []
            finally:
                self.context.show_early = None
        self.step = self.slot.index
        self._step_times.clear()

    def _show_early(self, image: torch.Tensor) -> None:
        self._preview_at = time.monotonic()
        self._writer.preview(image)

    def _forget_state(self, error: Exception) -> None:
        self.state, self.history = None, []
        self.say("state_unusable", logging.WARNING, error=f"{type(error).__name__}: {error}".splitlines()[0])

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
            self._writer.frame(step.index, image)
            if now - self._preview_at >= PREVIEW_EVERY_S and self._writer.waiting <= 2:
                self._preview_at = now
                self._writer.preview(image)
        if now - self._logged_at >= self.context.settings.heartbeat_s:
            self._logged_at = now
            self.say("step", total=step.total, score=step.score, steps_per_s=self.steps_per_s)
        if now - self._state_at >= self.context.settings.state_every_s and not step.done:
            self.save_state()

    def save_state(self) -> None:
        """Keep what is needed to go on from here. Serialised now, since the next step changes the tensors."""
        if self.slot is None or self.slot.done or self.slot.index == 0:
            return
        file = io.BytesIO()
        document = {"slot": self.slot.state_dict(), "history": thin(self.history), "step": self.slot.index}
        torch.save(document, file)
        state = self.state = file.getvalue()
        self._state_at = time.monotonic()
        self._writer.state(state)

    def rejoin(self) -> None:
        """Alone past the step in which its batch failed: from now on it shares one again, and never goes back there."""
        if self.slot is not None and self.alone_past is not None and self.slot.index > self.alone_past:
            self.alone_past = None
            self.save_state()

    def finish(self) -> None:
        """The last step was made: store everything, then mark the job succeeded (or cancelled, if asked meanwhile)."""
        self._end(self._writer.succeed)

    def fail(self, kind: str, message: str) -> None:
        """The job cannot go on; its last good picture stays."""
        self._end(lambda: self._writer.fail(kind, message))

    def stop_cancelled(self) -> None:
        """The job was to be cancelled."""
        self._end(self._writer.cancelled)

    def give_back(self, reason: str) -> None:
        """Back to the queue at no cost to its attempts, to go on from the state saved last."""
        self._end(lambda: self._writer.release(reason))

    def make_room(self) -> None:
        """Its slice is over and others wait: back to the queue, to go on from here when its turn comes again."""
        self.save_state()
        self._end(lambda: self._writer.release("slice over", slice_over=True))

    def drop(self) -> None:
        """The job is somebody else's now: write nothing any more."""
        self.lost = True
        self.say("dropped", logging.WARNING)
        self._end(lambda: None)

    def _end(self, task: Callable[[], None]) -> None:
        self.slot = None
        self._writer.end(task)

    # Also called by its writer

    def announce(self) -> None:
        """Its files are stored, and it is about to end."""

    def say(self, event: str, level: int = logging.INFO, **fields: Any) -> None:
        """A line of the log about this job."""
        self.context.event(event, level, job=self.job.id, step=self.step, **fields)

    def tell(self, event: str, error: BaseException) -> None:
        """A warning about this job and what brought it about."""
        self.say(event, logging.WARNING, error=f"{type(error).__name__}: {error}".splitlines()[0])

    def unfinished(self) -> Iterator[File]:
        """The last good picture, where there is one."""
        if self._files:
            yield from self._files.unfinished(self.score)

    @property
    def files(self) -> Files:
        """What the job has made, once its parameters are read."""
        assert self._files is not None
        return self._files


def _read_source(context: Context, reference: str) -> bytes:
    return context.store.get(context.key_of(reference))
