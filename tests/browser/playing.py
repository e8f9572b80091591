"""A browser without a browser: what it does with cookies and the pages' WebSocket, for tests of who a visitor is."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from studio.visitor_ids import COOKIE


def fetched(address: str, cookie: str | None = None, **headers: str) -> httpx.Response:
    """A page as a browser fetches it, with this cookie."""
    sent = {"accept": "text/html,*/*;q=0.8", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if cookie is not None:
        sent["cookie"] = f"{COOKIE}={cookie}"
    return httpx.get(address, headers=sent)


def given(answer: httpx.Response) -> str | None:
    """The visitor's cookie that an answer sets."""
    return answer.cookies.get(COOKIE)


def attributes(answer: httpx.Response) -> Mapping[str, str]:
    """Of that cookie, by their names in lower case."""
    parts = [part.strip().partition("=") for part in answer.headers["set-cookie"].split(";")[1:]]
    return {name.lower(): value for name, _, value in parts}
