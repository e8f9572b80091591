"""The ends of jobs, told to whoever asked to be told: signed as Standard Webhooks says, and tried again for a day.

https://www.standardwebhooks.com: webhook-id is the job's id, the same in every try, so that it is
counted once.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import json
import socket
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx
from standardwebhooks import Webhook as Signer

from api.native.shapes import job_of
from api.opened import Api, log
from db import queue
from db.errors import DbError
from db.queue import Webhook, notices
from db.queue.notices import Notice
from generator.params import BadParams
from studio.context import Studio, Submitter

LOOK_S = 1.0
AT_ONCE = 8
TIMEOUT_S = 15.0
STOPPING_S = 2.0
HELD_S = 60.0  # a notice that a server took and died over is due again after so long
MIN_SECRET_BYTES = 16


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052


class NotTold(Exception):
    """A try that did not succeed; `again`: whether another may."""

    def __init__(self, sentence: str, again: bool = True) -> None:
        super().__init__(sentence)
        self.again = again


def checked(url: str, secret: str) -> Webhook:
    """A webhook as it was asked for; `url` holds no character that a header or a database cannot. Raises BadParams."""
    try:
        # As it will be read when it is called.
        parts = httpx.URL(url)
        whole = parts.scheme in ("http", "https") and parts.host and not parts.userinfo
        whole = whole and 0 < (parts.port or 1) < 65536 and url.isprintable()
    except (httpx.InvalidURL, ValueError):
        whole = False
    if not whole:
        raise BadParams(f"webhook.url = {url[:80]!r}: an http or https address without a user's name is needed.")
    try:
        # With the padding that base64 has, or without it.
        digits = secret.removeprefix("whsec_").rstrip("=")
        size = len(base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if size < MIN_SECRET_BYTES:
        raise BadParams(f"webhook.secret: base64 of at least {MIN_SECRET_BYTES} random bytes is needed.")
    return Webhook(url, secret)


async def tell(api: Api) -> None:
    """Tells the ends of jobs for as long as the server runs."""
    busy: set[asyncio.Task[None]] = set()
    while not api.stopping.is_set():
        try:
            free = AT_ONCE - len(busy)
            for notice in await api.run(_due, api, free) if free else ():
                task = asyncio.create_task(_tell(api, notice))
                busy.add(task)
                task.add_done_callback(busy.discard)
        except DbError:
            pass  # the next look may find it back
        except Exception:
            log.exception("webhooks could not be looked for")
        try:
            await asyncio.wait_for(api.stopping.wait(), LOOK_S)
        except TimeoutError:
            continue
    if busy:  # what is not told by then is told by the next server
        await asyncio.wait(busy, timeout=STOPPING_S)
    for task in busy:
        task.cancel()


def _due(api: Api, limit: int) -> list[Notice]:
    return notices.due(api.studio.db, limit=limit, held_s=HELD_S)


async def _tell(api: Api, notice: Notice) -> None:
    try:
        body = await api.ask(_body, notice.job_id)
        now = datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "user-agent": "text-to-image-studio",
            "webhook-id": notice.job_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Signer(notice.secret).sign(notice.job_id, now, body),
        }
        try:
            # Of the whole try: httpx's limits are for each piece, and a slow receiver could send one for ever.
            async with asyncio.timeout(TIMEOUT_S):
                await _post(notice.url, headers, body, api.settings.api_private_webhooks)
        except TimeoutError:
            raise NotTold(f"there was no answer within {TIMEOUT_S:.0f} s.") from None
        await api.run(notices.told, api.studio.db, notice)
    except NotTold as error:
        log.warning("webhook of job %s: %s", notice.job_id, error)
        with suppress(DbError):  # it is due again by itself
            await api.run(notices.not_told, api.studio.db, notice, str(error), again=error.again)
    except DbError as error:
        log.warning("webhook of job %s: %s", notice.job_id, error)
    except Exception as error:
        log.exception("webhook of job %s", notice.job_id)
        with suppress(DbError):
            await api.run(notices.not_told, api.studio.db, notice, type(error).__name__)


def _body(studio: Studio, job_id: str) -> str:
    job = queue.get(studio.db, job_id)
    if job.hidden:  # by now, and for its owner as well
        told: dict[str, Any] = {"id": job.id, "state": job.state, "hidden": True}
    else:
        told = job_of(studio, Submitter(job.submitter), job).model_dump(mode="json")
    at = datetime.now(UTC).isoformat()
    return json.dumps({"type": f"job.{job.state}", "timestamp": at, "data": told}, ensure_ascii=False)


async def _post(url: str, headers: dict[str, str], body: str, may_be_private: bool) -> None:
    """Raises NotTold. The address is looked up once and that very one is called: a second look-up might differ."""
    parts = httpx.URL(url)
    address = await address_of(parts.host, parts.port or (443 if parts.scheme == "https" else 80), may_be_private)
    called = parts.copy_with(host=address)
    host = parts.netloc.decode()
    async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
        try:
            async with client.stream(
                "POST",
                called,
                headers={**headers, "host": host},
                content=body.encode(),
                extensions={"sni_hostname": parts.raw_host.decode()},
            ) as answer:
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # the last: no header can hold it
            raise NotTold(f"{host} could not be called: {error or type(error).__name__}.") from None
    if status == 410:
        raise NotTold(f"{host} wants no more of these (410).", again=False)
    if not 200 <= status < 300:
        raise NotTold(f"{host} answered {status}.")


async def address_of(host: str, port: int, may_be_private: bool = False) -> str:
    """One of the addresses of a host that may be called. Raises NotTold where there is none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NotTold(f"{host} has no address.") from None
    addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
    allowed = [one for one in addresses if may_be_private or _is_public(one)]
    if not allowed:
        raise NotTold(f"{host} is an address of a private network, which the host does not allow.", again=False)
    return str(allowed[0])


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether it is on the open internet; of an IPv6 address that leads to one of IPv4, whether that one is."""
    one: ipaddress.IPv4Address | ipaddress.IPv6Address = address
    if isinstance(address, ipaddress.IPv6Address):
        one = address.ipv4_mapped or address.sixtofour or address
        if address in _NAT64:
            one = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return one.is_global and not one.is_multicast and not one.is_reserved
