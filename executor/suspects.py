"""What an executor does about suspects (see `db.queue.suspects`): it makes way for one, and says that it is there
itself where jobs were taken from it as if it had been lost."""

from __future__ import annotations

import time
from collections.abc import Sequence

from db import queue
from executor.context import DATABASE_DOWN, Context
from executor.job import Work

LOOK_S = 2.0  # how often it is asked whether a suspect waits for this executor


class Suspects:
    """Of one executor, which serves these engines. alone: it holds nothing for a suspect's sake, which comes next."""

    def __init__(self, context: Context, engines: Sequence[str]) -> None:
        self._context, self._engines = context, engines
        self._look_at = 0.0
        self._since: float | None = None
        self.alone = False

    def wait_for(self, active: Sequence[Work]) -> bool:
        """Whether what is active must be given back now: a suspect has waited for a lease for it to be done."""
        now, lease_s = time.monotonic(), self._context.settings.lease_s
        if not active or now < self._look_at:
            return False
        self._look_at = now + min(LOOK_S, lease_s / 4)
        try:
            waits = queue.makes_way(self._context.db, self._context.worker_id, self._engines)
        except DATABASE_DOWN:
            return False  # asked again
        if not waits:
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since >= lease_s:
            self._since, self.alone = None, True
        return self.alone

    def say_alive(self, held: Sequence[Work]) -> None:
        """Jobs that are somebody else's by now were not what stopped this executor: it goes on."""
        for work in held:
            if work.lost and work.ended.is_set():
                try:
                    queue.came_back(self._context.db, worker_id=self._context.worker_id, job_id=work.job.id)
                except DATABASE_DOWN:
                    continue  # it stays a suspect until it has got on
