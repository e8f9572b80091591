"""Visitors: the names they give themselves, and whether they are banned. A visitor is an anonymous id until then."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import sqlalchemy as sa

from characters.seen import as_seen, is_noncharacter
from db.engine import clock, reading, writing
from db.errors import BadValue, Banned
from db.jobs import check_text
from db.prepared import Prepared
from db.rules import host_rules
from db.schema import banned_addresses, jobs, visitors, votes

MAX_NAME_LENGTH = 40


def clean_name(name: str) -> str:
    """The name as it will be shown: one line of plain text without invisible characters. Raises BadValue.

    Emoji newer than this Python's Unicode are kept: what a browser can draw is its own to know.
    """
    check_text("name", name)
    composed = as_seen(unicodedata.normalize("NFC", name))
    kept = (" " * c.isspace() if _is_no_text(c) else c for c in composed)
    cleaned = " ".join("".join(kept).split())
    if len(cleaned) > MAX_NAME_LENGTH:
        raise BadValue(
            "The name has {count} characters; at most {most} are permitted.", count=len(cleaned), most=MAX_NAME_LENGTH
        )
    return cleaned


def _is_no_text(character: str) -> bool:
    """Whether it is a control, a private character, half of one, or never will be one."""
    return unicodedata.category(character) in ("Cc", "Co", "Cs") or is_noncharacter(character)


def set_name(db: sa.Engine, visitor: str, name: str, address: str | None = None) -> str | None:
    """Keep a visitor's name, an empty one for none; what is shown from now on. Raises BadValue, WordRefused, Banned."""
    check_text("visitor", visitor, 128)
    cleaned = clean_name(name)
    with writing(db) as conn:
        lock(conn, visitor)
        check_welcome(conn, visitor, address)
        rules = host_rules.read(conn)
        rules.check_words(cleaned, "name")
        rules.check_words(name, "name")  # as it was typed, it may have been shown in another order
        put(conn, visitor, {"name": cleaned or None})
    return cleaned or None


def names(db: sa.Engine, ids: Sequence[str]) -> dict[str, str]:
    """The names of those of these visitors who gave one and are not banned."""
    found: dict[str, str] = {}
    unique = sorted(set(ids))
    with reading(db) as conn:
        for i in range(0, len(unique), 500):
            found.update({row.id: row.name for row in conn.execute(_NAMES, {"ids": unique[i : i + 500]})})
    return found


# Made once: making a statement takes longer than running it.
_NAMES = sa.select(visitors.c.id, visitors.c.name).where(
    visitors.c.id.in_(sa.bindparam("ids", expanding=True)),
    visitors.c.name.is_not(None),
    visitors.c.banned_at.is_(None),
)
BANNED = sa.select(visitors.c.id).where(
    visitors.c.id == sa.bindparam("visitor", type_=sa.String), visitors.c.banned_at.is_not(None)
)
_BANNED = Prepared(BANNED)
_BANNED_FROM = Prepared(
    sa.select(banned_addresses.c.until).where(banned_addresses.c.address == sa.bindparam("address"))
)
_LOCK = Prepared(
    sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(sa.bindparam("whose", type_=sa.String), 0)))
)


def check_welcome(conn: sa.Connection, visitor: str, address: str | None = None) -> None:
    """Raises Banned where the visitor or the address they come from is, inside the caller's transaction."""
    if _BANNED.scalar(conn, {"visitor": visitor}) is not None:
        raise Banned
    if address is not None:
        check_address(conn, address)


def check_address(conn: sa.Connection, address: str) -> None:
    """Raises Banned where an address is, inside the caller's transaction."""
    found = _BANNED_FROM.first(conn, {"address": address})
    if found is not None and (found.until is None or found.until > clock(conn)):
        raise Banned


def check(db: sa.Engine, visitor: str, address: str | None = None) -> None:
    """Raises Banned."""
    with reading(db) as conn:
        check_welcome(conn, visitor, address)


def was_here_unsigned(db: sa.Engine, visitor: str) -> bool:
    """Whether they asked for something or voted before ids were signed: since then an address is kept with it."""
    with reading(db) as conn:
        kept = [
            conn.scalar(sa.select(table.c.id).where(who == visitor, table.c.address.is_(None)).limit(1)) is not None
            for table, who in ((jobs, jobs.c.submitter), (votes, votes.c.voter))
        ]
    return any(kept)


def lock_address(conn: sa.Connection, address: str) -> None:
    """The same of all who share an address; behind the lock of the visitor, where both are taken."""
    lock(conn, f"from:{address}")


def lock(conn: sa.Connection, visitor: str) -> None:
    """One visitor's requests, and a ban, one after the other. SQLite has one writer at a time anyway."""
    if conn.dialect.name == "postgresql":
        _LOCK.scalar(conn, {"whose": visitor})


def put(conn: sa.Connection, visitor: str, values: dict[str, str | float | None]) -> None:
    """Change a visitor's row, or make it."""
    values = {**values, "changed_at": clock(conn)}
    changed = conn.execute(
        sa.update(visitors).where(visitors.c.id == visitor).values(**values).returning(visitors.c.id)
    )
    if changed.one_or_none() is None:
        conn.execute(sa.insert(visitors).values(id=visitor, **values))
