"""Gives every browser that fetches a page a signed id, in the answer itself: scripts of the page cannot read it.

ASGI middleware around the pages. The page's WebSocket carries the cookie back, see pages/shared/visitor.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http.cookies import CookieError

import anyio.to_thread
import sqlalchemy as sa
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from db.errors import DbError
from studio import visitor_ids
from studio.visitor_ids import COOKIE

YEAR_S = 365 * 24 * 3600
_NOT_PAGES = ("/_stcore/", "/static/", "/media/", "/component/", "/app/static/")


class VisitorCookie:
    """secret: of the studio's database; db: it. Both are called in a thread, and may raise DbError."""

    def __init__(self, app: ASGIApp, secret: Callable[[], bytes], db: Callable[[], sa.Engine]) -> None:
        self._app, self._secret, self._db = app, secret, db

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The page, with an id for who has none."""
        if not _is_page(scope):
            await self._app(scope, receive, send)
            return
        cookie = await anyio.to_thread.run_sync(self._new_cookie, cookie_of(scope))
        await self._app(scope, receive, send if cookie is None else partial(_sent, send, cookie, scope["scheme"]))

    def _new_cookie(self, shown: str | None) -> str | None:
        """None where the browser has a good one; and where the database is away, so that none can be issued."""
        try:
            secret = self._secret()
            if visitor_ids.read(secret, shown) is not None:
                return None
            known = visitor_ids.adopted(self._db(), shown)
        except (DbError, sa.exc.SQLAlchemyError):
            return None
        return visitor_ids.signed(secret, visitor_ids.new_id() if known is None else known.id)


def cookie_of(scope: Scope) -> str | None:
    """What a request shows as its visitor's cookie."""
    try:
        return HTTPConnection(scope).cookies.get(COOKIE)
    except CookieError:
        return None


def _is_page(scope: Scope) -> bool:
    """Whether a browser fetches a page to show it: not a picture, nor a part of the app itself."""
    if scope["type"] != "http" or scope["method"] != "GET" or scope["path"].startswith(_NOT_PAGES):
        return False
    headers = HTTPConnection(scope).headers
    shown_as = headers.get("sec-fetch-dest", "document")
    return "text/html" in headers.get("accept", "") and shown_as in ("document", "iframe")


async def _sent(send: Send, cookie: str, scheme: str, message: Message) -> None:
    if message["type"] == "http.response.start" and message["status"] < 400:
        headers = MutableHeaders(scope=message)
        secure = "; Secure" if scheme == "https" else ""
        headers.append("set-cookie", f"{COOKIE}={cookie}; Max-Age={YEAR_S}; Path=/; HttpOnly; SameSite=Lax{secure}")
        headers["cache-control"] = "no-store"  # or a cache in between would hand one id to all
    await send(message)
