"""From which address a request comes, where proxies stand between: only those that are configured are believed.

Applied once, around pages and API: whoever asks behind it reads the caller's own address from `scope["client"]`, as
Starlette's `request.client` and Streamlit's `st.context.ip_address` do, and the scheme the caller used from
`scope["scheme"]`. (X-Forwarded-For: each proxy adds at the right whom it was called by. So it is read from the right,
and the first address that is no trusted proxy is the caller's; what stands further left was written by the caller.)
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence
from typing import Any

import uvicorn
import uvicorn.config
from starlette.types import ASGIApp, Receive, Scope, Send

from settings import Network, proxy_networks

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
log = logging.getLogger("api")


class TrustedProxies:
    """ASGI middleware. trusted: as T2I_TRUSTED_PROXIES, addresses and networks with commas between them."""

    def __init__(self, app: ASGIApp, trusted: str) -> None:
        self._app, self._trusted, self._said = app, proxy_networks(trusted), False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app, told who really calls."""
        if scope["type"] in ("http", "websocket"):
            scope = dict(scope) | self._told(scope)
        await self._app(scope, receive, send)

    def _told(self, scope: Scope) -> dict[str, Any]:
        host, port = scope.get("client") or ("", 0)
        peer = address_of(host)
        if peer is None:
            return {}
        if not _among(peer, self._trusted):
            self._say_once(peer, scope)
            return {"client": (str(peer), port)}
        found: dict[str, Any] = {}
        caller, scheme = peer, ""
        for name, value in scope["headers"]:
            if name == b"x-forwarded-proto":
                scheme = value.decode("latin-1").rpartition(",")[2].strip().lower()
        if scheme in ("http", "https"):
            found["scheme"] = scheme.replace("http", "ws") if scope["type"] == "websocket" else scheme
        told = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
        for part in reversed(told.split(",")) if told else ():
            further = address_of(part)
            if further is None:
                break  # a trusted proxy was told nonsense: it stands for whoever that was
            caller = further
            if not _among(caller, self._trusted):
                break
        return found | {"client": (str(caller), port if caller == peer else 0)}

    def _say_once(self, peer: Address, scope: Scope) -> None:
        """A proxy that nobody has configured makes one visitor of all who come through it; the host must read of it."""
        if not self._said and peer.is_private and any(name == b"x-forwarded-for" for name, _ in scope["headers"]):
            self._said = True
            log.warning(
                "%s says whom it calls for (X-Forwarded-For) and is not believed: who comes through it shares one "
                "address. If it is your reverse proxy, set T2I_TRUSTED_PROXIES=%s.",
                *(peer, peer),
            )


def address_of(text: str) -> Address | None:
    """The address in `1.2.3.4`, `1.2.3.4:5678`, `2001:db8::1` and `[2001:db8::1]:5678`; None where there is none.

    IPv4 written as IPv6 (`::ffff:1.2.3.4`), as a server that listens on both sees it, is the IPv4 address.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


def _among(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def believe_no_others() -> None:
    """uvicorn, as Streamlit starts it, believes X-Forwarded-For from any program on this machine, and Streamlit has no
    setting for it: whoever calls by loopback could invent addresses. Its own reading of proxies is left out; called
    while uvicorn imports the app, before it would wrap it.
    """
    name = "ProxyHeadersMiddleware"
    if not hasattr(uvicorn.config, name):
        raise RuntimeError(f"uvicorn {uvicorn.__version__} has no {name} in uvicorn.config: nobody's address is sure.")
    setattr(uvicorn.config, name, _left_out)


def _left_out(app: ASGIApp, trusted_hosts: object = None) -> ASGIApp:
    return app
