"""Captioned pictures streamed to EIR trainers, and to ours: protocol 1.0 over WebSockets, many trainers at once.

Every connection has a position of its own, which moves with what it is sent; ids are the source's. A connection's order
is its own too, so that the workers of one trainer do not send it the same batches. Requests are read while an answer
waits for its reader: a trainer asks about twice as often as it reads.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from generator.learning.stream import messages
from generator.learning.stream.eir_groups import Group
from generator.learning.stream.eir_session import Session
from generator.learning.stream.messages import Place
from generator.learning.stream.prepared import Prepared
from generator.learning.stream.samples import is_validation
from generator.learning.stream.sources import Source

if TYPE_CHECKING:
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response

MAX_CONNECTIONS = 1024
_MAX_GROUPS = 4096
GOODBYE_S = 3.0  # within which connections are closed in good order when the server ends


@dataclass(frozen=True)
class Options:
    """How a source is served. image, caption: names of the inputs; output: of what is learnt (the same picture).

    size: px, None to send pictures as large as they are. epochs: passes over the data until each worker is told the
    end, 0 for no end: EIR trains until it is told so, whatever its n_epochs says. seed: of the orders. memory: bytes of
    pictures that are kept ready.
    """

    image: str = "image"
    caption: str = "caption"
    output: str = "image"
    size: int | None = None
    epochs: int = 20  # the n_epochs of EIR's tutorial
    seed: int = 0
    memory: int = 1 << 30


class EirServer:
    """One source for any number of trainers."""

    def __init__(self, source: Source, options: Options) -> None:
        self.source, self.options = source, options
        self.prepared = Prepared(source, size=options.size, memory=options.memory)
        self.ids = [messages.wire_id(one) for one in source.ids]
        self.index_of = {one: index for index, one in enumerate(self.ids)}
        self.connections = 0
        self._open: set[ServerConnection] = set()
        self.waiting = 0
        self._groups: dict[tuple[str, str], Group] = {}
        self._splits: dict[tuple[str, float], list[int]] = {}
        self._words: dict[int, tuple[bytes, bytes]] = {}
        self.target = b',"target_labels":{%s:{%s:"' % (_json(options.output), _json(options.output))

    @asynccontextmanager
    async def listening(self, host: str = "127.0.0.1", port: int = 8000) -> AsyncIterator[Server]:
        """Serve at ws://HOST:PORT/, under every path. port: 0 for any that is free."""
        from websockets.asyncio.server import serve

        # No pings: a worker that computes for minutes answers none and is none the less there. No compression:
        # pictures do not shrink, and deflate would be slower than everything else.
        async with serve(
            self._handle,
            host,
            port,
            compression=None,
            ping_interval=None,
            close_timeout=2,
            max_size=messages.MAX_FRAME,
            process_request=self._refusal,
        ) as server:
            try:
                yield server
            finally:
                # Whoever reads nothing more does not take the goodbye either, and would be waited for.
                asyncio.get_running_loop().call_later(GOODBYE_S, self._drop_all)

    def _drop_all(self) -> None:
        for connection in self._open:
            connection.transport.abort()

    def close(self) -> None:
        """Let go of what was kept ready."""
        self.prepared.close()

    def words(self, index: int) -> tuple[bytes, bytes]:
        """What stands before and after a sample's first picture, as JSON."""
        found = self._words.get(index)
        if found is None:
            before = b'{"sample_id":%s,"inputs":{%s:"' % (_json(self.ids[index]), _json(self.options.image))
            after = b'",%s:%s}' % (_json(self.options.caption), _json(self.source.caption(index)))
            found = self._words[index] = before, after
        return found

    def split(self, place: Place) -> list[int]:
        """Indices of one split, by the ids as they are sent."""
        key = place.split, place.share
        if key not in self._splits:
            if len(self._splits) > 64:
                self._splits.clear()
            kept = place.split == "validation"
            self._splits[key] = [i for i, one in enumerate(self.ids) if is_validation(one, place.share) == kept]
        return self._splits[key]

    def _refusal(self, connection: ServerConnection, request: Request) -> Response | None:
        """Pages of other sites must not read the data through a visitor's browser."""
        origin = request.headers.get("Origin")
        if origin and urlsplit(origin).netloc != request.headers.get("Host"):
            return connection.respond(403, "This address is not for web pages.\n")
        if self.connections >= MAX_CONNECTIONS:
            return connection.respond(503, f"{MAX_CONNECTIONS} trainers' connections are open; no more are taken.\n")
        return None

    async def _handle(self, connection: ServerConnection) -> None:
        path = connection.request.path if connection.request else "/"
        group = self._group((str(connection.remote_address[0]), path))
        connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.connections += 1
        self._open.add(connection)
        member = group.join()
        try:
            await Session(self, connection, group, member).run()
        finally:
            self.connections -= 1
            self._open.discard(connection)
            group.leave(member)

    def _group(self, key: tuple[str, str]) -> Group:
        if key not in self._groups and len(self._groups) >= _MAX_GROUPS:
            self._groups = {known: group for known, group in self._groups.items() if not group.forgettable}
        return self._groups.setdefault(key, Group())


def _json(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")
