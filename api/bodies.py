"""Bodies of requests are read with limits (ASGI middleware): who calls, how much, how many values, how long."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.callers import caller
from api.opened import Api
from api.problems import NotAnswered, Stopping
from api.racing import racing

# Of a JSON body. Reading one stops everything else, and its values take many times their length: text is quick to read,
# however long, and so are pictures in base64.
MAX_VALUES = 50_000
BODY_S = 60.0  # within which a body must have come
WRITTEN_S = 1800.0  # the same of one that is written to a disk as it comes
MAX_HELD_BYTES = 256 << 20  # of the bodies of all requests that are being answered
# Where a body is a file, whatever it calls itself, and where it is a form with files, where it says so. Everywhere else
# it may be read as JSON: some routes do so whatever its type, and application/octet-stream+json is JSON to FastAPI.
_FILES, _FORMS = ("/api/v1/uploads", "/api/v1/search"), ("/v1/images/edits", "/v1/images/variations")


class LimitedBodies:
    """Passes requests of at most `max_bytes` on. What is refused is raised as NotAnswered where the app reads the body,
    and its handlers turn that into an answer."""

    def __init__(
        self, app: ASGIApp, api: Api, max_bytes: int, written: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        """written: the largest body in bytes, by the paths of POSTs whose bodies go to a disk as they come."""
        self._app, self._api, self._max_bytes, self._written = app, api, max_bytes, written
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        written = self._written.get(scope["path"]) if scope["method"] == "POST" else None
        if written is not None:
            body = _Body(self._api, scope, receive, self._max_bytes, written)
            return await self._app(scope, lambda: receive() if body.whole else body.next(), send)
        body = _Body(self._api, scope, receive, self._max_bytes)

        async def read() -> Message:
            if body.whole:
                return await receive()
            before = body.size
            try:
                message = await body.next()
            finally:
                self._held += body.size - before
            if self._held > MAX_HELD_BYTES:
                raise NotAnswered(503, "Too much is being sent at once; try again.", "too_much", retry_after="5")
            return message

        try:
            await self._app(scope, read, send)
        finally:
            self._held -= body.size


class _Body:
    """The body of one request while it comes. written: the most that is written to a disk as it comes; None: it is
    held."""

    def __init__(self, api: Api, scope: Scope, receive: Receive, max_bytes: int, written: int | None = None) -> None:
        self._api, self._scope, self._receive = api, scope, receive
        self._max_bytes = max(max_bytes, written or 0)
        headers = dict(scope["headers"])
        self._declared = headers.get(b"content-length", b"")
        self._comes = self._declared not in (b"", b"0") or b"transfer-encoding" in headers
        self._has_values = written is None and not _is_file(scope)
        self._within_s = BODY_S if written is None else WRITTEN_S
        self._due = time.monotonic() + self._within_s
        self.size, self._values, self.whole = 0, 0, False

    async def next(self) -> Message:
        """The next piece. Raises NotAnswered."""
        # The documentation is read without a key; its files only listen for whether their reader goes away.
        if self.size == 0 and self._comes:
            await caller(Request(self._scope), self._api)
            if self._declared.isdigit() and int(self._declared) > self._max_bytes:
                raise self._too_large()
        message = await self._come()
        piece: bytes = message.get("body", b"")
        self.size += len(piece)
        if self.size > self._max_bytes:
            raise self._too_large()
        if self._has_values:
            self._values += piece.count(b",") + piece.count(b"[") + piece.count(b"{")
            if self._values > MAX_VALUES:
                raise NotAnswered(413, f"The request has too many values: {MAX_VALUES} are allowed.", "too_large")
        self.whole = not message.get("more_body", False)
        return message

    async def _come(self) -> Message:
        wait_s = self._due - time.monotonic()
        async with racing(self._received(), self._api.stopping.wait(), timeout_s=wait_s) as (coming, _):
            if coming.done():
                message: Message = coming.result()
                return message
        if self._api.stopping.is_set():
            raise Stopping
        raise NotAnswered(408, f"The body did not come within {self._within_s:.0f} s.", "too_slow")

    async def _received(self) -> Message:
        return await self._receive()

    def _too_large(self) -> NotAnswered:
        return NotAnswered(413, f"The request is too large: at most {self._max_bytes >> 20 or 1} MB.", "too_large")


def _is_file(scope: Scope) -> bool:
    # By the first type where there are several, as the form's reader goes.
    kind = Headers(scope=scope).get("content-type", "")
    return scope["path"] in _FILES or (scope["path"] in _FORMS and kind.lower().startswith("multipart/"))
