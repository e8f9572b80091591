"""Keys that let programs in: shown once when they are made, kept as their SHA-256, revoked for good.

A key is 256 random bits, so a plain hash of it cannot be turned back; a password's could.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

import sqlalchemy as sa

from db.engine import clock, newest, reading, writing
from db.errors import BadValue, UnknownKey
from db.jobs import is_id, new_id
from db.queue.enqueueing import Limits
from db.rules import host_rules
from db.rules.visitors import clean_name, put
from db.schema import api_keys

SCOPES = ("read", "submit", "host")  # each may do what those before it may
PREFIX = "t2i_"
MAX_OWN = 1_000_000  # waiting at once and in an hour, of a key that has limits of its own


@dataclass(frozen=True)
class Key:
    """One row of `api_keys`, without the key itself. Times in UTC s; limits None: those of everybody."""

    id: str
    name: str
    scope: str
    max_queued: int | None
    max_per_hour: int | None
    created_at: float
    revoked_at: float | None

    @property
    def submitter(self) -> str:
        """Whose turn it is in the queue when a job of this key is served. No visitor's cookie can hold a colon."""
        return f"key:{self.id}"

    @property
    def limits(self) -> Limits | None:
        """Given to it alone; None where it has those of everybody."""
        if self.max_queued is None and self.max_per_hour is None:
            return None
        return Limits(self.max_queued, self.max_per_hour, own=True)


def make(
    db: sa.Engine, name: str, scope: str = "submit", *, max_queued: int | None = None, max_per_hour: int | None = None
) -> tuple[str, Key]:
    """A new key: the secret, which is nowhere kept, and its row. Raises BadValue, WordRefused."""
    name = clean_name(name)
    if not name:
        raise BadValue("The key needs a name, so that it can be told from others later.")
    if scope not in SCOPES:
        raise BadValue(f"The scope {scope!r} is unknown; permitted: {', '.join(SCOPES)}.")
    for what, value in (("max_queued", max_queued), ("max_per_hour", max_per_hour)):
        if value is not None and not 1 <= value <= MAX_OWN:
            raise BadValue(f"{what} is {value}; 1 to {MAX_OWN} is permitted.")
    secret = PREFIX + secrets.token_urlsafe(32)
    with writing(db) as conn:
        key = Key(new_id(newest(conn, api_keys.c.id)), name, scope, max_queued, max_per_hour, clock(conn), None)
        # Its pictures are shown with its name, as a visitor's are.
        host_rules.read(conn).check_words(name, "key's name")
        put(conn, key.submitter, {"name": name})
        conn.execute(sa.insert(api_keys).values(**vars(key), sha256=hashed(secret)))
    return secret, key


def find(db: sa.Engine, secret: str) -> Key | None:
    """The key, unless there is none or it is revoked."""
    with reading(db) as conn:
        row = conn.execute(_SHOWN, {"sha256": hashed(secret)}).one_or_none()
    return None if row is None else Key(**row._mapping)


def every(db: sa.Engine) -> list[Key]:
    """All keys, revoked ones included, the newest first."""
    with reading(db) as conn:
        rows = conn.execute(sa.select(*_COLUMNS).order_by(api_keys.c.id.desc())).all()
    return [Key(**row._mapping) for row in rows]


def revoke(db: sa.Engine, key_id: str) -> Key:
    """Let nobody in with it any more; what it has asked for stays. Raises UnknownKey."""
    if not is_id(key_id):
        raise UnknownKey(key_id)
    with writing(db) as conn:
        gone = sa.func.coalesce(api_keys.c.revoked_at, clock(conn))
        row = conn.execute(
            sa.update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=gone).returning(*_COLUMNS)
        ).one_or_none()
    if row is None:
        raise UnknownKey(key_id)
    return Key(**row._mapping)


_COLUMNS = [column for column in api_keys.c if column.name != "sha256"]
# Made once: making a statement takes longer than running it.
_SHOWN = sa.select(*_COLUMNS).where(api_keys.c.sha256 == sa.bindparam("sha256"), api_keys.c.revoked_at.is_(None))


def hashed(secret: str) -> str:
    """What is kept of 256 random bits: SHA-256 in hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
