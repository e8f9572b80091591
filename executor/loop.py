"""The executor's loop: claim jobs into free places, advance them together, let them go when they are done.

It only computes. The heartbeat (`executor.heartbeat`) keeps leases and hears cancel requests; each job's files are
written in a thread of their own (`executor.writer`).
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from db import queue
from db.errors import DatabaseReplaced, StoreUnavailable
from db.jobs import Job
from db.queue import statuses, workers
from db.queue.fair_order import SAME_BATCH_S
from executor import leaving
from executor.context import DATABASE_DOWN, Context, KeptHere, register
from executor.data import host_of
from executor.engines import Engines, warm_up
from executor.erasing import is_empty, obey_first
from executor.failures import is_ours, sentence_for
from executor.heartbeat import Heartbeat
from executor.job import Work
from executor.memory import (
    BatchLimits,
    free_cached,
    halve_micro_batch,
    is_device_lost,
    is_out_of_memory,
    too_large,
    too_large_even_alone,
)
from executor.room import Room
from executor.runs import Runs
from executor.sight import Sight
from executor.stall import Watch
from executor.suspects import Suspects
from executor.training import work_for
from executor.turns import Turns, over_budget
from generator import params as parameters
from generator.checkpoints.inventory import wrong_default

if TYPE_CHECKING:
    from generator.engines.base import Step

IDLE_S = 0.15  # a look at an empty queue reads one entry of an index
CANCEL_LOOK_S = 0.02
MAX_WAIT_S = 30.0
MAX_UNREAD = 5  # times that a job is given back since the store does not give it what it starts from


class Executor:
    """One process that works on up to `places` jobs at once, on one device, until `stop` is set."""

    def __init__(self, context: Context, device: str, places: int, engines: Sequence[str], once: bool = False) -> None:
        self.context, self.device, self.places, self.names, self.once = context, device, places, list(engines), once
        self.stop = context.stop
        self.held: list[Work] = []  # every claimed job, those whose files are still being written included
        self.active: list[Work] = []  # those with a place in a batch
        self.status = statuses.STARTING
        self._engines = Engines(host_of(context, device))
        self._limits = BatchLimits()
        self._drain = False  # a job waits for all others to leave the device
        self._queue_empty = False
        self._suspects = Suspects(context, self.names)
        self._claim_at = self._open_turn_at = self._looked_at = 0.0
        self._watch = Watch(context, lambda: list(self.held), context.settings.stall_s)
        self._wait = IDLE_S
        self._kept = KeptHere(context)
        self._room = Room(context)
        self._turns = Turns(context, self.names, self._room)
        self._runs = Runs(context, self.names)
        self._unread: Counter[str] = Counter()  # how often a job was given back since the store could not be read

    def run(self) -> int:
        """Work until told to stop, or with `once` until the queue is empty; the exit status.

        Raises DatabaseReplaced, with everything left as it is: nothing more is known of the jobs in progress.
        """
        context = self.context
        context.retry(lambda: register(context, self.device, self.names, self.places))
        obey_first(context)
        heartbeat = Heartbeat(context, lambda: list(self.held), lambda: self.status)
        heartbeat.start()
        self._watch.start()
        sight = Sight(context, lambda: all(work.is_run for work in self.held))
        sight.start()
        context.event(
            "ready", worker=context.worker_id, device=self.device, places=self.places, engines=",".join(self.names)
        )
        settings = context.settings
        if trouble := wrong_default(settings.default_engine, settings.default_checkpoint, settings.checkpoints_dir):
            context.event("wrong_default", logging.WARNING, error=trouble)
        while not self.stop.is_set():
            self._leave()
            self._refill()
            sight.load(self._watch)
            for batch in self._batches():
                self._advance(batch)
            self.status = self._describe()
            if not self.active:
                if self.once and self._queue_empty and not self.held:
                    break
                if not self._engines.warm:
                    with self._watch.over([]):
                        warm_up(self._engines, self.names, self.context)
                self.stop.wait(0.05 if self.held else IDLE_S * random.uniform(0.7, 1.3))
        if heartbeat.replaced is not None:
            raise DatabaseReplaced(heartbeat.replaced)
        self._hand_back()
        sight.end()
        heartbeat.end()
        context.retry(lambda: workers.stop(context.db, context.worker_id, left_nothing=is_empty(context.work_dir)))
        context.event("stopped", worker=context.worker_id)
        return 0

    def abandon(self) -> None:
        """From another thread, when the loop is stuck in a long step: give back what is held as it was saved last."""
        leaving.abandon(self.context, self.held)

    def _describe(self) -> str:
        waiting = sum(work.waits_for == "store" for work in self.held)
        said = [statuses.TAKEN.format(taken=len(self.active), places=self.places)] if self.active else []
        said += [statuses.WAITS_FOR_STORE.format(count=waiting)] if waiting else []
        said += [trouble] if (trouble := self._room.trouble()) else []
        return statuses.joined(said or [statuses.STORING if self.held else statuses.IDLE])

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
        for work, how in self._runs.leaving(self.active, self._drain):
            self._end(work, how)
        for work in self._turns.making_room([w for w in self.active if not w.is_run], self._places(), self._drain):
            self._end(work, work.make_room)
            self._open_turn_at = 0.0  # the place is for whose turn it is
        self._suspects.say_alive(self.held)
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
        if self._suspects.wait_for(self.active):
            self._give_back("a job that has to run alone waits")
        free = self._places() - sum(not work.is_run for work in self.active)
        if free < 1 or (self._suspects.alone and self.held) or (self._drain and self.active) or now < self._claim_at:
            return
        self._drain = False
        self._claim_at = now + IDLE_S
        if self._room.trouble() is not None:
            return  # nothing is claimed that could not be kept: jobs wait instead of failing one by one
        try:
            claimed = self._kept.claim({work.job.id for work in self.held}) + self._claim(free)
        except DATABASE_DOWN as error:
            if self._wait == IDLE_S:
                self.context.event("waiting", logging.WARNING, error=str(error).splitlines()[0])
            self._wait = min(2 * self._wait, MAX_WAIT_S)
            self._claim_at = now + self._wait
            return
        self._wait = IDLE_S
        for work in self.held:
            # It was lost while this executor slept, and comes back before that was noticed.
            work.lost = work.lost or any(job.id == work.job.id for job in claimed)
        newcomers = [work_for(job, self.context) for job in claimed]
        self.held += newcomers
        for work in newcomers:
            if self.stop.is_set():
                work.give_back("stopping")
            else:
                self._open(work)

    def _claim(self, free: int) -> list[Job]:
        def claim(batch_key: str | None) -> list[Job]:
            return queue.claim(
                self.context.db,
                worker_id=self.context.worker_id,
                limit=free,
                engines=self._runs.wanted(self.active),
                batch_key=batch_key,
                share=settings.share,
                lease_s=settings.lease_s,
                alone=alone,
            )

        settings, alone, self._suspects.alone = self.context.settings, self._suspects.alone, False
        if self.active and time.monotonic() - self._open_turn_at < SAME_BATCH_S:
            largest = max(self._batches(), key=len)
            if claimed := claim(largest[0].job.batch_key):
                return claimed
        self._open_turn_at = time.monotonic()
        claimed = claim(None)
        self._queue_empty = not claimed and not self.held  # beside a suspect nothing is claimed, whatever waits
        return claimed

    def _places(self) -> int:
        """How many jobs can be active. Finished ones that wait for the store keep their places."""
        most = self._limits.most(self.places, [work.batch for work in self.active])
        return most - sum(work.waits_for == "store" for work in self.held)

    def _batches(self) -> list[list[Work]]:
        """The jobs that take their next step together; one that is to be alone is a batch of its own."""
        batches: dict[tuple[Any, ...], list[Work]] = {}
        resting = self._runs.rest(self.active)
        for work in (one for one in self.active if one not in resting):
            alone = "" if work.alone_past is None else work.job.id
            batches.setdefault((*work.batch, alone), []).append(work)
        return list(batches.values())

    def _open(self, work: Work) -> None:
        """Give a claimed job its slot, from its saved state if there is one; a bad job fails with a sentence."""
        job, began = work.job, time.monotonic()
        if work.store_kept():
            return
        try:
            work.begin(parameters.validate_job(job.engine, job.params), self.device)
            if not self._fits(work):
                return
            if work.key not in self._engines:
                self.status = statuses.LOADING.format(engine=job.engine, checkpoint=work.key.checkpoint)
                self.context.event("loading", engine=job.engine, checkpoint=work.key.checkpoint)
            state = work.read_state()
            with self._watch.over([work]):
                work.engine = self._engines.get(work.key, {other.key for other in self.active})
                work.open(state)
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
        needed, free = self._engines.room_for(work.key, work.params, beside)
        if (free is None or needed <= free) and self._limits.allow(work.batch, beside):
            return True
        if free is not None and needed > free and self._without_runs():
            return self._fits(work)
        if not self.active and free is not None:
            if self._engines.drop_unused({work.key}):
                return self._fits(work)
            raise too_large(work.params, needed, free, self.device)
        if beside:
            self._limits.set(work.batch, beside)
        else:
            self._drain = True
        work.give_back("no room beside the others")
        return False

    def _without_runs(self) -> bool:
        """Whether there was a run in memory, which is saved and given back: pictures go first."""
        for run in (runs := [work for work in self.active if work.is_run]):
            self._end(run, run.make_room)
        free_cached(self.device)
        return bool(runs)

    # Steps

    def _advance(self, batch: list[Work]) -> None:
        """One step of each, in one batched forward and backward."""
        slots = [work.slot for work in batch if work.slot is not None]
        began, at = [slot.index for slot in slots], time.monotonic()
        try:
            with self._watch.over(batch):
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
        if not batch[0].is_run and self._without_runs():
            for work in batch:
                self._rewind(work)
            return
        if len(batch) > 1:
            keep = len(batch) // 2
            self._limits.set(batch[0].batch, keep)
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
            with self._watch.over([work]):
                work.open(work.unpack_state())
        except Exception as error:
            if is_device_lost(error):
                raise
            self._fail_with(work, error)

    def _fail_with(self, work: Work, error: Exception) -> None:
        if isinstance(error, StoreUnavailable):
            self.context.no_store(error)
            self._unread[work.job.id] += 1
            if self._unread[work.job.id] < MAX_UNREAD:
                return self._end(work, lambda: work.give_back("the store cannot be read"))
        if not is_ours(error) and not is_out_of_memory(error):
            self.context.log.error("engine_error", exc_info=error, extra={"fields": {"job": work.job.id}})
        self._fail(work, *sentence_for(error, step=work.step, size=work.size, device=self.device))

    def _fail(self, work: Work, kind: str, message: str) -> None:
        self._end(work, lambda: work.fail(kind, message))

    def _hand_back(self) -> None:
        """Save what is in progress and give it back; files being written are awaited for a while."""
        self._give_back("stopping")
        if not leaving.all_ended(self.held):
            self.abandon()

    def _give_back(self, reason: str) -> None:
        """Save what is in progress and give it back."""
        for work in list(self.active):
            work.save_state()
            self._end(work, lambda work=work: work.give_back(reason))
