"""What docarray 0.13 to 0.21 sends and reads over HTTP: Documents, parameters, and how a failure is told."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from pydantic.types import JsonValue

from api.problems import Problem
from db.jobs import new_id

MAX_DOCUMENTS = 8
_GATEWAY = ("bad_json", "bad_request", "wrong_key", "wrong_scope", "foreign_page", "too_large", "stopping")
_FIELDS = (
    *("id", "parent_id", "granularity", "adjacency", "blob", "tensor", "mime_type", "text", "weight", "uri", "tags"),
    *("offset", "location", "embedding", "modality", "evaluations", "scores", "chunks", "matches"),
)
_names = AliasChoices


class Sent(BaseModel):
    """A Document as it is sent. What is not read here goes back as it came."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]

    id: str | None = Field(None, max_length=255)
    text: str | None = Field(None, max_length=20_000, description="The prompt.")
    uri: str | None = Field(None, description="A picture as a data URI.")
    blob: str | None = Field(None, description="The same, base64 without a head.")
    tags: dict[str, JsonValue] | None = None
    matches: list[JsonValue] | None = None


class Header(BaseModel):
    """Where a request goes; the same two may stand beside the header."""

    exec_endpoint: str | None = Field(None, validation_alias=_names("exec_endpoint", "execEndpoint"), max_length=100)
    target_executor: str | None = Field(
        None, validation_alias=_names("target_executor", "targetExecutor"), max_length=100
    )


class Posted(Header):
    """The body of `POST /post`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"exec_endpoint": "/", "data": [{"text": "a red heart"}], "parameters": {"num_images": 2.0}}]
        }
    )

    header: Header | None = None
    data: list[Sent] = Field(min_length=1, max_length=MAX_DOCUMENTS)
    parameters: dict[str, JsonValue] | None = None

    @property
    def endpoint(self) -> str:
        """Such as "/" or "/upscale"."""
        named = self.exec_endpoint or (self.header and self.header.exec_endpoint) or "/"
        return "/" + named.strip("/")

    @property
    def executor(self) -> str:
        """Such as "diffusion"; empty for all that answer to the endpoint."""
        return self.target_executor or (self.header and self.header.target_executor) or ""


def document(**fields: Any) -> dict[str, Any]:
    """A Document with every field that the client knows; null where nothing is said of it."""
    return {**dict.fromkeys(_FIELDS), **fields}


def as_sent(sent: Sent, **changed: Any) -> dict[str, Any]:
    """A Document as it came, but for what is changed."""
    known = {name: value for name, value in sent.model_dump().items() if name in _FIELDS}
    return document(**{**known, "id": sent.id or new_id(), **changed})


def answer(posted: Posted, documents: list[dict[str, Any]], began: float) -> Response:
    """What the gateway answers. began: UTC s since 1970."""
    route = {"executor": posted.executor or "studio", "startTime": _iso(began), "endTime": _iso(None), "status": None}
    body = {
        "header": _header(posted.endpoint, posted.executor, None),
        "parameters": posted.parameters or {},
        "routes": [route],
        "data": documents,
    }
    return _json(body, 200)


def as_failure(request: Request, problem: Problem) -> Response:
    """A problem as the client tells it: BadServer with the sentence.

    What an executor could not do is HTTP 200 with a status of code 1, as jina's gateway tells it; what the gateway
    itself refuses keeps its status, the sentence in `detail`.
    """
    headers = dict(problem.headers)
    told = problem.kind in _GATEWAY or problem.kind in ("not_found", "unknown_endpoint", "method_not_allowed")
    if told:
        return _json({"detail": problem.sentence, **problem.more}, problem.status, headers)
    exception = {"name": problem.kind, "args": [problem.sentence], "stacks": [], "executor": "studio"}
    status = {"code": 1, "description": problem.sentence, "exception": exception}
    return _json({"header": _header("", "", status), "parameters": {}, "routes": [], "data": []}, 200, headers)


def _header(endpoint: str, executor: str, status: dict[str, Any] | None) -> dict[str, Any]:
    return {"requestId": new_id(), "status": status, "execEndpoint": endpoint, "targetExecutor": executor}


def _iso(at: float | None) -> str:
    now = datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
    return now.isoformat()


def _json(body: dict[str, Any], status: int, headers: dict[str, str] | None = None) -> Response:
    # ASCII, since half a character that came in is to go out again; a number that is none becomes null.
    text = json.dumps(_finite(body), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Response(text, status, headers, media_type=JSONResponse.media_type)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list) else value
