"""Following jobs: one look at the database for everybody who waits, however many they are."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import sqlalchemy as sa

from api.places import Places
from api.problems import NotAnswered, Stopping
from api.racing import racing
from db.errors import DatabaseUnavailable, UnknownJob
from db.jobs import State
from db.queue.estimate import Place
from db.queue.glances import Glance, glances

LOOK_S = 0.04  # between two looks where one is quick
REST = 20  # times as long as a look took, where that is longer: followers take a twentieth of a core, however many
MAX_REST_S = 1.0
TELL_S = 2.0  # between two estimates of the wait: the whole queue is played forward for one
MAX_FOLLOWED = 250  # streams and calls that wait, of one submitter
AGAIN_S = 2.0  # after the database could not be read


class Watch:
    """Looks while somebody follows, and rests else."""

    def __init__(
        self,
        run: Callable[..., Awaitable[Any]],
        database: Callable[[], sa.Engine],
        places: Places,
        stopping: asyncio.Event,
    ) -> None:
        """run: calls a function in a thread. database: opens the database where it is not open; called in a thread."""
        self._run, self._database, self._shared, self._stopping = run, database, places, stopping
        self._followed: Counter[str] = Counter()
        self._by_who: Counter[str] = Counter()
        self._seen: dict[str, Glance | None] = {}
        self._places: dict[str, Place] = {}
        self._told_at = 0.0
        self._changed = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    @property
    def followers(self) -> int:
        """How many follow a job just now."""
        return self._followed.total()

    def check(self, who: str) -> None:
        """Raises NotAnswered (429) where somebody follows as much as one may."""
        if self._by_who[who] >= MAX_FOLLOWED:
            raise NotAnswered(
                429,
                f"You follow {self._by_who[who]} jobs or calls at once; at most {MAX_FOLLOWED} are allowed.",
                "too_many_streams",
                retry_after="5",
            )

    async def follow(self, job_ids: Sequence[str], *, who: str, told: bool = False) -> AsyncIterator[dict[str, Glance]]:
        """The progress of jobs, at once and whenever it has changed, until all of them have ended.

        who: the submitter who follows. told: also when the estimate of a wait has changed, see `place`.
        Raises NotAnswered as `check`, UnknownJob where one is not there (any more), DatabaseUnavailable at the start,
        and Stopping when the server is told to stop.
        """
        self.check(who)
        self._followed.update(job_ids)
        self._by_who[who] += 1
        try:
            first = await self._run(lambda: glances(self._database(), job_ids))
            for job_id in job_ids:
                # What another follower saw may be newer.
                self._seen.setdefault(job_id, first.get(job_id))
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            shown: Any = None
            while True:
                changed = self._changed
                now = {job_id: self._seen[job_id] for job_id in job_ids}
                for job_id, glance in now.items():
                    if glance is None:
                        raise UnknownJob(job_id)
                found = {job_id: glance for job_id, glance in now.items() if glance is not None}
                state = found, [self._places.get(job_id) for job_id in job_ids] if told else None
                if state != shown:
                    shown = state
                    yield found
                if all(glance.ended for glance in found.values()):
                    return
                if self._stopping.is_set():
                    raise Stopping
                async with racing(changed.wait(), self._stopping.wait()):
                    pass
        finally:
            self._followed.subtract(job_ids)
            self._by_who[who] -= 1
            if not self._by_who[who]:
                del self._by_who[who]
            for job_id in set(job_ids):
                if self._followed[job_id] <= 0:
                    del self._followed[job_id]
                    self._seen.pop(job_id, None)
                    self._places.pop(job_id, None)

    def place(self, job_id: str) -> Place | None:
        """Where a followed job waits; None where it does not, or where that has not been worked out yet."""
        return self._places.get(job_id)

    async def ended(self, job_ids: Sequence[str], *, who: str) -> None:
        """Returns when all of these jobs have ended. Raises as `follow`."""
        async for _ in self.follow(job_ids, who=who):
            continue

    async def _look(self) -> None:
        while self._followed and not self._stopping.is_set():
            live = [job_id for job_id in self._followed if (seen := self._seen.get(job_id)) is None or not seen.ended]
            began = time.monotonic()
            try:
                fresh = await self._run(lambda live=live: glances(self._database(), live)) if live else {}
                looked = time.monotonic() - began
                places = await self._tell(fresh)
            except Exception as error:  # whoever follows waits on: the next look may find the database back
                if not isinstance(error, DatabaseUnavailable | UnknownJob):
                    logging.getLogger("api").exception("jobs could not be followed")
                await asyncio.sleep(AGAIN_S)
                continue
            before = {job_id: (self._seen.get(job_id), self._places.get(job_id)) for job_id in live}
            for job_id in live:
                if job_id in self._followed:
                    self._seen[job_id] = fresh.get(job_id)
            self._places = places
            if before != {job_id: (self._seen.get(job_id), self._places.get(job_id)) for job_id in live}:
                self._changed.set()
                self._changed = asyncio.Event()
            await asyncio.sleep(min(max(LOOK_S, REST * looked), MAX_REST_S))

    async def _tell(self, fresh: dict[str, Glance]) -> dict[str, Place]:
        waiting = [glance.id for glance in fresh.values() if glance.state == State.QUEUED]
        known = {job_id: self._places[job_id] for job_id in waiting if job_id in self._places}
        if not waiting or (len(known) == len(waiting) and time.monotonic() - self._told_at < TELL_S):
            return known
        self._told_at = time.monotonic()
        return dict(await self._shared.of(waiting))
