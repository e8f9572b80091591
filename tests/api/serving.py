"""The API in this process, on a port of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import uvicorn

from api.opened import Api
from api.server import build
from settings import Settings
from studio import context
from telemetry import Traces
from tests.pages.visits import Studio

T = TypeVar("T")
WAIT_S = 60.0


@dataclass
class Served:
    """A running server, and a client of it without a key."""

    address: str
    client: httpx.Client
    api: Api
    server: uvicorn.Server

    @contextmanager
    def left_alone(self, path: str, body: Any) -> Iterator[None]:
        """A client that asks, and goes away at the end of the block without having read anything."""
        data = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
        )
        with socket.create_connection(("127.0.0.1", int(self.address.rsplit(":")[-1]))) as line:
            line.sendall(head.encode() + b"\r\n\r\n" + data)
            yield

    def stop(self) -> None:
        """As SIGTERM does."""
        self.api.tell_to_stop()
        self.server.should_exit = True

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.client.get(path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> httpx.Response:
        return self.client.post(path, json={} if body is None else body, **more)


@contextmanager
def served(visits: Studio, traces: Traces | None = None, **settings: Any) -> Iterator[Served]:
    """The API on the database and store of `visits`."""
    configured = Settings(**settings)
    app = build(configured, context.Studio(configured, visits.db, visits.store), traces)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", proxy_headers=False))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server has ended"
            time.sleep(0.005)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            with httpx.Client(base_url=address, timeout=60) as client:
                yield Served(address, client, app.state.api, server)
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive(), "the server does not end"


def awaited(steps: Coroutine[Any, Any, T]) -> T:
    """What the steps bring, in a thread of their own: a browser's tests leave a running event loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, steps).result()


def events(lines: Iterator[str]) -> Iterator[tuple[str, str, Any]]:
    """(event, id, data) of a stream of server-sent events, data as JSON where it is some."""
    kind, number, data = "message", "", ""
    for line in lines:
        name, _, value = line.partition(": ")
        if not line:
            if data:
                yield kind, number, json.loads(data) if data[0] in "{[" else data
            kind, data = "message", ""
        elif name == "event":
            kind = value
        elif name == "id":
            number = value
        elif name == "data":
            data += value


def until(look: Callable[[], T], met: Callable[[T], object] = bool) -> T:
    """What `look` brings once `met` is true of it; an AssertionError with the last of it after WAIT_S."""
    deadline = time.monotonic() + WAIT_S
    while not met(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found
