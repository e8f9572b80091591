"""One connection of the server: requests are queued as they come, and answered in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from generator.learning.stream import messages
from generator.learning.stream.eir_groups import Group, Member
from generator.learning.stream.messages import BadMessage, Place, message
from generator.learning.stream.sources import order

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

    from generator.learning.stream.eir_server import EirServer

MAX_WAITING = 200_000  # requests of one connection that are not answered yet
MAX_WAITING_BYTES = 128 << 20
BATCH_BYTES = 8 << 20  # of one answer; a batch of larger pictures has fewer of them, as the protocol lets it


class Session:
    """One connection: requests are queued as they come, and answered in order."""

    def __init__(self, server: EirServer, connection: ServerConnection, group: Group, member: Member) -> None:
        self.server, self.connection, self.group, self.member = server, connection, group, member
        self.requests: deque[tuple[dict[str, Any], int]] = deque()
        self.came = asyncio.Event()
        self.waiting_bytes = 0
        self.seed = server.options.seed * 1_000_003 + group.opened  # another order for every worker
        self.place: Place | None = None
        self.was_reset = False
        self.start(None)

    async def run(self) -> None:
        """Until either side closes."""
        from websockets.exceptions import ConnectionClosed

        answering = asyncio.create_task(self._answer_all())
        try:
            if await self._greeted():
                async for text in self.connection:
                    self._take(messages.read(text), len(text))
        except BadMessage as error:
            await self._refuse(str(error))
        except ConnectionClosed:
            pass
        finally:
            self.server.waiting -= len(self.requests)
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    async def _greeted(self) -> bool:
        said = messages.read(await self.connection.recv())
        if said["type"] != "handshake":
            raise BadMessage(f"The first message must be a handshake, not {said['type']!r}.")
        if said.get("version") != messages.VERSION:
            raise BadMessage(f"Version {said.get('version')!r} is not spoken here; it must be {messages.VERSION!r}.")
        await self.connection.send(message("handshake", version=messages.VERSION))
        return True

    def _take(self, request: dict[str, Any], size: int) -> None:
        self.waiting_bytes += size
        if len(self.requests) >= MAX_WAITING or self.waiting_bytes > MAX_WAITING_BYTES:
            raise BadMessage(f"{len(self.requests)} requests wait while no answer is read; ask for less at a time.")
        self.requests.append((request, size))
        self.server.waiting += 1
        self.came.set()

    async def _refuse(self, why: str) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            async with asyncio.timeout(5):
                await self.connection.send(message("error", {"message": why}))
        except (ConnectionClosed, TimeoutError):
            return
        await self.connection.close(1002, "not understood")

    async def _answer_all(self) -> None:
        while True:
            while self.requests:
                request, size = self.requests.popleft()
                self.waiting_bytes -= size
                self.server.waiting -= 1
                try:
                    await self._answer(request)
                except BadMessage as error:
                    await self.connection.send(message("error", {"message": str(error)}))
            self.came.clear()
            await self.came.wait()

    async def _answer(self, request: dict[str, Any]) -> None:
        payload, send = request.get("payload"), self.connection.send
        match request["type"]:
            case "heartbeat":
                await send(message("heartbeat"))
            case "getInfo":
                self.member.gathers |= self.was_reset
                await send(message("info", self._info()))
            case "getData":
                await self._send_data(payload)
            case "setValidationIds":
                await send(message("validationIdsConfirmation", {"message": self._keep_out(payload)}))
            case "reset":
                self.start(messages.place_in(payload))
                self.was_reset = True
                said: dict[str, Any] = {"message": "The data begin again for this connection."}
                if self.place is not None:
                    said["went_on"] = {"position": self.position, "length": len(self.indices)}
                # Both to who asked, and to nobody else: EIR waits for two, and another worker would trip over them.
                await send(message("resetConfirmation", said))
                await send(message("reset", {"message": said["message"]}))
            case "status":
                await send(message("status", self._status()))
            case "handshake":
                await send(message("handshake", version=messages.VERSION))
            case other:
                raise BadMessage(
                    f"{other!r} is not asked for in this protocol; handshake, getInfo, getData, setValidationIds, "
                    "reset, status and heartbeat are."
                )

    def start(self, place: Place | None) -> None:
        """The first sample again, or the one at a place, or the end where there is none."""
        self.place, self.epoch, self.position = place, 0, 0
        self.member.ended = False
        self.ahead: deque[int] = deque()  # taken from the order, and left for the next batch
        self.indices: Sequence[int] = range(len(self.server.ids)) if place is None else self.server.split(place)
        self.order: Sequence[int] | NDArray[np.int64] = range(len(self.indices))
        if place is None:
            self.order = order(len(self.indices), self.seed, 0)
            return
        self.position = min(place.position, len(self.indices))  # the answer says so
        if place.split == "train":
            self.order = order(len(self.indices), place.seed, place.epoch)

    def _next(self, count: int) -> list[int]:
        """Indices of the next samples, fewer at the end of the last epoch, and none after it."""
        found: list[int] = []
        left_out = self.group.left_out if self.place is None else frozenset()
        passed = 0  # samples of one epoch that were left out, so that it ends where all of them are
        while len(found) < count:
            if self.ahead:
                if (index := self.ahead.popleft()) not in left_out:
                    found.append(index)
                continue
            if self.position == len(self.indices):
                # A trainer's setup takes all it gets as different samples: one pass is all there is for it.
                once = self.place is not None or self.member.gathers
                last = once or self.epoch + 1 == self.server.options.epochs
                if last or passed >= len(self.indices):
                    break
                self.epoch, self.position, passed = self.epoch + 1, 0, 0
                self.order = order(len(self.indices), self.seed, self.epoch)
            index = self.indices[self.order[self.position]]
            self.position += 1
            if index in left_out or index in self.server.prepared.unreadable:
                passed += 1
            else:
                found.append(index)
        return found

    async def _send_data(self, payload: Any) -> None:
        count = payload.get("batch_size") if isinstance(payload, dict) else None
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise BadMessage(f"getData needs a batch_size of at least 1, not {count!r}.")
        self.member.works |= self.was_reset
        parts: list[bytes] = [b'{"type":"data","payload":[']
        size = 0
        while not size:
            indices = self._next(min(count, messages.MAX_BATCH))
            if not indices:
                self.member.ended = True
                await self.connection.send(messages.TERMINATE)
                return
            if not self.server.prepared.at_hand(indices):
                await asyncio.to_thread(self._prepare, indices)
            for at, index in enumerate(indices):
                sample = self._sample(index)
                if sample is None:
                    continue
                length = sum(map(len, sample))
                if size and size + length > BATCH_BYTES:
                    self.ahead.extendleft(reversed(indices[at:]))
                    break
                parts += (b",", *sample) if size else sample
                size += length
        await self.connection.send(b"".join((*parts, b"]}")), text=True)

    def _prepare(self, indices: list[int]) -> None:
        for index in indices:
            self.server.prepared.picture(index)

    def _sample(self, index: int) -> tuple[bytes, ...] | None:
        """One sample as JSON in pieces; to our own trainers with one copy of the picture. None: it cannot be read."""
        picture = self.server.prepared.picture(index)
        if picture is None:
            return None
        before, after = self.server.words(index)
        if self.place is not None:
            return before, picture, after, b',"target_labels":{}}'
        return before, picture, after, self.server.target, picture, b'"}}}'

    def _info(self) -> dict[str, Any]:
        options = self.server.options
        shape = None if options.size is None else [3, options.size, options.size]
        picture = {"type": "image", "shape": shape, "mode": "RGB"}
        return {
            "inputs": {options.image: picture, options.caption: {"type": "sequence", "shape": None}},
            "outputs": {options.output: picture},
        }

    def _keep_out(self, payload: Any) -> str:
        ids = payload.get("validation_ids") if isinstance(payload, dict) else None
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            raise BadMessage("setValidationIds needs validation_ids, a list of texts.")
        known = frozenset(self.server.index_of[one] for one in ids if one in self.server.index_of)
        added = self.group.keep_out(known, self.member)
        said = f"{len(known)} ids are left out"
        said += f" ({len({*ids}) - len(known)} more are not known here)" if len({*ids}) > len(known) else ""
        if added:
            said += ", and those of another trainer at this address; give each a path of its own, as in /ws/1"
        return said + "."

    def _status(self) -> dict[str, Any]:
        return {
            "active_connections": self.server.connections,
            "current_position": self.position,
            "validation_ids_count": len(self.group.left_out),
            "raw_queue_size": self.server.waiting,
            "batch_cache_size": len(self.server.prepared),
            "unreadable": len(self.server.prepared.unreadable),
            "samples": len(self.server.ids),
        }
