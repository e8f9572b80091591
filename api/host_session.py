"""/host/session, beside the pages: where a browser gets the cookie that keeps the host signed in, and gives it back.

POST {"ticket": ...}: two cookies for a ticket that the Host page has just drawn (db/rules/host_sessions.py). DELETE:
the session ends. The cookies are HttpOnly, so that no script reads them, and SameSite=Strict, so that no other site's
request carries them; a request that another site's page makes is refused besides.
"""

from __future__ import annotations

import json
from functools import partial

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.opened import Api
from api.problems import NotAnswered, as_problem, problem_of
from db.rules import host_sessions
from db.rules.host_sessions import Session
from db.rules.salt import salt
from studio.errors import SENTENCES
from studio.host_password import device_cookie

PATH = "/host/session"
COOKIE, DEVICE = "t2i_host", "t2i_host_device"
DEVICE_S = 365 * 86400
MAX_BODY_BYTES = 1024


def host_session(api: Api) -> Route:
    """The route, for the pages' app."""

    async def answer(request: Request) -> Response:
        try:
            _check_own_page(request)
            if request.method == "DELETE":
                return await _end(api, request)
            return await _begin(api, request)
        except NotAnswered as error:
            return as_problem(request, error.problem)
        except SENTENCES as error:
            return as_problem(request, problem_of(error))

    return Route(PATH, answer, methods=["POST", "DELETE"])


def _check_own_page(request: Request) -> None:
    """Browsers say which page asks; one that says nothing of it, or that it is another's, is refused."""
    origin = request.headers.get("origin", "")
    foreign = request.headers.get("sec-fetch-site", "same-origin") != "same-origin"
    if foreign or origin.partition("://")[2] != request.headers.get("host", "-"):
        raise NotAnswered(403, "Only the studio's own Host page may ask here.", "foreign_page")


async def _begin(api: Api, request: Request) -> Response:
    ticket = await _ticket(request)
    found = await api.run(lambda: host_sessions.exchange(api.studio.db, ticket))
    if found is None:
        raise NotAnswered(403, "This ticket is not known, was used or is too old; sign in again.", "no_ticket")
    token, session = found
    device = device_cookie(await api.run(lambda: salt(api.studio.db)), session.credential)
    done = JSONResponse({"label": session.label}, headers={"cache-control": "no-store"})
    keep = partial(done.set_cookie, httponly=True, samesite="strict", path="/", secure=_is_encrypted(api, request))
    keep(COOKIE, token, max_age=_lasts(session))
    keep(DEVICE, device, max_age=DEVICE_S)
    return done


async def _end(api: Api, request: Request) -> Response:
    token = request.cookies.get(COOKIE)
    if token:
        await api.run(lambda: host_sessions.end_by_cookie(api.studio.db, token))
    done = Response(status_code=204)
    done.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict", secure=_is_encrypted(api, request))
    return done


async def _ticket(request: Request) -> str:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise NotAnswered(413, f"At most {MAX_BODY_BYTES} bytes are read here.", "too_large")
    try:
        ticket = json.loads(body)["ticket"]
    except (ValueError, LookupError, TypeError, RecursionError):
        ticket = None
    if not isinstance(ticket, str):
        raise NotAnswered(422, 'The body is not {"ticket": "..."}.', "bad_request")
    return ticket


def _is_encrypted(api: Api, request: Request) -> bool:
    return request.url.scheme == "https" or (api.settings.public_url or "").startswith("https://")


def _lasts(session: Session) -> int:
    return int(session.expires_at - session.created_at)
