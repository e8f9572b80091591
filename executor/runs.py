"""How runs and drawings share an executor: pictures first, for everybody.

A run is claimed where nothing else waits, one at a time. When a picture is asked for, it is claimed beside the run at
once and the run rests, in memory, until the pictures are drawn: opening it again takes longer than most pictures do.
Only where its memory is needed, or it has rested for REST_S, is it saved and given back, so that another executor may
go on with it. Runs that wait for each other take slices as drawings do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from db import queue
from executor.context import DATABASE_DOWN, Context
from executor.training import RunWork, asked_of
from generator import registry

if TYPE_CHECKING:
    from executor.job import Work

REST_S = 180.0
LOOK_S = 0.5  # how often it is looked what owners ask, and who waits
RESTS = "pictures"  # what a run that rests waits for


class Runs:
    """The runs among the jobs of one executor. engines: all that it serves."""

    def __init__(self, context: Context, engines: Sequence[str]) -> None:
        self._context, self._engines = context, list(engines)
        made = {name: registry.ENGINES[name].makes for name in engines}
        self._training = [name for name in engines if made[name] == "model"]
        self._drawing = [name for name in engines if made[name] != "model"]
        self._look_at = 0.0
        self._rests_since: dict[str, float] = {}

    def wanted(self, active: Sequence[Work]) -> list[str]:
        """The engines to claim jobs for: no run beside anything else."""
        return self._drawing if active else self._engines

    def rest(self, active: Sequence[Work]) -> set[Work]:
        """The runs that make no step now, since pictures of a higher priority are drawn."""
        drawings = [work for work in active if not work.is_run]
        resting: set[Work] = set()
        for work in active:
            if work.is_run and any(other.job.priority > work.job.priority for other in drawings):
                resting.add(work)
                self._rests_since.setdefault(work.job.id, time.monotonic())
                work.waits_for = RESTS
            elif work.is_run:
                self._rests_since.pop(work.job.id, None)
                work.waits_for = None
        return resting

    def leaving(self, active: Sequence[Work], drain: bool) -> list[tuple[Work, Callable[[], None]]]:
        """The runs that leave their places now, each with the method of RunWork that ends it here.

        drain: a job waits for all others to leave.
        """
        now, works = time.monotonic(), [work for work in active if isinstance(work, RunWork)]
        over = [work for work in works if work.over_budget and work.step > 0]
        found: list[tuple[Work, Callable[[], None]]] = [(work, work.finish) for work in over]
        if drain:
            return [*found, *[(work, work.make_room) for work in works if work not in over]]
        if not works or now < self._look_at:
            return found
        self._look_at = now + LOOK_S
        try:
            asked_of(self._context, works)
            waits = self._waits(works)
        except DATABASE_DOWN:
            return found
        for work in (one for one in works if one not in over):
            if work.asked == queue.KEEP and work.step > 0:
                found.append((work, work.finish))
            elif work.asked == queue.PAUSE:
                found.append((work, work.pause))
            elif now - self._rests_since.get(work.job.id, now) > REST_S or work.job.id in waits:
                found.append((work, work.make_room))
        return found

    def _waits(self, works: Sequence[RunWork]) -> set[str]:
        """The runs whose slice is over while others wait, and those that nothing may be drawn beside."""
        context, slice_s = self._context, self._context.settings.slice_s
        # A suspect has the executor to itself, so that pictures could not be claimed beside it.
        alone = [work for work in works if work.job.suspect_step is not None]
        if alone and queue.waits(context.db, engines=self._drawing, above=max(work.job.priority for work in alone)):
            return {work.job.id for work in alone}
        over = {w.job.id for w in works if w.slot and slice_s and w.turn.is_over(w.step, w.steps_per_s, slice_s)}
        if not over:
            return set()
        return queue.to_make_room(
            context.db, worker_id=context.worker_id, engines=self._training, ready=over, places=len(works)
        )
