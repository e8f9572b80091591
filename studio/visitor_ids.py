"""Visitors' ids: made here, signed, and believed only where the signature is right.

A browser keeps `id.time.signature` (itsdangerous' TimestampSigner, HMAC-SHA-256 with the secret of the database): so
ids cannot be chosen or invented, several web apps on one database agree on them, and each says since when it is known.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from dataclasses import dataclass

import sqlalchemy as sa
from itsdangerous import BadSignature, TimestampSigner

from db.jobs import check_text
from db.rules import visitors
from db.rules.salt import salt

COOKIE = "t2i_visitor"
MAX_COOKIE_LENGTH = 200
_UNSIGNED = re.compile(r"[A-Za-z0-9_-]{16,64}")


@dataclass(frozen=True)
class Issued:
    """An id that was issued here. since: when, in UTC s; None: before ids were signed."""

    id: str
    since: float | None


def new_id() -> str:
    """128 random bits."""
    return secrets.token_urlsafe(16)


def signed(secret: bytes, visitor: str) -> str:
    """What the browser of a visitor keeps, issued now. Raises BadValue for what no visitor is called."""
    check_text("visitor", visitor, 128)
    return _signer(secret).sign(visitor).decode()


def signed_for(db: sa.Engine, visitor: str) -> str:
    """As `signed`, with the secret of this database: for programs that play a browser. Raises DatabaseUnavailable."""
    return signed(salt(db), visitor)


def read(secret: bytes, cookie: str | None) -> Issued | None:
    """The id in a cookie; None where none was issued here."""
    if not cookie or len(cookie) > MAX_COOKIE_LENGTH or not cookie.isascii():
        return None
    try:
        value, since = _signer(secret).unsign(cookie, return_timestamp=True)
    except BadSignature:
        return None
    # A clock that was set back since then makes nobody younger than now.
    return Issued(value.decode(), min(since.timestamp(), time.time()))


def adopted(db: sa.Engine, cookie: str | None) -> Issued | None:
    """The visitor of a cookie from before ids were signed, where that visitor was here before then.

    Such an id was 128 secret bits in one browser, so whoever has it is that visitor; what was never seen is not taken
    over, nor what has done anything since ids are signed. Raises DatabaseUnavailable.
    """
    if not cookie or not _UNSIGNED.fullmatch(cookie) or not visitors.was_here_unsigned(db, cookie):
        return None
    return Issued(cookie, None)


def _signer(secret: bytes) -> TimestampSigner:
    return TimestampSigner(secret, salt="t2i.visitor", key_derivation="hmac", digest_method=hashlib.sha256)
