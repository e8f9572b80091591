"""Every request seen from outside (ASGI middleware): counted, written to the log as one line, traced where that is on.

Neither a key nor a prompt, nor any other thing that a caller wrote, gets into a label, a line or a span: a route is
named by its template, an address that is none as `unknown`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import CLIENT_GONE
from db.jobs import is_id

if TYPE_CHECKING:
    from telemetry import Traces

UNKNOWN = "unknown"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
MAX_ROUTES = 500  # more than there are: should a template ever hold what a caller wrote, labels do not grow
MAX_JOBS_LOGGED = 8
PROBES = ("/metrics", "/healthz", "/readyz")  # asked every few seconds by machines: counted alone
_KEY = "t2i.answered"
log = logging.getLogger("api")


@dataclass
class Answered:
    """One request. caller: `key NAME`, `anonymous`, or None where nobody asked who it is; began: s until the answer.

    traceparent: of its span, where traces are made.
    """

    method: str
    route: str = UNKNOWN
    status: int = CLIENT_GONE  # until something is answered
    began: float | None = None
    seconds: float = 0.0
    is_stream: bool = False
    caller: str | None = None
    traceparent: str | None = None
    jobs: list[str] = field(default_factory=list)

    def note(self, job_ids: Iterable[str]) -> None:
        """Jobs that it has queued, or is about; each is kept once."""
        self.jobs = list(dict.fromkeys([*self.jobs, *job_ids]))


class Counts(Protocol):
    """Whoever counts requests."""

    def begin(self) -> None:
        """One came."""

    def open_stream(self) -> None:
        """Its answer is a stream, which begins."""

    def end(self, request: Answered) -> None:
        """It was answered, or its caller is gone."""


class Answers:
    """Passes all on, and tells counts, log and traces of each request when it has ended."""

    def __init__(self, app: ASGIApp, counts: Counts, traces: Traces | None = None) -> None:
        self._app, self._counts, self._traces = app, counts, traces
        self._routes: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Errors of the app are counted as 500, which is what they are answered with, and go on."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        request = scope[_KEY] = Answered(method)
        before, started = scope.get("root_path", ""), time.perf_counter()
        traces = self._traces if scope["path"] not in PROBES else None

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.status, request.began = message["status"], time.perf_counter() - started
                if _is_stream(message):
                    request.is_stream = True
                    self._counts.open_stream()
            await send(message)

        self._counts.begin()
        with traces.answering(scope["headers"], method) if traces else nullcontext() as span:
            request.traceparent = span.traceparent if span else None
            try:
                await self._app(scope, receive, sent)
            except Exception:
                request.status = 500
                raise
            finally:
                request.seconds = time.perf_counter() - started
                request.route = self._known(template(scope, before))
                if is_id(named := str(scope.get("path_params", {}).get("job_id", ""))):
                    request.note([named])
                self._counts.end(request)
                _log(request)
                if span:
                    span.tell(request.route, request.status, caller=request.caller, jobs=_some(request.jobs))

    def _known(self, route: str) -> str:
        if route not in self._routes and len(self._routes) >= MAX_ROUTES:
            return UNKNOWN
        self._routes.add(route)
        return route


def answered(request: Request) -> Answered:
    """What is known of this request so far; the caller and its jobs are noted here."""
    there = request.scope.get(_KEY)
    return there if isinstance(there, Answered) else Answered(request.method)


def template(scope: Scope, root_path: str = "") -> str:
    """The template of the route a request went to, e.g. /api/v1/jobs/{job_id}; `/PREFIX/*` where an app is mounted.

    scope: after the app has routed it; root_path: as it was before.
    """
    path: str = scope["path"]
    route = scope.get("route")
    if route is None:
        mounted: str = scope.get("root_path", "")
        return f"{mounted}/*" if mounted != root_path else UNKNOWN
    own = str(getattr(route, "path_format", None) or route.path)
    # A route knows its path below the router it is in: the prefix is what stands before that in the address.
    below = own
    for name, value in scope.get("path_params", {}).items():
        below = below.replace(f"{{{name}}}", str(value))
    return path.removesuffix(below) + own if path.endswith(below) else own


def _is_stream(message: Message) -> bool:
    return any(
        name == b"content-type" and value.startswith(b"text/event-stream") for name, value in message.get("headers", ())
    )


def _some(jobs: list[str]) -> list[str] | None:
    return jobs[:MAX_JOBS_LOGGED] or None


def _log(request: Answered) -> None:
    if not log.isEnabledFor(logging.INFO) or (request.route in PROBES and request.status < 400):
        return
    fields = {
        "method": request.method,
        "route": request.route,
        "status": request.status,
        "seconds": request.seconds,
        "caller": request.caller,
        "jobs": _some(request.jobs),
        "jobs_in_all": len(request.jobs) if len(request.jobs) > MAX_JOBS_LOGGED else None,
    }
    log.info("request", extra={"fields": fields})
