"""The API as one ASGI app: alone (`python -m api`), or beside the pages on their port (`webapp.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api import health, metrics, sweeping, webhooks
from api.answered import Answers
from api.bodies import LimitedBodies
from api.dialects import ENVELOPES, ROUTERS
from api.document import describe
from api.mcp import http as mcp
from api.native import ROOT
from api.opened import Api
from api.problems import NotAnswered, handle_all
from generator.version import VERSION
from settings import Settings
from studio.context import Studio
from telemetry import Traces

# What is answered here where the pages share the port; all else is theirs.
PREFIXES = (
    "/api",
    "/v1",
    "/sdapi",
    "/controlnet",
    "/post",
    "/predict",
    "/info",
    "/mcp",
    "/metrics",
    "/healthz",
    "/readyz",
)


def build(settings: Settings, studio: Studio | None = None, traces: Traces | None = None) -> FastAPI:
    """The whole API, or what says that it is switched off. studio: where it is open already. traces: where they are
    made."""
    api = Api(settings, studio)
    if settings.api == "off":
        return _switched_off(api)
    tools = mcp.Mounted(api)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with api.serving(), tools.serving():
            tasks = [asyncio.create_task(webhooks.tell(api)), asyncio.create_task(sweeping.sweep(api))]
            yield
            api.stopping.set()
            await asyncio.gather(*tasks)

    app = FastAPIOffline(
        title="Text-to-image studio",
        version=VERSION,
        summary="Pictures from prompts, on one fair queue.",
        docs_url="/api/docs",
        redoc_url=None,
        openapi_url="/api/openapi.json",
        static_url="/api/docs/static",
        swagger_ui_oauth2_redirect_url="/api/docs/oauth2-redirect",
        lifespan=lifespan,
    )
    app.state.api, app.state.metrics = api, metrics.Metrics(api)
    app.include_router(health.router)
    app.include_router(metrics.router)
    for router in ROUTERS:
        app.include_router(router)
    app.routes.append(_Counted(mcp.PATH, tools, include_in_schema=False))
    describe(app, tuple(ENVELOPES))
    handle_all(app, ENVELOPES)
    written = {f"{ROOT}/datasets": settings.max_dataset_bytes, f"{ROOT}/models": settings.max_model_bytes}
    app.add_middleware(LimitedBodies, api=api, max_bytes=settings.api_max_body_bytes, written=written)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["etag", "retry-after", "content-range", "mcp-session-id"],
        )
    app.add_middleware(Answers, counts=app.state.metrics, traces=traces)  # the outermost: it sees every answer
    return app


class _Counted(Route):
    """Starlette's route for an ASGI app, which says which one it is, as FastAPI's own do: requests count under it."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a request goes here, and what is known of it then."""
        match, found = super().matches(scope)
        return match, {**found, "route": self}


def _switched_off(api: Api) -> FastAPI:
    """Whether the server is alive is told; all else is a sentence."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with api.serving():
            task = asyncio.create_task(sweeping.sweep(api))
            yield
            api.stopping.set()
            await task

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.api = api
    app.include_router(health.liveness)
    handle_all(app, {})

    @app.api_route("/{path:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    async def nothing(path: str) -> None:
        """Whatever else is asked for."""
        raise NotAnswered(
            404, "The API is switched off here; the host can switch it on: T2I_API=local, open or keys.", "switched_off"
        )

    return app


class Beside:
    """ASGI middleware of the pages' app: what is the API's goes there before anything of the pages is run."""

    def __init__(self, app: ASGIApp, api: ASGIApp) -> None:
        self._pages, self._api = app, api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """To the API by the path, to the pages else."""
        path = scope.get("path", "")
        theirs = scope["type"] == "http" and any(path == one or path.startswith(f"{one}/") for one in PREFIXES)
        await (self._api if theirs else self._pages)(scope, receive, send)
