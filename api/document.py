"""The OpenAPI document: what FastAPI knows of the routes, how errors are told, and how a key is shown."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

# What any address of the native API may answer instead: see api/problems.py.
STATUSES = (400, 401, 403, 404, 408, 409, 413, 416, 422, 429, 500, 503, 507)
_METHODS = ("get", "post", "put", "patch", "delete")
_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key of the host's; `X-API-Key` takes it as well."}
}


class FieldProblem(BaseModel):
    """One field that cannot be used."""

    field: str
    message: str


class ProblemShape(BaseModel):
    """Why a request is not answered as asked (RFC 9457): `detail` is the sentence that the page would show."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    kind: str
    errors: list[FieldProblem] = Field(default_factory=list)


def describe(app: FastAPI, dialects: tuple[str, ...]) -> None:
    """Let the document say that errors are told as ProblemShape, and under these prefixes in a dialect's own words."""
    plain: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _add(plain(), dialects)
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _add(document: dict[str, Any], dialects: tuple[str, ...]) -> None:
    components = document.setdefault("components", {})
    schema = ProblemShape.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = components.setdefault("schemas", {})
    schemas.update(schema.pop("$defs", {}) | {"ProblemShape": schema})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemShape"}}}
    components["responses"] = {
        str(status): {"description": HTTPStatus(status).phrase, "content": content} for status in STATUSES
    }
    components["securitySchemes"] = _SCHEMES
    document["security"] = [{}, {"key": []}]
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                responses = methods[method]["responses"]
                responses.pop("422", None)
                named = [one["name"] for one in methods[method].get("parameters", [])]
                if "Idempotency-Key" in named and "201" in responses:
                    responses["200"] = responses["201"] | {"description": "What was asked for before."}
                told = {str(status): {"$ref": f"#/components/responses/{status}"} for status in STATUSES}
                methods[method]["responses"] = responses | (_in_own_words() if path.startswith(dialects) else told)


def _in_own_words() -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        str(status): {"description": f"{HTTPStatus(status).phrase}, as this dialect tells it.", "content": content}
        for status in STATUSES
    }
