"""Requests that are too large are refused while they come in (ASGI middleware)."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import NotAnswered


class LimitedBodies:
    """Passes requests of at most `max_bytes` on."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 413 by raising NotAnswered where the app reads more, which its handlers turn into an answer."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        max_bytes, read = self._max_bytes, 0
        too_large = NotAnswered(413, f"The request is too large: at most {max_bytes >> 20 or 1} MB.", "too_large")
        declared = dict(scope["headers"]).get(b"content-length", b"0")

        async def counted() -> Message:
            nonlocal read
            if declared.isdigit() and int(declared) > max_bytes:
                raise too_large
            message = await receive()
            read += len(message.get("body", b""))
            if read > max_bytes:
                raise too_large
            return message

        await self._app(scope, counted, send)
