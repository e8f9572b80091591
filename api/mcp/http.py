"""MCP over HTTP, at /mcp of the studio's address (streamable HTTP, with sessions for clients that have them).

Who may call, and up to what, is decided by `api.callers` for every single request, as for the whole API: a name that is
led to this machine by a stranger, or a page of another site, comes no further without a key. A session belongs to who
opened it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.context import ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.types import Message, Receive, Scope, Send

from api.callers import KNOWN, caller
from api.mcp.calls import Call
from api.mcp.server import build
from api.opened import Api, opened
from api.problems import NotAnswered, Problem

PATH = "/mcp"
MAX_SESSIONS = 1000
MAX_OF_ONE = 50  # sessions of one caller
IDLE_S = 300.0  # a session that is not used for so long is over
REFUSED = -32000  # of the codes that JSON-RPC leaves to servers


class Mounted:
    """The ASGI app of the one address, and its sessions while the server runs."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._used: dict[str, dict[str, float]] = {}  # by caller: their sessions, and when each was used last
        self._sessions = StreamableHTTPSessionManager(
            build(self._call),
            max_request_body_size=api.settings.api_max_body_bytes,
            max_sessions=MAX_SESSIONS,
            session_idle_timeout=IDLE_S,
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """While the server runs; streams end when it is told to stop, since it awaits them all."""
        started = asyncio.Event()

        async def serve() -> None:
            async with self._sessions.run():
                started.set()
                await self._api.stopping.wait()

        running = asyncio.create_task(serve())
        await started.wait()
        try:
            yield
        finally:
            self._api.stopping.set()
            await running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises NotAnswered as `api.callers.caller`, which the app's handlers turn into an answer."""
        request = Request(scope, receive)
        who = await caller(request, await opened(request))
        # What sessions are told apart by.
        scope["user"] = AuthenticatedUser(AccessToken(token="", client_id=who.submitter.id, scopes=[who.scope]))
        await self._sessions.handle_request(scope, receive, self._noted(request, who.submitter.id, send))

    def _noted(self, request: Request, who: str, send: Send) -> Send:
        """The same, that notes a session which is begun. Raises NotAnswered (429) where one caller has too many."""
        now, known = time.monotonic(), request.headers.get("mcp-session-id")
        used = {one: at for one, at in self._used.get(who, {}).items() if now - at < IDLE_S}
        if known in used:
            used[known] = now
        elif known is None and len(used) >= MAX_OF_ONE:
            raise NotAnswered(429, f"You have {len(used)} sessions; close one or wait.", "too_many", retry_after="60")
        self._used = {one: theirs for one, theirs in {**self._used, who: used}.items() if theirs}

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                begun = dict(message.get("headers", [])).get(b"mcp-session-id")
                if begun is not None:
                    self._used.setdefault(who, {})[begun.decode()] = time.monotonic()
            await send(message)

        return noting

    def _call(self, ctx: ServerRequestContext[Any, Any]) -> Call:
        request = cast(Request, ctx.request)
        address = self._api.address_of(request)
        return Call(self._api, request.scope[KNOWN], ctx.session.report_progress, address, request)


def envelope(request: Request, problem: Problem) -> Response:
    """A problem as JSON-RPC tells one, for what could not even be given to a tool."""
    error = {"code": REFUSED, "message": problem.sentence, "data": {"kind": problem.kind}}
    body = {"jsonrpc": "2.0", "id": None, "error": error}
    return JSONResponse(body, problem.status, problem.headers)
