"""Who calls: the holder of a key, or somebody without one where that is allowed.

A key comes as `Authorization: Bearer KEY`, as the password of Basic authentication, or as `X-API-Key`. Without one,
callers from the same address take turns as one; where the event has a code they send it as `X-Event-Code`. In a browser
a page of another site could call in its visitor's name: such calls need a key.
"""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass, replace
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from api.answered import answered
from api.opened import Api, opened
from api.problems import NotAnswered
from db.queue import Order, Webhook
from db.rules import keys
from db.rules.keys import PREFIX, SCOPES
from studio.addresses import stand_in
from studio.admission import check_code, needs_code
from studio.context import Submitter
from studio.given import is_one
from studio.keys import holder

CODE_HEADER = "x-event-code"
KNOWN = "studio.caller"  # where a request keeps who calls
_FORWARDED = ("forwarded", "x-forwarded", "x-real-ip", "x-client-ip", "true-client-ip", "cf-", "via")
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Caller:
    """Who asks, and up to what: read, submit or host. name: of the key; None without one."""

    submitter: Submitter
    scope: str
    name: str | None = None

    def check(self, scope: str) -> None:
        """Raises NotAnswered (403) where this scope is needed and not theirs."""
        if SCOPES.index(self.scope) < SCOPES.index(scope):
            who = f"The key {self.name!r} has" if self.name else "Without a key you have"
            raise NotAnswered(
                403, f"{who} the scope {self.scope!r}; this needs {scope!r}. The host makes keys.", "wrong_scope"
            )

    def ordering(self, key: str | None, fingerprint: str, webhook: Webhook | None = None) -> Caller:
        """The same for one request: the idempotency key that names it, and whom to tell when its jobs have ended."""
        order = replace(self.submitter.order, key=key, fingerprint=fingerprint, webhook=webhook)
        return replace(self, submitter=replace(self.submitter, order=order))


async def caller(request: Request, api: Annotated[Api, Depends(opened)]) -> Caller:
    """Raises NotAnswered: 401 without a key where one is needed or with a wrong one, 403 across sites.

    Found once for each request, before its body is read where it has one (api.bodies).
    """
    if KNOWN not in request.scope:
        request.scope[KNOWN] = await _found(request, api)
    who: Caller = request.scope[KNOWN]
    return who


async def _found(request: Request, api: Api) -> Caller:
    shown = shown_key(request)
    # Clients that cannot do without a key send anything; ours are told from that by how they begin.
    if shown is not None and (shown.startswith(PREFIX) or not _may_come_without(request, api)):
        key = await api.run(lambda: keys.find(api.studio.db, shown))
        if key is None:
            raise _needs_key("This key is not known here, or it was revoked.")
        return _traced(request, Caller(holder(key), key.scope, key.name))
    if not _may_come_without(request, api):
        raise _needs_key("A key is needed here: Authorization: Bearer KEY. The host makes keys.")
    _check_same_site(request, api)
    address = stand_in(_peer(request), await api.run(api.salt))
    anybody = Submitter(f"address:{address or 'unknown'}", address=address)
    code = request.headers.get(CODE_HEADER)
    if code is not None:
        await api.ask(check_code, anybody, _as_typed(code), api.code_tries)
        anybody = replace(anybody, admitted=True)
    return _traced(request, Caller(anybody, "submit"))


def _as_typed(code: str) -> str:
    """A header as programs send letters that are not English: in UTF-8, which servers read as Latin-1."""
    try:
        return code.encode("latin-1").decode()
    except UnicodeError:
        return code


def _traced(request: Request, who: Caller) -> Caller:
    """The same, told to whoever logs the request, as its jobs will be, and with the trace that those belong to."""
    seen = answered(request)
    seen.caller = "anonymous" if who.name is None else f"key {who.name}"
    order = Order(traceparent=seen.traceparent, note=seen.note)
    return replace(who, submitter=replace(who.submitter, order=order))


def shown_key(request: Request) -> str | None:
    """The key that comes with a request, if any."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and value.strip():
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2] or None
        except ValueError:  # no base64, or no text
            return None
    return request.headers.get("x-api-key") or None


def _needs_key(sentence: str) -> NotAnswered:
    return NotAnswered(401, sentence, "wrong_key", www_authenticate='Bearer realm="studio"')


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""


def _may_come_without(request: Request, api: Api) -> bool:
    return api.settings.api == "open" or (api.settings.api == "local" and _is_on_this_machine(request))


def _is_on_this_machine(request: Request) -> bool:
    """A proxy on this machine calls for others, and a name that leads here may be a stranger's."""
    try:
        near = ipaddress.ip_address(_peer(request)).is_loopback
    except ValueError:
        near = False
    try:
        name = (urlsplit(f"//{request.headers.get('host', '')}").hostname or "").lower()
    except ValueError:  # no name of any host
        return False
    # Programs speak HTTP/1.1; proxies that say nothing of themselves mostly speak 1.0.
    passed_on = request.scope.get("http_version") == "1.0" or any(h.startswith(_FORWARDED) for h in request.headers)
    return near and name in _LOOPBACK_NAMES and not passed_on


def _check_same_site(request: Request, api: Api) -> None:
    origin = request.headers.get("origin")
    if origin is None or origin in api.settings.cors_origins or "*" in api.settings.cors_origins:
        return
    if origin.partition("://")[2] != request.headers.get("host"):
        raise NotAnswered(403, f"Pages of {origin} may not call this API without a key.", "foreign_page")


def is_told_apart(api: Api, who: Caller) -> bool:
    """Whether nobody else could act in their name: programs without a key are told apart by their address alone."""
    return is_one(who.submitter) or api.settings.api == "local"


async def reader(who: Annotated[Caller, Depends(caller)]) -> Caller:
    """Who may look."""
    who.check("read")
    return who


async def asker(who: Annotated[Caller, Depends(caller)], api: Annotated[Api, Depends(opened)]) -> Caller:
    """Who may ask for pictures, and vote: with a key, or with the event's code where it has one."""
    who.check("submit")
    if not who.submitter.admitted and await api.ask(needs_code, who.submitter):
        raise NotAnswered(
            403, f"This event has a code: send it as {CODE_HEADER.title()}, or use a key of the host's.", "code_needed"
        )
    return who


async def the_host(who: Annotated[Caller, Depends(caller)]) -> Caller:
    """Who may do what the host may."""
    who.check("host")
    return who


Opened = Annotated[Api, Depends(opened)]
Reader = Annotated[Caller, Depends(reader)]
Asker = Annotated[Caller, Depends(asker)]
Host = Annotated[Caller, Depends(the_host)]
