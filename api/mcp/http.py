"""MCP over HTTP, at /mcp of the studio's address (streamable HTTP, with sessions for clients that have them).

Who may call, and up to what, is decided by `api.callers` for every single request, as for the whole API: a name that is
led to this machine by a stranger, or a page of another site, comes no further without a key. A session belongs to who
opened it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.context import ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.types import Receive, Scope, Send

from api.callers import caller
from api.mcp.calls import Call
from api.mcp.server import build
from api.opened import Api, opened
from api.problems import Problem

PATH = "/mcp"
MAX_SESSIONS = 1000
REFUSED = -32000  # of the codes that JSON-RPC leaves to servers


class Mounted:
    """The ASGI app of the one address, and its sessions while the server runs."""

    def __init__(self, api: Api) -> None:
        self._api = api
        # The time of sessions without a request, in s, is the package's: half an hour.
        self._sessions = StreamableHTTPSessionManager(
            build(self._call),
            max_request_body_size=api.settings.api_max_body_bytes,
            max_sessions=MAX_SESSIONS,
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
        scope["studio.caller"] = who
        # What sessions are told apart by.
        scope["user"] = AuthenticatedUser(AccessToken(token="", client_id=who.submitter.id, scopes=[who.scope]))
        await self._sessions.handle_request(scope, receive, send)

    def _call(self, ctx: ServerRequestContext[Any, Any]) -> Call:
        request = cast(Request, ctx.request)
        address = str(request.base_url).rstrip("/")
        return Call(self._api, request.scope["studio.caller"], ctx.session.report_progress, address, request)


def envelope(request: Request, problem: Problem) -> Response:
    """A problem as JSON-RPC tells one, for what could not even be given to a tool."""
    error = {"code": REFUSED, "message": problem.sentence, "data": {"kind": problem.kind}}
    body = {"jsonrpc": "2.0", "id": None, "error": error}
    return JSONResponse(body, problem.status, problem.headers)
