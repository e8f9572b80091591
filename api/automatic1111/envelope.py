"""Errors as this dialect tells them."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request, Response

from api.problems import Problem


def as_error(request: Request, problem: Problem) -> Response:
    """`{error, detail, body, errors}`; the sentence is in `detail`, which is what its clients show."""
    body = {"error": problem.kind, "detail": problem.sentence, "body": "", "errors": problem.sentence}
    return in_ascii(body, problem.status, dict(problem.headers))


def in_ascii(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON without a character above 127: a sentence may quote half of a character, which UTF-8 cannot hold."""
    return Response(json.dumps(body), status, headers, "application/json")
