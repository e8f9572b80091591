"""Captioned pictures from any server of EIR's protocol 1.0: read ahead, reconnected with backoff, gone on with.

Our own server goes on at any place (messages.Place), so a run that is resumed sees what it would have seen. Of other
servers only the order within one connection is known, and their ids may be positions that name another picture after a
reset (as the tutorial's do): there a sample is called by its caption, so that nothing kept for validation is ever
trained on; going on means passing over what came already.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from generator.learning.stream import messages, received
from generator.learning.stream.messages import BadMessage, Place, message
from generator.learning.stream.samples import DataProblem, Sample, Split, is_validation

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

BATCH = 64  # samples asked for at a time
MAX_VALIDATION = 1024  # samples, of servers that never end
_MAX_READ_FOR_VALIDATION = 20_000
_MAX_OTHERS = 1000  # messages that are no answer, in a row
_MAX_REMEMBERED = 2_000_000
_READ_AHEAD = 2  # batches
_TOO_BIG = 1009  # RFC 6455, section 7.4.1


@dataclass(frozen=True)
class Patience:
    """In seconds. answer: for one message; all: for a server that does not come back; first, most: pauses between
    tries, doubled each time."""

    answer: float = 30.0
    all: float = 120.0
    first: float = 0.5
    most: float = 15.0


class _Gone(Exception):
    """The connection broke; it is tried again."""


@dataclass
class _Epoch:
    """Samples of an epoch that came already, by digest, for servers that go on only from their start."""

    seen: set[int] = field(default_factory=set)
    passing: bool = False  # since a reconnection, until something new comes
    passed: int = 0


class EirStream:
    """A CaptionStream from a server's address. Raises DataProblem on opening where nobody answers, or not as agreed."""

    def __init__(self, address: str, *, validation_share: float, patience: Patience | None = None) -> None:
        self.name = address
        self.length: int | None = None
        self._share = validation_share
        self._patience = patience or Patience()
        self._open: list[ClientConnection] = []
        self._closed = False
        self._train_length: int | None = None  # None: a server that begins where it likes
        try:
            with self._connected() as connection:
                self.fields = received.fields(address, self._ask(connection, message("getInfo"), "info"))
                train = self._went_on(connection, self._place("train"))
                if train is not None and (validation := self._went_on(connection, self._place("validation"))):
                    self._train_length, self.length = train["length"], train["length"] + validation["length"]
        except _Gone as error:
            raise DataProblem(f"{address} broke off while it was asked what it has ({error}).") from None
        if self._train_length == 0:
            raise DataProblem(f"{address} has {self.length} samples, and none of them to train on.")

    def samples(self, split: Split, *, start: int = 0, seed: int = 0) -> Iterator[Sample]:
        """As CaptionStream says; from a server that is not ours, train is in the server's order."""
        if self._train_length is not None:
            return self._ours(split, self._train_length, start, seed)
        return self._others_train(start) if split == "train" else self._others_validation(start)

    def close(self) -> None:
        """Close what is open; a reading that is under way ends with DataProblem."""
        self._closed = True
        for connection in [*self._open]:
            with contextlib.suppress(Exception):
                connection.close()

    # What both kinds of server have in common.

    @contextlib.contextmanager
    def _connected(self) -> Iterator[ClientConnection]:
        """A connection that has been greeted. Raises DataProblem, _Gone when it breaks within."""
        from websockets.exceptions import ConnectionClosed

        connection = self._connect()
        self._open.append(connection)
        try:
            yield connection
        except ConnectionClosed as error:
            if error.sent is not None and error.sent.code == _TOO_BIG:
                raise DataProblem(
                    f"{self.name} sends a message of more than {messages.MAX_FRAME >> 20} MB; none larger is read."
                ) from None
            raise _Gone(_sentence(error)) from None
        except (TimeoutError, OSError) as error:
            raise _Gone(_sentence(error)) from None
        except BadMessage as error:
            raise DataProblem(f"{self.name} does not speak EIR's protocol 1.0: {error}") from None
        finally:
            self._open.remove(connection)
            with contextlib.suppress(Exception):
                connection.close()

    def _connect(self) -> ClientConnection:
        """Tries until patience ends. Raises DataProblem."""
        from websockets.exceptions import InvalidURI, WebSocketException
        from websockets.sync.client import connect

        until, pause = time.monotonic() + self._patience.all, self._patience.first
        while True:
            if self._closed:
                raise DataProblem(f"{self.name} is not read any more; it was closed here.")
            try:
                opening = connect(
                    self.name,
                    compression=None,  # nor would a bomb be unpacked
                    max_size=messages.MAX_FRAME,
                    open_timeout=self._patience.answer,
                    close_timeout=1,
                    max_queue=4,
                    ping_interval=None,
                )
                connection = opening.__enter__()  # closed by _connected, or here where the greeting fails
                try:
                    said = self._ask(
                        connection, message("handshake", version=messages.VERSION, worker_id=0), "handshake"
                    )
                    if said.get("version") != messages.VERSION:
                        raise BadMessage(f"it speaks version {said.get('version')!r}, not {messages.VERSION!r}")
                except BaseException:
                    connection.close()
                    raise
                return connection
            except InvalidURI:
                raise DataProblem(f"{self.name!r} is no address; it must be like ws://HOST:PORT/PATH.") from None
            except BadMessage as error:
                raise DataProblem(f"{self.name} does not speak EIR's protocol 1.0: {error}") from None
            except (WebSocketException, OSError, TimeoutError, ValueError) as error:
                if time.monotonic() + pause > until:
                    raise DataProblem(
                        f"{self.name} did not answer within {self._patience.all:g} s ({_sentence(error)})."
                    ) from None
            time.sleep(pause)
            pause = min(pause * 2, self._patience.most)

    def _ask(self, connection: ClientConnection, asked: str, wanted: str) -> dict[str, Any]:
        connection.send(asked)
        return self._answer(connection, wanted)

    def _answer(self, connection: ClientConnection, wanted: str) -> dict[str, Any]:
        """The next message of that kind; others, as of a broadcast, are passed over, up to a bound."""
        until = time.monotonic() + self._patience.answer
        for _ in range(_MAX_OTHERS):
            said = messages.read(connection.recv(timeout=max(until - time.monotonic(), 0.01)))
            if said["type"] == wanted:
                return said
            if said["type"] == "error":
                payload = said.get("payload")
                raise BadMessage(f"it answers: {payload.get('message') if isinstance(payload, dict) else payload}")
        raise BadMessage(f"it sends {_MAX_OTHERS} messages without an answer to what it was asked, {wanted!r}")

    def _batches(self, connection: ClientConnection) -> Iterator[list[Any]]:
        """Samples as they come, until the server ends the epoch; the next batches are asked for before they are due.

        Then answers to what was asked ahead are still to come, _READ_AHEAD - 1 of them.
        """
        asked = message("getData", {"batch_size": BATCH})
        for _ in range(_READ_AHEAD):
            connection.send(asked)
        while True:
            batch = received.batch(self._answer(connection, "data"))
            if not batch:
                return
            connection.send(asked)
            yield batch

    # A server of ours.

    def _place(self, split: Split, seed: int = 0, epoch: int = 0, position: int = 0) -> Place:
        return Place(split, self._share, seed, epoch, position)

    def _went_on(self, connection: ClientConnection, place: Place) -> dict[str, int] | None:
        """Begin at a place; None from a server that does not know of places, and begins where it likes."""
        payload = self._ask(connection, message("reset", place.as_payload()), "resetConfirmation").get("payload")
        found = payload.get("went_on") if isinstance(payload, dict) else None
        whole = isinstance(found, dict) and all(isinstance(found.get(name), int) for name in ("position", "length"))
        return {name: found[name] for name in ("position", "length")} if whole and found else None

    def _ours(self, split: Split, length: int, start: int, seed: int) -> Iterator[Sample]:
        epoch, position = divmod(start, length) if split == "train" else (0, start)
        broken = 0
        while True:
            try:
                with self._connected() as connection:
                    while True:
                        place = self._place(split, seed, epoch, position)
                        now = self._went_on(connection, place)
                        if now is None or now["position"] != position or (split == "train" and now["length"] != length):
                            raise DataProblem(
                                f"{self.name} has other data than before; the run cannot go on with them."
                            )
                        for batch in self._batches(connection):
                            for one in batch:
                                sample = received.sample(one, self.fields, self.name)
                                position, broken = position + 1, 0
                                yield sample
                        if split == "validation":
                            return
                        epoch, position = epoch + 1, 0
                        for _ in range(_READ_AHEAD - 1):
                            self._answer(connection, "data")
            except _Gone as error:
                broken = self._wait(broken, error)

    def _wait(self, broken: int, error: _Gone) -> int:
        """After a break: a pause that grows while nothing comes. Raises DataProblem."""
        pauses = [min(self._patience.first * 2**n, self._patience.most) for n in range(broken + 1)]
        if sum(pauses) > self._patience.all:
            raise DataProblem(f"{self.name} breaks off again and again ({error}).")
        time.sleep(pauses[-1])
        return broken + 1

    # Any other server.

    def _others_train(self, start: int) -> Iterator[Sample]:
        yielded = 0
        for sample in self._others():
            if is_validation(sample.id, self._share):
                continue
            if yielded >= start:
                yield sample
            yielded += 1

    def _others_validation(self, start: int) -> Iterator[Sample]:
        """One epoch, or as much of it as is bearable from a server that never ends."""
        found = 0
        for read, sample in enumerate(self._others(once=True), 1):
            if is_validation(sample.id, self._share):
                found += 1
                if found > start:
                    yield sample
            if found == MAX_VALIDATION or read == _MAX_READ_FOR_VALIDATION:
                return

    def _others(self, *, once: bool = False) -> Iterator[Sample]:
        epoch, broken, begin = _Epoch(), 0, True
        while True:
            try:
                with self._connected() as connection:
                    if begin:
                        self._ask(connection, message("reset"), "resetConfirmation")
                        begin = False
                    for batch in self._batches(connection):
                        for one in batch:
                            sample, key = received.named_by_caption(one, self.fields, self.name)
                            broken = 0
                            if once and not epoch.passing and key in epoch.seen:
                                return  # it begins again without having ended
                            if self._is_new(epoch, key):
                                yield sample
                    if not epoch.seen:
                        raise DataProblem(f"{self.name} ends before it has sent a sample.")
                    if once:
                        return
                    epoch, begin = _Epoch(), True
            except _Gone as error:
                broken = self._wait(broken, error)
                epoch.passing, epoch.passed = True, 0

    def _is_new(self, epoch: _Epoch, key: int) -> bool:
        """Whether a sample is to be used: all are, but for those that come again after a reconnection."""
        if epoch.passing and key in epoch.seen:
            epoch.passed += 1
            if epoch.passed <= 2 * len(epoch.seen):
                return False
            epoch.seen.clear()  # it has begun another epoch meanwhile
        elif epoch.passing:
            epoch.passing = False
        again = key in epoch.seen
        if again or len(epoch.seen) >= _MAX_REMEMBERED:
            epoch.seen.clear()
        epoch.seen.add(key)
        return True


def _sentence(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
