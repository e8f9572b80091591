"""The API as one ASGI app: alone (`python -m api`), or beside the pages on their port (`webapp.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from api import health, metrics, native, webhooks
from api.answered import Answers
from api.bodies import LimitedBodies
from api.native import artefacts, catalogue, events, jobs
from api.openai import envelope as openai_envelope
from api.openai import images, models
from api.opened import Api
from api.problems import Envelope, handle_all
from generator.version import VERSION
from settings import Settings
from studio.context import Studio
from telemetry import Traces

# What is answered here where the pages share the port; all else is theirs.
PREFIXES = ("/api", "/v1", "/sdapi", "/post", "/predict", "/mcp", "/metrics", "/healthz", "/readyz")
DIALECTS: dict[str, Envelope] = {openai_envelope.PREFIX: openai_envelope.envelope}


def build(settings: Settings, studio: Studio | None = None, traces: Traces | None = None) -> FastAPI:
    """The whole API. studio: where it is open already. traces: where they are made."""
    api = Api(settings, studio)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with api.serving():
            telling = asyncio.create_task(webhooks.tell(api))
            yield
            api.stopping.set()
            await telling

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
    for router in (jobs.router, events.router, artefacts.router, catalogue.router):
        app.include_router(router, prefix=native.ROOT)
    for router in (images.router, models.router):
        app.include_router(router)
    handle_all(app, DIALECTS)
    app.add_middleware(LimitedBodies, max_bytes=settings.api_max_body_bytes)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["etag", "retry-after", "content-range"],
        )
    app.add_middleware(Answers, counts=app.state.metrics, traces=traces)  # the outermost: it sees every answer
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
