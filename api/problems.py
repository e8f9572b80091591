"""Why a request is not answered as asked: a status, and the sentence that the page would show (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from characters.brief import Brief, begun, in_brief
from db import errors as db
from generator.params import BadParams
from generator.registry import UnknownName
from studio.admission import TooManyCodes, WrongCode
from studio.errors import SENTENCES, Busy, DownloadsOff, NotHost, Refused, TrainingOff, told
from studio.search import SearchOff

# The first one that fits. What is not here and in SENTENCES is a value that cannot be used.
_STATUS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], int], ...] = (
    ((db.UnknownJob, db.UnknownArtefact, db.UnknownSubmission, db.UnknownRefinement), 404),
    ((db.UnknownVisitor, db.UnknownAction, db.UnknownKey, db.UnknownExport, db.UnknownDataset, UnknownName), 404),
    (db.UnknownBoard, 404),
    ((db.TooManyQueued, db.TooManyThisHour, db.TooFast, TooManyCodes), 429),
    ((db.Banned, db.CodeNeeded, WrongCode, db.NotYours, db.EngineWithheld, NotHost, DownloadsOff, TrainingOff), 403),
    (SearchOff, 403),
    ((db.AlreadyVoted, db.PairGone, db.SourceHidden, db.StillRunning, db.IllegalTransition, db.AlreadyOrdered), 409),
    ((db.StoreFull, db.TooManyBytesGiven), 507),
    (Busy, 503),
    ((db.NotFailed, db.NameTaken, db.BoardTaken, db.NothingLearnt), 409),
    ((db.DatabaseUnavailable, db.DatabaseTooNew, db.StoreUnavailable), 503),
    ((BadParams, db.BadValue, db.WordRefused, db.OrderReused, Refused), 422),
)
# How long to wait before asking again, in s.
_RETRY_AFTER: tuple[tuple[type[Exception], int], ...] = (
    (db.TooManyQueued, 10),
    (db.TooManyThisHour, 300),
    (db.TooFast, 3),
    (TooManyCodes, 60),
    (db.StoreFull, 60),
    (db.TooManyBytesGiven, 3600),
    (Busy, 5),
    (db.DatabaseUnavailable, 5),
    (db.StoreUnavailable, 5),
)
MAX_TOLD = 8  # faults of one request that are put into words
MAX_FIELDS = 50  # and that are listed
CLIENT_GONE = 499  # nginx's: nobody reads an answer any more, but logs and figures show it


@dataclass(frozen=True)
class Problem:
    """What is answered: the status, one sentence, the name of the kind, headers, and whatever helps a program on."""

    status: int
    sentence: str
    kind: str
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The status in words."""
        if self.status == CLIENT_GONE:
            return "Client Closed Request"
        return HTTPStatus(self.status).phrase


class NotAnswered(Brief):
    """A request that the API itself refuses, with the status and the sentence of its answer."""

    def __init__(self, status: int, sentence: str, kind: str, **headers: str) -> None:
        super().__init__(sentence)
        self.problem = Problem(
            status, in_brief(sentence), kind, {name.replace("_", "-"): v for name, v in headers.items()}
        )


class Stopping(NotAnswered):
    """The server is told to stop while somebody waits."""

    def __init__(self) -> None:
        super().__init__(
            503, "The studio is stopping; jobs that wait or run go on at its next start.", "stopping", retry_after="5"
        )


class ClientGone(NotAnswered):
    """The client went away while it waited."""

    def __init__(self) -> None:
        super().__init__(CLIENT_GONE, "The client went away while it waited.", "client_gone")


Envelope = Callable[[Request, Problem], Response]  # a problem in the words of one dialect


def as_problem(request: Request, problem: Problem) -> Response:
    """application/problem+json, as the native API answers."""
    body = {
        "type": f"{request.scope.get('root_path', '')}/api/docs#{problem.kind}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.sentence,
        "instance": in_brief(request.url.path),
        "kind": problem.kind,
        **problem.more,
    }
    return JSONResponse(body, problem.status, problem.headers, "application/problem+json")


def handle_all(app: FastAPI, dialects: Mapping[str, Envelope]) -> None:
    """Every error of the app becomes an answer. dialects: path prefix -> how problems are told there."""

    def answer(request: Request, problem: Problem) -> Response:
        path = request.url.path
        problem = replace(problem, sentence=in_brief(writable(problem.sentence)))
        envelope = next((tell for prefix, tell in dialects.items() if path.startswith(prefix)), as_problem)
        return envelope(request, problem)

    def handler(make: Callable[[Any], Problem]) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def handle(request: Request, error: Exception) -> Response:
            return answer(request, make(error))

        return handle

    for kind in SENTENCES:
        app.add_exception_handler(kind, handler(problem_of))
    app.add_exception_handler(NotAnswered, handler(lambda error: error.problem))
    app.add_exception_handler(RequestValidationError, handler(_of_validation))
    app.add_exception_handler(HTTPException, handler(_of_http))
    app.add_exception_handler(ClientDisconnect, handler(_of_absence))
    app.add_exception_handler(Exception, handler(_of_fault))


def writable(text: str) -> str:
    """The text as it can be written in an answer: half of a character (a lone surrogate) becomes a question mark."""
    return text.encode(errors="replace").decode()


def problem_of(error: Exception) -> Problem:
    """The answer to one of SENTENCES."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 422)
    seconds = next((seconds for kind, seconds in _RETRY_AFTER if isinstance(error, kind)), None)
    headers = {} if seconds is None else {"retry-after": str(seconds)}
    if status >= 500:
        logging.getLogger("api").error("%s: %s", type(error).__name__, error)
    return Problem(status, told(error), _kind(error), headers)


def _kind(error: Exception) -> str:
    name = type(error).__name__
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _of_validation(error: RequestValidationError) -> Problem:
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        reason = next(one for one in found if one["type"] == "json_invalid")
        return Problem(400, f"The body is no JSON: {reason['ctx']['error']}.", "bad_json")
    fields = [
        {"field": writable(_place(one["loc"], 1)), "message": in_brief(writable(one["msg"]))}
        for one in found[:MAX_FIELDS]
    ]
    return Problem(422, in_words(found, skip=1), "bad_request", more={"errors": fields})


def in_words(errors: Sequence[Any], skip: int = 0) -> str:
    """What Pydantic found, a sentence each, of the first MAX_TOLD. skip: parts of a place that nobody wrote, as `body`.

    errors: `errors()` of a ValidationError, or some of them.
    """
    return in_brief(writable(" ".join(_sentence(_place(one["loc"], skip), one["msg"]) for one in errors[:MAX_TOLD])))


def _sentence(place: str, message: str) -> str:
    return f"{place}: {message[0].lower()}{message[1:]}." if place else f"{message}."


def _place(loc: tuple[Any, ...], skip: int) -> str:
    return begun(".".join(str(part) for part in loc[skip:] or loc))


def _of_http(error: HTTPException) -> Problem:
    cause = error.__cause__
    if isinstance(cause, NotAnswered):  # raised while the body was read, as those of who calls are
        return cause.problem
    if isinstance(cause, SENTENCES):
        return problem_of(cause)
    sentence = str(error.detail)
    if error.status_code == 404 and sentence == "Not Found":
        sentence = "There is nothing at this address; /api/docs lists what there is."
    elif error.status_code == 405:
        sentence = "This address does not take that method; /api/docs lists what there is."
    elif error.status_code == 400 and "parsing the body" in sentence:
        sentence = "The body is not what its Content-Type says; it cannot be read."
    headers = dict(error.headers or {})
    return Problem(error.status_code, sentence, HTTPStatus(error.status_code).name.lower(), headers)


def _of_absence(error: ClientDisconnect) -> Problem:
    return Problem(CLIENT_GONE, "The client went away before all of its request was here.", "client_gone")


def _of_fault(error: Exception) -> Problem:
    logging.getLogger("api").error("a request failed", exc_info=error)
    return Problem(500, "The studio could not answer this; its log says why.", "internal_error")
