"""Problems as clients of the OpenAI API read them."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from api.problems import Problem

PREFIX = "/v1"
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def envelope(request: Request, problem: Problem) -> Response:
    """{"error": {message, type, param, code}}. Clients are told not to try again: each try would queue a job."""
    status = 400 if problem.status in (409, 422) else problem.status
    headers = {**problem.headers, "x-should-retry": "false"}
    return JSONResponse({"error": body(problem)}, status, headers)


def body(problem: Problem) -> dict[str, str | None]:
    """What stands in the envelope."""
    kind = _TYPES.get(problem.status, "server_error" if problem.status >= 500 else "invalid_request_error")
    fields = problem.more.get("errors") or [{}]
    return {"message": problem.sentence, "type": kind, "param": fields[0].get("field"), "code": problem.kind}
