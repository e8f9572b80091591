"""The address under which visitors find the studio, and its QR code."""

from __future__ import annotations

import socket
from functools import lru_cache
from urllib.parse import urlsplit, urlunsplit

import segno

_LOOPBACK = ("localhost", "127.0.0.1", "::1", "0.0.0.0")


def reachable_host(host: str) -> str:
    """The address a phone on the same network types; the loopback address where there is no network."""
    if host not in ("0.0.0.0", "::"):
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # chooses a route; a datagram socket sends nothing here
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def for_visitors(opened: str | None, public_url: str | None, page: str) -> str | None:
    """The address for a phone: the one that is set, else the one opened here, by the machine's name on the network.

    opened: the address of the app in this browser, with or without the page; None where it is not known.
    """
    if public_url:
        return public_url
    if not opened:
        return None
    parts = urlsplit(opened)
    host = parts.netloc
    if parts.hostname in _LOOPBACK:
        host = reachable_host("0.0.0.0") + (f":{parts.port}" if parts.port else "")
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/").removesuffix(f"/{page}"), "", ""))


def is_for_itself(opened: str | None, public_url: str | None, listening: str | None) -> bool:
    """Whether no other machine can open the studio: it listens to its own alone, and was not opened by another name.

    listening: the address that the server listens at; None: at all of the machine's.
    """
    if public_url or listening not in _LOOPBACK[:3] or not opened:
        return False
    return urlsplit(opened).hostname in _LOOPBACK  # else a proxy stands before it


def with_code(address: str, code: str | None) -> str:
    """The address with what an event's code is in a link; as it is where there is none."""
    if code is None:
        return address
    parts = urlsplit(address)
    query = "&".join(part for part in (parts.query, f"code={code}") if part)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


@lru_cache(maxsize=256)  # a few kB each: cards that are drawn anew all the time show theirs
def qr_code(address: str) -> str:
    """The QR code as the address of an SVG picture, dark on light with its quiet zone."""
    code: str = segno.make(address, error="m").svg_data_uri(border=3, dark="#101413", light="#ffffff", omitsize=True)
    return code
