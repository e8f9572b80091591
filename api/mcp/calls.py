"""One call of a tool: who makes it, how its progress is told, and how long it waits for pictures.

A call that is cancelled, or whose client is gone, stops waiting; the jobs go on, and may be asked for again by `wait`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request

from api.answered import answered
from api.callers import Caller
from api.opened import Api
from db.jobs import State
from db.queue.glances import Glance

T = TypeVar("T")
Report = Callable[[float, float, str], Awaitable[None]]  # progress, total, what there is to say of it
ABOVE = 1e-3  # progress must grow with every report, also while jobs wait


@dataclass(frozen=True)
class Call:
    """address: where files of the studio are fetched from, "" where that is not known. request: None over stdio."""

    api: Api
    caller: Caller
    report: Report
    address: str = ""
    request: Request | None = None

    async def ask(self, function: Callable[..., T], *args: Any, **named: Any) -> T:
        """A function of studio/ that takes the studio and the submitter first."""
        return await self.api.ask(function, self.caller.submitter, *args, **named)

    async def wait(self, job_ids: Sequence[str], s: float) -> None:
        """Returns when all of these jobs have ended, or after `s`. Raises UnknownJob, and Stopping."""
        if self.request is None:
            await self._follow(job_ids, s)
            return
        answered(self.request).note(job_ids)
        await self.api.while_there(self.request, self._follow(job_ids, s))

    async def _follow(self, job_ids: Sequence[str], s: float) -> None:
        told, said = -ABOVE, ""
        following = self.api.watch.follow(job_ids, who=self.caller.submitter.id, told=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(s), aclosing(following) as steps:  # type: ignore[type-var]
                async for found in steps:
                    glances = list(found.values())
                    before, said = said, self._message(glances)
                    if said != before:
                        told = max(float(sum(one.step for one in glances)), told + ABOVE)
                        await self.report(told, max(float(sum(one.total_steps for one in glances)), told), said)

    def _message(self, glances: Sequence[Glance]) -> str:
        ended = sum(one.ended for one in glances)
        running = [one for one in glances if one.state == State.RUNNING]
        said = [f"{ended} of {len(glances)} done"] if len(glances) > 1 else []
        said += [f"step {one.step} of {one.total_steps}" for one in running[:1]]
        if not running and ended < len(glances):
            said.append(self._told(next(one for one in glances if not one.ended)))
        return ", ".join(said) or "done"

    def _told(self, glance: Glance) -> str:
        place = self.api.watch.place(glance.id)
        if place is None:
            return "waits"
        return f"waits at position {place.position}" + (f", about {place.wait:.0f} s" if place.wait else "")
