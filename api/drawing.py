"""Calls that wait for their pictures, as clients of other systems make them: queue, wait, hand over.

Nobody else will fetch such a picture: where the client goes away, its jobs are cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastapi import Request

from api.callers import Caller
from api.opened import Api
from api.problems import NotAnswered
from db import artefacts, queue
from db.artefacts import Artefact
from db.errors import DatabaseUnavailable, DbError, StoreUnavailable
from db.jobs import Job, State
from studio import access
from studio.context import Studio
from studio.sheets import cancel_all

AGAIN_S = 2.0


@dataclass(frozen=True)
class Drawn:
    """A finished job and its files by kind."""

    job: Job
    files: dict[str, Artefact]

    def bytes(self, studio: Studio, caller: Caller, kind: str = "picture") -> bytes:
        """A file's bytes. Raises UnknownJob where it was hidden by now."""
        return access.file(studio, caller.submitter, self.files[kind])


async def draw(api: Api, request: Request, caller: Caller, make: Callable[[Studio], Sequence[Job]]) -> list[Drawn]:
    """Queue what `make` queues, and wait until all of it has ended. Raises what `make` raises, and as `drawn`."""
    api.watch.check(caller.submitter.id)
    jobs = await api.ask(make)
    async with cancelled_unless_done(api, caller, jobs):
        await api.while_there(request, api.watch.ended([job.id for job in jobs], who=caller.submitter.id))
    return await drawn(api, jobs)


async def drawn(api: Api, jobs: Sequence[Job]) -> list[Drawn]:
    """The finished ones of jobs that have ended, in their order. Raises NotAnswered where there is none."""

    def look(studio: Studio) -> list[Drawn]:
        now = queue.get_each(studio.db, [job.id for job in jobs])
        files = artefacts.of_jobs(studio.db, [job.id for job in now])
        made = [Drawn(job, files[job.id]) for job in now if job.state == State.SUCCEEDED]
        if not made:
            raise not_drawn(now[0])
        return made

    return await api.ask(look)


def not_drawn(job: Job) -> NotAnswered:
    """Why a job that has ended left no picture."""
    if job.state == State.CANCELLED:
        return NotAnswered(409, "The job was cancelled.", "cancelled")
    return NotAnswered(500, job.error or "The picture could not be drawn.", job.error_kind or "failed")


class cancelled_unless_done:
    """Cancels the jobs where the block is left by an error, or by the end of the task that is in it.

    Not where the server stops: then they go on at its next start, as all jobs do.
    """

    def __init__(self, api: Api, caller: Caller, jobs: Sequence[Job]) -> None:
        self._api, self._caller, self._ids = api, caller, [job.id for job in jobs]

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is None or self._api.stopping.is_set():
            return
        self._api.later(self._cancel())

    async def _cancel(self) -> None:
        """Tried until the database can be written: nobody else knows that nobody waits for these."""
        while not self._api.stopping.is_set():
            try:
                return await self._api.ask(cancel_all, self._caller.submitter, self._ids)
            except (DatabaseUnavailable, StoreUnavailable):
                await asyncio.sleep(AGAIN_S)
            except DbError:  # deleted, or not theirs to cancel
                return
