"""Whose address is believed: with proxies and without, from the API alone and beside the pages."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from api.proxies import TrustedProxies
from settings import Settings
from tests.browser.running import web_app

LOCAL = "127.0.0.1"


def told(trusted: str, peer: str, *forwarded: str, scheme: str = "", kind: str = "http") -> tuple[str, str]:
    """The address and the scheme that the app behind the middleware sees. forwarded: the lines of X-Forwarded-For."""
    seen: dict[str, Any] = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.update(scope)

    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    headers += [(b"x-forwarded-proto", scheme.encode())] if scheme else []
    scope = {"type": kind, "client": (peer, 1234), "scheme": "ws" if kind == "websocket" else "http"}
    nothing: Any = None
    asyncio.run(TrustedProxies(app, trusted)({**scope, "headers": headers}, nothing, nothing))
    return seen["client"][0], seen["scheme"]


@pytest.mark.parametrize("peer", [LOCAL, "::1", "192.168.1.7"])
def test_nobody_is_believed_unless_the_host_says_so(peer: str) -> None:
    assert told("", peer, "203.0.113.9", scheme="https") == (peer, "http")


def test_the_caller_is_the_first_address_from_the_right_that_is_no_trusted_proxy() -> None:
    assert told(LOCAL, LOCAL, "203.0.113.9") == ("203.0.113.9", "http")
    assert told(LOCAL, LOCAL, "1.1.1.1, 203.0.113.9") == ("203.0.113.9", "http")  # the left one was invented
    assert told(f"{LOCAL},10.0.0.0/8", LOCAL, "1.1.1.1, 203.0.113.9", "10.1.2.3") == ("203.0.113.9", "http")
    assert told("10.0.0.0/8", LOCAL, "203.0.113.9") == (LOCAL, "http")
    assert told(f"{LOCAL},10.0.0.0/8", LOCAL, "10.0.0.9") == ("10.0.0.9", "http")


def test_addresses_are_read_as_proxies_write_them() -> None:
    assert told("::1", "::1", "[2001:db8::7]:443")[0] == "2001:db8::7"
    assert told(LOCAL, LOCAL, "203.0.113.9:5678")[0] == "203.0.113.9"
    assert told(LOCAL, f"::ffff:{LOCAL}", "203.0.113.9")[0] == "203.0.113.9"
    for nonsense in ("unknown", "", "1.1.1.1, <script>", "300.1.1.1", "1.1.1.1,,"):
        assert told(LOCAL, LOCAL, nonsense)[0] == LOCAL


def test_the_scheme_comes_with_the_address() -> None:
    assert told(LOCAL, LOCAL, "203.0.113.9", scheme="https") == ("203.0.113.9", "https")
    assert told(LOCAL, LOCAL, "203.0.113.9", scheme="https", kind="websocket") == ("203.0.113.9", "wss")
    assert told(LOCAL, LOCAL, scheme="javascript") == (LOCAL, "http")


@pytest.mark.parametrize("wrong", ["*", "proxy.example.org", "127.0.0.1 10.0.0.1"])
def test_what_is_no_address_is_named_when_the_configuration_is_read(wrong: str) -> None:
    with pytest.raises(ValidationError, match=r"is no address and no network"):
        Settings(trusted_proxies=wrong)


@pytest.mark.parametrize("pages", [True, False])
def test_invented_addresses_are_not_believed_by_a_server_that_runs(tmp_path: Path, pages: bool) -> None:
    """As both servers are started: uvicorn by itself would believe all that this machine says."""
    wish: dict[str, Any] = {"engine": "vqgan-clip", "params": {"prompt": "a lighthouse"}}
    with web_app(tmp_path, pages=pages, T2I_API="open") as address:
        for n in range(3):
            answer = httpx.post(f"{address}/api/v1/jobs", json=wish, headers={"x-forwarded-for": f"203.0.113.{n}"})
            assert answer.status_code == 201, answer.text
    assert submitters(tmp_path) == 1


def test_the_addresses_a_trusted_proxy_tells_are_told_apart_by_a_server_that_runs(tmp_path: Path) -> None:
    wish: dict[str, Any] = {"engine": "vqgan-clip", "params": {"prompt": "a lighthouse"}}
    with web_app(tmp_path, T2I_API="open", T2I_TRUSTED_PROXIES="127.0.0.1") as address:
        for n in (1, 2, 2):
            httpx.post(f"{address}/api/v1/jobs", json=wish, headers={"x-forwarded-for": f"203.0.113.{n}"})
    assert submitters(tmp_path) == 2


def submitters(folder: Path) -> int:
    db = sa.create_engine(f"sqlite:///{folder}/jobs.db")
    try:
        with db.connect() as conn:
            return int(conn.execute(sa.text("SELECT count(DISTINCT submitter) FROM jobs")).scalar_one())
    finally:
        db.dispose()
