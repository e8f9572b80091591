"""What every route needs: the studio, opened once and lazily; threads of its own; and when the server is stopping."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

import anyio
import anyio.to_thread
from fastapi import Request

from api.following import Watch
from api.places import Places
from api.problems import ClientGone, Stopping
from api.racing import racing
from db import engine
from db.artefacts import Store
from db.rules.salt import salt
from settings import Settings
from studio.admission import Tries
from studio.context import Studio
from studio.standings import Keeper
from studio.vote import Dealer

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 8  # for all calls of the API together: pages keep theirs, whatever programs do
log = logging.getLogger("api")


class Api:
    """One of each server process."""

    def __init__(self, settings: Settings, studio: Studio | None = None) -> None:
        """studio: where it is open already; else it is opened at the first request that needs it."""
        self.settings = settings
        self.stopping = asyncio.Event()
        self.places = Places(self.run, lambda: self.studio.db)
        self.watch = Watch(self.run, lambda: self.studio.db, self.places, self.stopping)
        self.keeper, self.dealer = Keeper(), Dealer()  # of ratings, and of pairs to vote on
        self.code_tries = Tries()
        self._studio = studio
        self._opening = threading.Lock()
        self._salt: bytes | None = None
        self._going: set[asyncio.Task[None]] = set()
        self._limiter: anyio.CapacityLimiter | None = None
        self._loop: asyncio.AbstractEventLoop

    @property
    def studio(self) -> Studio:
        """Raises DatabaseUnavailable, DatabaseTooNew, StoreUnavailable. Call it in a thread: it may open files."""
        with self._opening:
            if self._studio is None:
                settings = self.settings
                self._studio = Studio(settings, engine.connect(settings.database_url), Store(settings.store_url))
            return self._studio

    @property
    def threads(self) -> tuple[int, int]:
        """How many threads of the API are at work, and how many calls wait for one. Callable from any thread."""
        if self._limiter is None:
            return 0, 0
        now = self._limiter.statistics()
        return now.borrowed_tokens, now.tasks_waiting

    def salt(self) -> bytes:
        """The secret of this studio's database. Call it in a thread."""
        if self._salt is None:
            self._salt = salt(self.studio.db)
        return self._salt

    async def run(self, call: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """A call that may wait for disk or database, in a thread; no more than THREADS of them at once."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(THREADS)
        return await anyio.to_thread.run_sync(partial(call, *args, **named), limiter=self._limiter)

    async def ask(self, call: Callable[..., T], *args: Any, **named: Any) -> T:
        """As `run`, of a function of studio/ or db/queue that takes the studio first."""
        return await self.run(lambda: call(self.studio, *args, **named))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """While the server runs. Requests that wait for a job end when it is told to stop: it awaits them all."""
        self._loop = asyncio.get_running_loop()
        with _heard_signals(self.tell_to_stop):
            yield
        self.stopping.set()
        if self._studio is not None:
            self._studio.db.dispose()

    def later(self, task: Coroutine[Any, Any, None]) -> None:
        """Something that goes on when its request is answered, to its end or to that of the server."""
        going = asyncio.create_task(task)
        self._going.add(going)
        going.add_done_callback(self._going.discard)

    def address_of(self, request: Request) -> str:
        """What the addresses of files in an answer begin with: what the host has set, else where the call came to."""
        return (self.settings.public_url or str(request.base_url)).rstrip("/")

    def tell_to_stop(self) -> None:
        """Whoever waits ends now. May be called from any thread, and from a signal's handler."""
        self._loop.call_soon_threadsafe(self.stopping.set)

    async def while_there(self, request: Request, steps: Coroutine[Any, Any, None]) -> None:
        """Returns when the steps are done. Raises ClientGone where the client went away before, and they are ended."""
        async with racing(steps, _left(request)) as (waiting, _):
            if not waiting.done():
                raise ClientGone
            waiting.result()


async def opened(request: Request) -> Api:
    """The one of this server, as a dependency of routes; async, since FastAPI would take a thread for it."""
    api: Api = request.app.state.api
    if api.stopping.is_set():
        raise Stopping
    return api


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


class _heard_signals:
    """Calls `stop` at SIGTERM and SIGINT, before the server's own handlers begin to wait for open requests."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop, self._before = stop, dict[int, Any]()

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return

        def heard(number: int, frame: Any) -> None:
            self._stop()
            before = self._before[number]
            if callable(before):
                before(number, frame)

        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, heard)

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
