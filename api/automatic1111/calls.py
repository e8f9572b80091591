"""Calls in flight and the model each caller chose: what this dialect remembers between two requests.

It is remembered by this process alone and in bounded numbers; the jobs themselves are in the queue.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from api.callers import Asker, Caller, Opened
from api.opened import Api
from api.racing import racing

MAX_CALLERS = 1000  # whose choice is remembered: the last ones
GRACE_S = 1.0  # a call that was ended waits so long for what is about to be finished


@dataclass(eq=False)
class Call:
    """One call that waits for its jobs. cut: the jobs ended before their time -> the picture so far, if any."""

    kind: str
    submitter_id: str
    job_ids: list[str]
    began_at: float = field(default_factory=time.time)
    interrupted: asyncio.Event = field(default_factory=asyncio.Event)
    cut: dict[str, bytes | None] = field(default_factory=dict)

    @property
    def timestamp(self) -> str:
        """When it began, as A1111 writes it."""
        return time.strftime("%Y%m%d%H%M%S", time.localtime(self.began_at))


class Kept:
    """One of each server process; used in its event loop alone."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._chosen: OrderedDict[str, str] = OrderedDict()

    @contextmanager
    def in_flight(self, call: Call) -> Iterator[None]:
        """While the block runs, the caller's other requests know of the call."""
        self._calls.append(call)
        try:
            yield
        finally:
            self._calls.remove(call)

    def calls_of(self, submitter_id: str) -> list[Call]:
        """Those in flight, the oldest first."""
        return [call for call in self._calls if call.submitter_id == submitter_id]

    def choose(self, submitter_id: str, title: str) -> None:
        """From now on their calls draw with the model of this title."""
        self._chosen[submitter_id] = title
        self._chosen.move_to_end(submitter_id)
        if len(self._chosen) > MAX_CALLERS:
            self._chosen.popitem(last=False)

    def chosen(self, submitter_id: str) -> str | None:
        """The title of the model they chose, if any."""
        return self._chosen.get(submitter_id)


async def kept(request: Request) -> Kept:
    """The one of this server, as a dependency of routes."""
    state = request.app.state
    if not hasattr(state, "automatic1111"):
        state.automatic1111 = Kept()
    found: Kept = state.automatic1111
    return found


Remembered = Annotated[Kept, Depends(kept)]


@dataclass(frozen=True)
class Asking:
    """One request that waits for its pictures: who asks, over which connection, and what is remembered."""

    api: Api
    who: Caller
    request: Request
    kept: Kept


async def asking(api: Opened, who: Asker, request: Request, kept: Remembered) -> Asking:
    """As a dependency of routes. Raises NotAnswered (429) where they wait for as much as one may."""
    api.watch.check(who.submitter.id)
    return Asking(api, who, request, kept)


Asked = Annotated[Asking, Depends(asking)]


async def over(api: Api, call: Call) -> None:
    """Returns when all jobs of the call have ended, or soon after it was interrupted. Raises as `Watch.follow`."""
    ending = api.watch.ended(call.job_ids, who=call.submitter_id)
    async with racing(ending, call.interrupted.wait()) as (ended, _):
        if not ended.done():
            await asyncio.wait({ended}, timeout=GRACE_S)
        if ended.done():
            ended.result()
