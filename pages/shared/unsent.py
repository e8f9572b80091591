"""Bounds on what browsers upload (ASGI middleware): Streamlit holds it in memory until a page has read it.

A page keeps what it is given in the store at once and lets go of it (components/given_pictures.py). But whoever has a
session may send files that no form will ever read, and Streamlit holds them for as long as the session is there. So
they are bounded in bytes and number for each session and in all, and go when nothing has read them for a while.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from streamlit import runtime
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager

from generator.images.freed import give_back

PATH = "/_stcore/upload_file/"
# Of one session: what a form takes at once, a picture to start from, a mask, and as many as there may be to resemble.
MAX_SESSION_BYTES, MAX_SESSION_FILES = 64 << 20, 16
MAX_BYTES = 128 << 20  # of all sessions
UNREAD_S = 120.0  # a page reads what it is given within seconds
MAX_S = 120.0  # for one file to come


Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class NoRoom(Exception):
    """A file is not taken; one sentence. status: of the answer."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class UnsentBounded:
    """Passes uploads on to Streamlit as long as there is room for them in memory; 413 and 503 where there is not."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._coming: Counter[str] = Counter()  # bytes of files that are on their way, by session
        self._came: dict[tuple[str, str], float] = {}  # when each file was there, on the clock that nobody sets

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        _, found, rest = scope.get("path", "").partition(PATH)
        if scope["type"] != "http" or scope["method"] != "PUT" or not found:
            return await self._app(scope, receive, send)
        session, _, file = rest.partition("/")
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            self._coming[session] += len(message.get("body", b""))
            self._make_room(session)
            return message

        try:
            self._make_room(session, new=1)
            async with asyncio.timeout(MAX_S):
                await self._app(scope, bounded, send)
        except NoRoom as error:
            await _answer(send, error.status, str(error))
        except TimeoutError:
            await _answer(send, 408, "The file did not come in time.")
        finally:
            self._coming[session] -= size
            if self._coming[session] <= 0:
                del self._coming[session]
            self._came[session, file] = time.monotonic()
            give_back()  # what was dropped, and what the file was put together in
            asyncio.get_running_loop().call_later(UNREAD_S + 1, self._drop_unread)

    def _make_room(self, session: str, new: int = 0) -> None:
        """Raises NoRoom where the session, or all of them, have sent more than may be held."""
        held = _held()
        self._drop_unread()
        own = held.file_storage.get(session, {})
        size = sum(len(file.data) for file in list(own.values())) + self._coming[session]
        if size > MAX_SESSION_BYTES or len(own) + new > MAX_SESSION_FILES:
            most = f"{MAX_SESSION_FILES} files and {MAX_SESSION_BYTES >> 20} MB"
            raise NoRoom(413, f"Too much was sent and not used yet: at most {most}. Wait {UNREAD_S:.0f} s.")
        coming = self._coming.total()
        while (stored := _size(held)) and stored + coming > MAX_BYTES:
            self._drop_one(held)
        if coming > MAX_BYTES:
            raise NoRoom(503, "Too much is being sent at once; try again in some seconds.")

    def _drop_unread(self) -> None:
        """What no page has read for a while."""
        held = _held()
        now, there = time.monotonic(), {(session, file) for session, file, _ in _files(held)}
        self._came = {one: at for one, at in self._came.items() if one in there or now - at < 1}
        for one in there:
            if now - self._came.setdefault(one, now) > UNREAD_S:
                held.remove_file(*one)
                del self._came[one]

    def _drop_one(self, held: MemoryUploadedFileManager) -> None:
        """The oldest file of the session that has sent most: whoever floods the others goes first."""
        sizes: Counter[str] = Counter()
        for session, _, size in _files(held):
            sizes[session] += size
        ((most, _),) = sizes.most_common(1)
        _, oldest = min(
            (self._came.get((most, file), 0.0), file) for session, file, _ in _files(held) if session == most
        )
        held.remove_file(most, oldest)


async def _answer(send: Send, status: int, sentence: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", b"10")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})


def _files(held: MemoryUploadedFileManager) -> Iterator[tuple[str, str, int]]:
    """(session, file, bytes) of all files."""
    for session, files in list(held.file_storage.items()):
        for file in list(files.values()):
            yield session, file.file_id, len(file.data)


def _size(held: MemoryUploadedFileManager) -> int:
    return sum(size for _, _, size in _files(held))


def _held() -> MemoryUploadedFileManager:
    """What Streamlit holds. Of another kind of manager nothing is known, and nothing is bounded."""
    manager = runtime.get_instance().uploaded_file_mgr
    return manager if isinstance(manager, MemoryUploadedFileManager) else MemoryUploadedFileManager("")
