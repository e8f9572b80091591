"""Where jobs wait and for how long, for many who ask at once: the queue is played forward once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import sqlalchemy as sa

from db import queue
from db.queue.estimate import Place


class Places:
    """Whoever asks while the queue is being played forward shares the next play, which begins after they asked."""

    def __init__(self, run: Callable[..., Awaitable[Any]], database: Callable[[], sa.Engine]) -> None:
        """run: calls a function in a thread. database: the open one; called in a thread."""
        self._run, self._database = run, database
        self._wanted: set[str] = set()
        self._playing: asyncio.Task[dict[str, Place]] | None = None
        self._next: asyncio.Task[dict[str, Place]] | None = None

    async def of(self, job_ids: Collection[str]) -> Mapping[str, Place]:
        """The places of those of these jobs that are there. Raises DatabaseUnavailable."""
        if not job_ids:
            return {}
        self._wanted.update(job_ids)
        if self._next is None:
            self._next = asyncio.create_task(self._play(self._playing))
        # The others still wait for it where one of them goes away.
        found = await asyncio.shield(self._next)
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}

    async def _play(self, before: asyncio.Task[dict[str, Place]] | None) -> dict[str, Place]:
        if before is not None:
            await asyncio.wait([before])
        wanted, self._wanted = list(self._wanted), set()
        self._playing, self._next = self._next, None
        found: dict[str, Place] = await self._run(lambda: queue.places(self._database(), wanted, skip_unknown=True))
        return found
