"""A browser's side of one Streamlit session, without the browser: protobuf messages over a WebSocket.

Not a command. Used by benchmark_visitors.py. Speaks as the page's JavaScript does: one rerun request for each change
of a widget or page, the refreshes of fragments that ask for them, and a GET for every picture not yet seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import websockets
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from studio.visitor_ids import COOKIE

TIMEOUT_S = 60.0
FULL = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_WITH_COMPILE_ERROR)


class NoSuchWidget(LookupError):
    """The page has no widget of this key or label now."""


@dataclass(frozen=True)
class Widget:
    """What is needed to set it: its id, and the fragment that is run for it ("": the whole page)."""

    id: str
    kind: str
    fragment: str


class Session:
    """One visitor. `errors` collects what went wrong: error boxes, exceptions, runs that did not end in TIMEOUT_S."""

    def __init__(self, address: str, cookie: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        """cookie: what the browser keeps of the visitor (studio/visitor_ids.py); None: the server gives it one.
        headers: sent with every request, as a proxy in front adds some."""
        self._headers = dict(headers or {})
        self._address = address
        self.cookie = cookie
        limits = httpx.Limits(max_connections=6)  # as a browser
        self._http = httpx.AsyncClient(timeout=TIMEOUT_S, limits=limits, verify=False, trust_env=False)
        self._seen: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refreshes: dict[str, asyncio.Task[None]] = {}
        self._finished: asyncio.Queue[int] = asyncio.Queue()
        self._busy = asyncio.Lock()
        self._page = ""
        self._query = ""
        self.widgets: dict[str, Widget] = {}
        self.pages: dict[str, str] = {}
        self.errors: list[str] = []
        self.received = 0  # bytes of messages
        self.refreshed_s: list[float] = []  # how long each refresh of a fragment took

    async def __aenter__(self) -> Session:
        if self.cookie is None:
            page = await self._http.get(self._address, headers={"accept": "text/html", **self._headers})
            self.cookie = page.cookies.get(COOKIE)
            self._http.cookies.clear()
        self._socket = await websockets.connect(
            f"ws{self._address.removeprefix('http')}/_stcore/stream",
            origin=websockets.Origin(self._address),
            subprotocols=[websockets.Subprotocol("streamlit")],
            additional_headers=self._headers | ({"Cookie": f"{COOKIE}={self.cookie}"} if self.cookie else {}),
            max_size=None,
            open_timeout=TIMEOUT_S,
        )
        self._keep(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop_refreshes()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._socket.close()
        await self._http.aclose()

    async def open(self, path: str, query: str = "") -> float:
        """The page at this path, as a click in the menu, or the first request of a new tab; s until it has run."""
        self._query = query
        self._page = self.pages.get(path, "")
        return await self._run(BackMsg(), name="" if self._page else path)

    async def act(self, key: str, value: bool | int | str | None = None) -> float:
        """Set the widget of this key or label (None: press it); s until the page or its fragment has run."""
        widget = self.widgets.get(key)
        if widget is None:
            raise NoSuchWidget(f"{key!r}; there are {sorted(self.widgets)}")
        message = BackMsg()
        state = message.rerun_script.widget_states.widgets.add()
        state.id = widget.id
        if value is None:
            state.trigger_value = True
        elif isinstance(value, bool):
            state.bool_value = value
        elif isinstance(value, int):
            state.int_value = value
        else:
            state.string_value = value
        return await self._run(message, fragment=widget.fragment)

    async def refresh(self) -> float:
        """What refreshes by itself, now; s until it has run."""
        seconds = 0.0
        for fragment in list(self._refreshes):
            seconds += await self._run(BackMsg(), fragment=fragment, refresh=True)
        return seconds

    def key_like(self, start: str) -> str:
        """The first widget whose key begins so. Raises NoSuchWidget."""
        found = next((key for key in self.widgets if key.startswith(start)), None)
        if found is None:
            raise NoSuchWidget(f"{start!r}...; there are {sorted(self.widgets)}")
        return found

    async def _run(self, message: BackMsg, *, name: str = "", fragment: str = "", refresh: bool = False) -> float:
        """Send a request and wait for the end of its run. One after the other, as the server runs them anyway."""
        started = time.monotonic()
        request = message.rerun_script
        request.query_string, request.page_script_hash, request.page_name = self._query, self._page, name
        request.fragment_id, request.is_auto_rerun = fragment, refresh
        request.context_info.timezone, request.context_info.locale = "UTC", "en-US"
        request.context_info.url = f"{self._address}/{name}"
        async with self._busy:
            while not self._finished.empty():
                self._finished.get_nowait()
            await self._socket.send(message.SerializeToString())
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    ends = FULL if not fragment else (*FULL, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)
                    while await self._finished.get() not in ends:
                        pass
            except TimeoutError:
                self.errors.append(f"no answer in {TIMEOUT_S:.0f} s")
        return time.monotonic() - started

    async def _read(self) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            async for data in self._socket:
                assert isinstance(data, bytes)
                self.received += len(data)
                message = ForwardMsg.FromString(data)
                self._take(message, message.WhichOneof("type"))

    def _take(self, message: ForwardMsg, kind: str | None) -> None:
        if kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            element = message.delta.new_element
            self._element(element, element.WhichOneof("type") or "", message.delta.fragment_id)
        elif kind == "navigation":
            self.pages = {page.url_pathname: page.page_script_hash for page in message.navigation.app_pages}
            self._page = message.navigation.page_script_hash or self._page
        elif kind == "page_info_changed":
            self._query = message.page_info_changed.query_string
        elif kind == "auto_rerun":
            rerun = message.auto_rerun
            self._refreshes[rerun.fragment_id] = self._keep(self._refresh(rerun.fragment_id, rerun.interval))
        elif kind == "new_session" and not message.metadata.run.fragment_ids:
            self.widgets = {}
            self._stop_refreshes()
        elif kind == "script_finished":
            self._finished.put_nowait(message.script_finished)
        elif kind == "session_event" and message.session_event.HasField("script_compilation_exception"):
            self.errors.append(message.session_event.script_compilation_exception.message)

    def _element(self, element: Any, kind: str, fragment: str) -> None:
        found: Any = getattr(element, kind, None)
        if kind == "exception":
            self.errors.append(found.message)
        elif kind == "alert" and found.format == Alert.ERROR:
            self.errors.append(found.body)
        elif kind == "imgs":
            self._fetch(image.url for image in found.imgs)
        elif getattr(found, "id", "") and not getattr(found, "disabled", False):
            # $$ID-<hash>-<key>, where the key is None if the page gave none.
            key = found.id.split("-", 2)[-1]
            self.widgets[found.label if key == "None" else key] = Widget(found.id, kind, fragment)

    def _fetch(self, urls: Iterable[str]) -> None:
        new = [url for url in urls if not urlsplit(url).scheme and url not in self._seen]
        self._seen.update(new)
        if new:
            self._keep(self._get(new))

    async def _get(self, urls: list[str]) -> None:
        for url in urls:
            try:
                answer = await self._get_one(f"{self._address}{url}")
            except httpx.HTTPError as error:
                self.errors.append(f"a picture did not come: {error!r}")
                continue
            # What is gone when it is asked for was replaced meanwhile: a preview that has formed further.
            if answer.status_code not in (200, 404):
                self.errors.append(f"a picture was answered with {answer.status_code}")

    async def _get_one(self, url: str) -> httpx.Response:
        try:
            return await self._http.get(url)
        except (httpx.RemoteProtocolError, httpx.ReadError):
            # The server had closed a connection that was idle; browsers ask again, too.
            return await self._http.get(url)

    async def _refresh(self, fragment: str, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            self.refreshed_s.append(await self._run(BackMsg(), fragment=fragment, refresh=True))

    def _stop_refreshes(self) -> None:
        for task in self._refreshes.values():
            task.cancel()
        self._refreshes = {}

    def _keep(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
