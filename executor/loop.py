"""The executor's loop: claim jobs into free places, advance them together, let them go when they are done.

It only computes. The heartbeat (`executor.heartbeat`) keeps leases and hears cancel requests; each job's files are
written in a thread of their own (`executor.writer`).
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from db import queue
from db.errors import DbError, StoreUnavailable
from db.jobs import Job
from db.queue import workers
from db.queue.fair_order import SAME_BATCH_S
from executor.context import DATABASE_DOWN, Context
from executor.engines import EngineKey, Engines
from executor.failures import is_ours, sentence_for
from executor.heartbeat import Heartbeat
from executor.job import Work
from executor.memory import (
    free_cached,
    halve_micro_batch,
    is_device_lost,
    is_out_of_memory,
    too_large,
    too_large_even_alone,
)
from executor.turns import Turns, over_budget
from generator import params as parameters
from generator import registry
from generator.checkpoints.inventory import wrong_default
from generator.device import Host
from generator.images.decode import decode_image
from generator.tiling import MAX_PX

if TYPE_CHECKING:
    from PIL import Image

    from generator.engines.base import Step

IDLE_S = 0.5
CANCEL_LOOK_S = 0.02
LIMIT_FORGOTTEN_S = 600.0  # after running out of memory, a full batch is tried again so much later
STOP_S = 5.0  # how long files being written are awaited when the executor stops
MAX_WAIT_S = 30.0
MAX_BYTES = 512 << 20  # of a picture in the store: what the studio upscaled itself may be larger than an upload


class Executor:
    """One process that works on up to `places` jobs at once, on one device, until `stop` is set."""

    def __init__(self, context: Context, device: str, places: int, engines: Sequence[str], once: bool = False) -> None:
        self.context, self.device, self.places, self.names, self.once = context, device, places, list(engines), once
        self.stop = threading.Event()
        self.held: list[Work] = []  # every claimed job, those whose files are still being written included
        self.active: list[Work] = []  # those with a place in a batch
        self.status = "starting"
        settings = context.settings
        self._engines = Engines(Host(device, settings.checkpoints_dir, self.read_image, settings.exactly))
        self._turns = Turns(context, self.names)
        self._limits: dict[tuple[EngineKey, str], tuple[int, float]] = {}  # batch -> most jobs, until when
        self._drain = False  # a job waits for all others to leave the device
        self._queue_empty = self._warm = False
        self._claim_at = self._open_turn_at = self._looked_at = 0.0
        self._wait = IDLE_S

    def run(self) -> int:
        """Work until told to stop, or with `once` until the queue is empty; the exit status."""
        context = self.context
        context.retry(self._register)
        heartbeat = Heartbeat(context, lambda: list(self.held), lambda: self.status)
        heartbeat.start()
        context.event(
            "ready", worker=context.worker_id, device=self.device, places=self.places, engines=",".join(self.names)
        )
        settings = context.settings
        if trouble := wrong_default(settings.default_engine, settings.default_checkpoint, settings.checkpoints_dir):
            context.event("wrong_default", logging.WARNING, error=trouble)
        while not self.stop.is_set():
            self._leave()
            self._refill()
            for batch in self._batches():
                self._advance(batch)
            self.status = self._describe()
            if not self.active:
                if self.once and self._queue_empty and not self.held:
                    break
                self._warm_up()
                self.stop.wait(0.05 if self.held else IDLE_S * random.uniform(0.7, 1.3))
        self._hand_back()
        heartbeat.end()
        context.retry(lambda: workers.stop(context.db, context.worker_id))
        context.event("stopped", worker=context.worker_id)
        return 0

    def _warm_up(self) -> None:
        """With nothing to do for the first time: load the embedded models, so that the first visitor need not wait."""
        settings = self.context.settings
        if self._warm or settings.default_engine not in {*self.names} & {*registry.drawing_engines()}:
            return
        self._warm = True
        name = registry.first_checkpoint(settings.default_engine, settings.default_checkpoint)
        if not registry.checkpoint(name).embedded:
            return
        try:
            params = parameters.validate_job(settings.default_engine, {"prompt": "warm-up", "checkpoint": name})
            self._engines.get(EngineKey.of(settings.default_engine, params), set())
        except Exception as error:  # the first job will fail with the same, in its own name
            self.context.event("not_loaded", logging.WARNING, error=f"{type(error).__name__}: {error}".splitlines()[0])
        else:
            self.context.event("loaded", engine=settings.default_engine, checkpoint=name)

    def abandon(self) -> None:
        """From another thread, when the loop is stuck in a long step: give back what is held as it was saved last."""
        for work in self.held:
            if not work.ended.is_set():
                work.lost = True
                try:
                    queue.release(self.context.db, worker_id=self.context.worker_id, job_id=work.job.id)
                    self.context.event("given_back", job=work.job.id, reason="stopping in the middle of a step")
                except (DbError, sa.exc.SQLAlchemyError):
                    continue  # not this executor's any more, or its lease will expire
        workers.stop(self.context.db, self.context.worker_id)

    def read_image(self, reference: str) -> Image.Image:
        """A picture named in a job's parameters: its key in the store, or the id of its record."""
        return decode_image(self.context.store.get(self.context.key_of(reference)), MAX_BYTES, MAX_PX)

    def _register(self) -> None:
        workers.register(
            self.context.db,
            worker_id=self.context.worker_id,
            device=self.device,
            engines=self.names,
            places=self.places,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            slice_s=self._turns.slice_s,
            share=self.context.settings.share,
        )

    def _describe(self) -> str:
        if self.active:
            return f"{len(self.active)} of {self.places} places taken"
        return self.context.store_trouble or ("storing" if self.held else "idle")

    # Places: who leaves, who comes

    def _leave(self) -> None:
        """Between two steps: take out the jobs that were cancelled, lost, or whose files cannot be written."""
        now = time.monotonic()
        if self.active and now - self._looked_at >= CANCEL_LOOK_S:
            self._looked_at = now
            asked = self._asked_to_cancel()
            for work in self.active:
                work.cancel = work.cancel or work.job.id in asked
        for work in list(self.active):
            if work.lost:
                self._end(work, work.drop)
            elif work.cancel:
                self._end(work, work.stop_cancelled)
            elif work.broken:
                self._fail(work, *work.broken)
            elif sentence := over_budget(work):
                self._fail(work, "over_budget", sentence)
        for work in self._turns.making_room(self.active, self._capacity(), self._drain):
            self._end(work, work.make_room)
            self._open_turn_at = 0.0  # the place is for whose turn it is
        self.held = [work for work in self.held if not work.ended.is_set()]

    def _asked_to_cancel(self) -> set[str]:
        try:
            return queue.to_be_cancelled(self.context.db, [work.job.id for work in self.active])
        except DATABASE_DOWN:
            return set()  # the heartbeat asks again

    def _end(self, work: Work, how: Any) -> None:
        """A job leaves its place; `how` is the method of Work that ends it."""
        if work in self.active:
            self.active.remove(work)
            self._claim_at = 0.0
        how()

    def _refill(self) -> None:
        """Claim jobs for the free places and open them."""
        now = time.monotonic()
        free = self._capacity() - len(self.active)
        if free < 1 or (self._drain and self.active) or now < self._claim_at:
            return
        self._drain = False
        self._claim_at = now + IDLE_S
        try:
            if self.context.store_trouble:
                # Nothing is claimed that could not be kept, so jobs wait instead of failing one by one.
                self._try_store()
            claimed = self._claim(free)
        except (StoreUnavailable, *DATABASE_DOWN) as error:
            if self._wait == IDLE_S:
                self.context.event("waiting", logging.WARNING, error=str(error).splitlines()[0])
            self._wait = min(2 * self._wait, MAX_WAIT_S)
            self._claim_at = now + self._wait
            return
        self._wait = IDLE_S
        newcomers = [Work(job, self.context) for job in claimed]
        self.held += newcomers
        for work in newcomers:
            if self.stop.is_set():
                work.give_back("stopping")
            else:
                self._open(work)

    def _try_store(self) -> None:
        key = f"executors/{self.context.worker_id}.txt"
        self.context.store.put(key, b"Can this store be written?")
        self.context.store.delete(key)
        self.context.store_trouble = None
        self.context.event("store_back")

    def _claim(self, free: int) -> list[Job]:
        def claim(batch_key: str | None) -> list[Job]:
            share, lease_s = self.context.settings.share, self.context.settings.lease_s
            db, ours = self.context.db, self.context.worker_id
            return queue.claim(
                db, worker_id=ours, limit=free, engines=self.names, batch_key=batch_key, share=share, lease_s=lease_s
            )

        if self.active and time.monotonic() - self._open_turn_at < SAME_BATCH_S:
            largest = max(self._batches(), key=len)
            if claimed := claim(largest[0].job.batch_key):
                return claimed
        self._open_turn_at = time.monotonic()
        claimed = claim(None)
        self._queue_empty = not claimed
        return claimed

    def _capacity(self) -> int:
        now = time.monotonic()
        self._limits = {batch: limit for batch, limit in self._limits.items() if limit[1] > now}
        return min([self.places, *(self._limits[w.batch][0] for w in self.active if w.batch in self._limits)])

    def _batches(self) -> list[list[Work]]:
        """The jobs that take their next step together; one that is to be alone is a batch of its own."""
        batches: dict[tuple[Any, ...], list[Work]] = {}
        for work in self.active:
            alone = "" if work.alone_past is None else work.job.id
            batches.setdefault((*work.batch, alone), []).append(work)
        return list(batches.values())

    def _open(self, work: Work) -> None:
        """Give a claimed job its slot, from its saved state if there is one; a bad job fails with a sentence."""
        job, began = work.job, time.monotonic()
        try:
            work.begin(parameters.validate_job(job.engine, job.params), self.device)
            if not self._fits(work):
                return
            if work.key not in self._engines:
                self.status = f"loading {job.engine} {work.key.checkpoint}"
                self.context.event("loading", engine=job.engine, checkpoint=work.key.checkpoint)
            work.engine = self._engines.get(work.key, {other.key for other in self.active})
            work.open(work.read_state())
        except Exception as error:
            trouble = error
        else:
            work.turn.begin(work.step, time.monotonic() - began)
            self.active.append(work)
            self.context.event("opened", job=job.id, attempt=job.attempt, step=work.step, batch=work.params.batch_key)
            return
        if is_device_lost(trouble):
            raise trouble
        if is_out_of_memory(trouble) and self.active:
            self._drain = True
            work.give_back("out of memory beside the others")
        else:
            self._fail_with(work, trouble)
        free_cached(self.device)

    def _fits(self, work: Work) -> bool:
        """Whether there is memory for the job; if only others are in its way, it goes back to wait for its turn.

        Raises NotEnoughMemory if it would not fit alone.
        """
        beside = sum(other.batch == work.batch for other in self.active)
        limit = self._limits.get(work.batch)
        needed, free = self._engines.room_for(work.key, work.params, beside)
        if (free is None or needed <= free) and (limit is None or beside < limit[0]):
            return True
        if not self.active and free is not None:
            if self._engines.drop_unused({work.key}):
                return self._fits(work)
            raise too_large(work.params, needed, free, self.device)
        if beside:
            self._limit(work.batch, beside)
        else:
            self._drain = True
        work.give_back("no room beside the others")
        return False

    def _limit(self, batch: tuple[EngineKey, str], jobs: int) -> None:
        self._limits[batch] = (jobs, time.monotonic() + LIMIT_FORGOTTEN_S)

    # Steps

    def _advance(self, batch: list[Work]) -> None:
        """One step of each, in one batched forward and backward."""
        slots = [work.slot for work in batch if work.slot is not None]
        began, at = [slot.index for slot in slots], time.monotonic()
        try:
            steps: list[Step] = batch[0].engine.advance(slots)
        except Exception as error:
            trouble = error
        else:
            self._turns.charge(batch, time.monotonic() - at)
            for work, step in zip(batch, steps, strict=True):
                if step.error is not None:
                    self._fail_with(work, step.error)
                    continue
                work.on_step(step)
                if step.done:
                    self._end(work, work.finish)
                else:
                    work.rejoin()
            return
        if is_device_lost(trouble):
            raise trouble
        if is_out_of_memory(trouble):
            # The error's frames hold the tensors of the step that failed.
            trouble.__traceback__ = None
            self._make_room(batch)
        elif len(batch) == 1:
            self._fail_with(batch[0], trouble)
        else:
            # One of them made the whole batch fail. Each makes its steps up to there and that one alone: this shows
            # which, and whoever is still there has got past it.
            self.context.event("batch_failed", logging.ERROR, jobs=len(batch), error=f"{trouble}")
            for work, index in zip(batch, began, strict=True):
                work.alone_past = index
                self._rewind(work)

    def _make_room(self, batch: list[Work]) -> None:
        """Memory ran out: half the batch goes back to the queue; a job alone gets fewer cutouts at a time."""
        if len(batch) > 1:
            keep = len(batch) // 2
            self._limit(batch[0].batch, keep)
            self.context.event("out_of_memory", logging.WARNING, batch=len(batch), batch_now=keep)
            for work in batch[keep:]:
                self._end(work, lambda work=work: work.give_back("out of memory"))
            for work in batch[:keep]:
                self._rewind(work)
            return
        work = batch[0]
        micro_batch = halve_micro_batch(work.engine, work.params.cutouts_per_step)
        if micro_batch is not None:
            self.context.event("out_of_memory", logging.WARNING, job=work.job.id, micro_batch_now=micro_batch)
            self._rewind(work)
            return
        self._fail(work, "out_of_memory", too_large_even_alone(work.params, self.device))

    def _rewind(self, work: Work) -> None:
        """Open the slot again where it was saved last: the step that broke off may have drawn random numbers."""
        work.slot = None
        free_cached(self.device)
        try:
            work.open(work.unpack_state())
        except Exception as error:
            if is_device_lost(error):
                raise
            self._fail_with(work, error)

    def _fail_with(self, work: Work, error: Exception) -> None:
        if isinstance(error, StoreUnavailable):
            self.context.no_store(error)
        if not is_ours(error) and not is_out_of_memory(error):
            self.context.log.error("engine_error", exc_info=error, extra={"fields": {"job": work.job.id}})
        self._fail(work, *sentence_for(error, step=work.step, size=work.size, device=self.device))

    def _fail(self, work: Work, kind: str, message: str) -> None:
        self._end(work, lambda: work.fail(kind, message))

    def _hand_back(self) -> None:
        """Save what is in progress and give it back; files being written are awaited for a while."""
        until = time.monotonic() + STOP_S
        for work in list(self.active):
            work.save_state()
            self._end(work, lambda work=work: work.give_back("stopping"))
        for work in self.held:
            work.ended.wait(max(0.0, until - time.monotonic()))
        if any(not work.ended.is_set() for work in self.held):
            self.abandon()
