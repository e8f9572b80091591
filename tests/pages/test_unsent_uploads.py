"""What browsers upload is bounded in memory: for each session, in all, and in time, whether or not a form reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from pages.shared import unsent
from pages.shared.unsent import UnsentBounded

MB = 1 << 20


class Uploads:
    """Streamlit's route for uploads behind the bounds, without Streamlit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held = MemoryUploadedFileManager("/_stcore/upload_file")
        instance = SimpleNamespace(uploaded_file_mgr=self.held)
        monkeypatch.setattr(unsent.runtime, "get_instance", lambda: instance)
        route = Route("/studio/_stcore/upload_file/{session}/{file}", self.put, methods=["PUT"])
        made: list[UnsentBounded] = []

        def bounded(app: Any) -> UnsentBounded:
            made.append(UnsentBounded(app))
            return made[0]

        transport = httpx.ASGITransport(app=Starlette(routes=[route], middleware=[Middleware(bounded)]))
        self._made = made
        self.client = httpx.AsyncClient(transport=transport, base_url="http://studio")

    @property
    def bounded(self) -> UnsentBounded:
        return self._made[0]

    async def put(self, request: Request) -> Response:
        data = await request.body()
        session, file = request.path_params["session"], request.path_params["file"]
        self.held.add_file(session, UploadedFileRec(file_id=file, name="a.png", type="image/png", data=data))
        return Response(status_code=204)

    async def send(self, session: str, file: str, data: Any) -> httpx.Response:
        return await self.client.put(f"/studio/_stcore/upload_file/{session}/{file}", content=data)

    def sizes(self) -> dict[str, int]:
        return {one: sum(len(f.data) for f in files.values()) for one, files in self.held.file_storage.items() if files}


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> Uploads:
    monkeypatch.setattr(unsent, "MAX_SESSION_BYTES", 4 * MB)
    monkeypatch.setattr(unsent, "MAX_BYTES", 10 * MB)
    return Uploads(monkeypatch)


async def pieces(count: int) -> AsyncIterator[bytes]:
    """A body whose length nobody has told before."""
    for _ in range(count):
        yield bytes(MB // 4)


def test_a_session_may_not_send_more_than_its_share(uploads: Uploads) -> None:
    async def flood() -> list[int]:
        answers = [await uploads.send("a", f"f{n}", bytes(MB)) for n in range(6)]
        answers += [await uploads.send("a", "long", pieces(40))]
        assert "Too much was sent and not used yet: at most 16 files and 4 MB" in answers[-1].text
        return [answer.status_code for answer in answers]

    assert asyncio.run(flood()) == [204] * 4 + [413] * 3
    assert uploads.sizes() == {"a": 4 * MB}


def test_empty_files_are_counted_as_well(uploads: Uploads) -> None:
    async def flood() -> list[int]:
        return [(await uploads.send("a", f"f{n}", b"")).status_code for n in range(20)]

    assert asyncio.run(flood()) == [204] * 16 + [413] * 4


def test_whoever_has_sent_most_makes_room_for_others(uploads: Uploads) -> None:
    async def flood() -> None:
        for n in range(3):
            for session in ("flood-1", "flood-2", "flood-3"):
                assert (await uploads.send(session, f"f{n}", bytes(MB))).status_code == 204
        assert (await uploads.send("guest", "photo", bytes(2 * MB))).status_code == 204
        for n in range(3, 9):
            await uploads.send("flood-1", f"f{n}", bytes(MB))

    asyncio.run(flood())
    assert sum(uploads.sizes().values()) <= 10 * MB and uploads.sizes()["guest"] == 2 * MB


def test_many_at_once_are_refused_while_they_come(uploads: Uploads) -> None:
    async def flood() -> list[int]:
        sent = [uploads.send(f"s{n}", "f", pieces(14)) for n in range(8)]
        return [answer.status_code for answer in await asyncio.gather(*sent)]

    statuses = asyncio.run(flood())
    assert set(statuses) <= {204, 503} and sum(uploads.sizes().values()) <= 10 * MB
    assert not uploads.bounded._coming


def test_what_no_page_reads_goes_after_a_while(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait() -> None:
        await uploads.send("a", "f", bytes(MB))
        now = unsent.time.monotonic()
        monkeypatch.setattr(unsent, "time", SimpleNamespace(monotonic=lambda: now + unsent.UNREAD_S + 1))
        await uploads.send("b", "g", bytes(100))

    asyncio.run(wait())
    assert uploads.sizes() == {"b": 100}


def test_a_file_that_does_not_come_is_not_waited_for(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsent, "MAX_S", 0.05)

    async def never() -> AsyncIterator[bytes]:
        yield bytes(100)
        await asyncio.Event().wait()

    assert asyncio.run(uploads.send("a", "f", never())).status_code == 408
    assert uploads.sizes() == {} and not uploads.bounded._coming
