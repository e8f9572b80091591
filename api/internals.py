"""Streamlit's own figures and roads for programs, which it answers to everybody: here to whom /metrics is answered."""

from __future__ import annotations

import re

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.callers import caller, reader
from api.opened import Api
from api.problems import NotAnswered, as_problem, problem_of
from studio.errors import SENTENCES

# The pages need the others (health, stream, host-config, upload_file); probes need health.
_OURS = re.compile(r"/_stcore/(?:metrics|script-health-check|agent)(?:/|$)")


class Internals:
    """ASGI middleware of the pages' app: programs on this machine and keys of any scope pass, nobody else."""

    def __init__(self, app: ASGIApp, api: Api) -> None:
        self._app, self._api = app, api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app's answer, or why there is none."""
        if scope["type"] == "http" and _OURS.search(scope["path"]):
            request = Request(scope)
            try:
                await reader(await caller(request, self._api))
            except NotAnswered as error:
                return await as_problem(request, error.problem)(scope, receive, send)
            except SENTENCES as error:  # the database, which knows the keys
                return await as_problem(request, problem_of(error))(scope, receive, send)
        await self._app(scope, receive, send)
