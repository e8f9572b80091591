"""What a job has had of its executor: what it has cost, whether that is all it may cost, and whether its slice is over.

A job costs what its steps take of the device; where several make a step together, each costs its part of it. So a job
costs no more beside others than it would alone, and who else draws does not decide whether it is finished.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from db import queue
from db.jobs import Job
from db.queue.slices import has_had
from db.wording import duration
from executor.context import DATABASE_DOWN, Context
from executor.room import Room
from generator.params import DownloadParams, Params

if TYPE_CHECKING:
    from executor.job import Work

LOOK_S = 1.0  # how often it is looked whether others need a place
LOADS = 2.0  # a slice lasts at least so many times what opening the job took, so that most of the time goes into steps


class Turn:
    """One job's time on this executor. spent_s: what it has cost since it was first claimed."""

    def __init__(self, job: Job) -> None:
        self.spent_s = job.spent_s or 0.0
        self._job, self._claimed_at = job, time.monotonic()
        self._began_at, self._from_step, self._opening_s = self._claimed_at, job.step, 0.0

    @property
    def ran_s(self) -> float:
        """s since it was claimed, whatever the clock on the wall was set to meanwhile."""
        return time.monotonic() - self._claimed_at

    def begin(self, step: int, opening_s: float) -> None:
        """It has a slot, at this step; finding and loading what it needs took so many s."""
        self._began_at, self._from_step, self._opening_s = time.monotonic(), step, opening_s

    def is_over(self, step: int, steps_per_s: float | None, slice_s: float) -> bool:
        """Whether it has had its slice."""
        left_s = (self._job.total_steps - step) / steps_per_s if steps_per_s else None
        slice_s = max(slice_s, LOADS * self._opening_s)
        ran_s = time.monotonic() - self._began_at
        return has_had(slice_s, ran_s=ran_s, made=step - self._from_step, left_s=left_s)


def over_budget(work: Work) -> str | None:
    """Why a job that has cost all it may ends here, as a sentence; None: it goes on."""
    budget_s, job = work.job.budget_s, work.job
    if budget_s is None or work.turn.spent_s < budget_s or isinstance(work.params, DownloadParams) or work.is_run:
        return None  # a run ends with the model it has, see executor/runs.py
    kept = "The picture so far is kept, and another can start from it. " if isinstance(work.params, Params) else ""
    return (
        f"It has had the {duration(budget_s)} of this executor that the host allows one job, at step {work.step:,} of "
        f"{job.total_steps:,}. {kept}Ask for fewer steps or a smaller size."
    )


class Turns:
    """Who makes room for whom on one executor."""

    def __init__(self, context: Context, engines: Sequence[str], room: Room) -> None:
        self._context, self._engines, self._room = context, engines, room
        self._look_at = 0.0

    @property
    def slice_s(self) -> float | None:
        """How long a job holds its place while others wait; None: until it is done."""
        return self._context.settings.slice_s or None

    def charge(self, batch: Sequence[Work], took_s: float) -> None:
        """One step of these jobs together took so many s."""
        for work in batch:
            work.turn.spent_s += took_s / len(batch)

    def making_room(self, active: Sequence[Work], places: int, drain: bool) -> list[Work]:
        """The jobs that give their places back now. places: how many can be held; drain: a job waits for all to leave.

        Nobody does while a store that cannot be written, or a full disk, keeps what waits from being claimed.
        """
        now, context = time.monotonic(), self._context
        if self.slice_s is None or now < self._look_at or self._room.trouble() is not None:
            return []
        over = {w.job.id: w for w in active if w.slot and w.turn.is_over(w.step, w.steps_per_s, self.slice_s)}
        # A suspect has the executor to itself: beside it no place is free.
        alone = any(work.job.suspect_step is not None for work in active)
        if not over or (len(active) < places and not drain and not alone):
            return []
        self._look_at = now + LOOK_S
        if drain:
            return list(over.values())
        try:
            chosen = queue.to_make_room(
                context.db, worker_id=context.worker_id, engines=self._engines, ready=over, places=places
            )
        except DATABASE_DOWN:
            return []  # who waits cannot be claimed now either
        return [work for job_id, work in over.items() if job_id in chosen]
