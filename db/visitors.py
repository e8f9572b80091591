"""Visitors: the names they give themselves, and who is banned. A visitor is an anonymous id until then."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from db import rules
from db.engine import clock, reading, writing
from db.errors import BadValue, Banned, UnknownVisitor
from db.jobs import LIVE, check_text
from db.listing import copies_of
from db.schema import jobs, visitors
from db.transitions import end_or_ask

LONGEST_NAME = 40


@dataclass(frozen=True)
class Visitor:
    """Who has asked for jobs: how many in all and how many of them wait or run. Times in UTC s."""

    id: str
    name: str | None
    banned_at: float | None
    asked: int
    live: int
    last_at: float | None


def clean_name(name: str) -> str:
    """The name as it will be shown: one line of plain text without invisible characters. Raises BadValue."""
    check_text("name", name)
    composed = unicodedata.normalize("NFC", name)
    # Controls, bidi marks and zero-width characters (Cc, Cf), private ones and what no font has are left out.
    seen = "".join(c if not unicodedata.category(c).startswith("C") else " " * c.isspace() for c in composed)
    cleaned = " ".join(seen.split())
    if len(cleaned) > LONGEST_NAME:
        raise BadValue(f"The name has {len(cleaned)} characters; at most {LONGEST_NAME} are permitted.")
    return cleaned


def set_name(db: sa.Engine, visitor: str, name: str) -> str | None:
    """Keep a visitor's name, an empty one for none; what is shown from now on. Raises BadValue, WordRefused, Banned."""
    check_text("visitor", visitor, 128)
    cleaned = clean_name(name)
    with writing(db) as conn:
        lock(conn, visitor)
        check_welcome(conn, visitor)
        rules.read(conn).check_words(cleaned, "name")
        _put(conn, visitor, {"name": cleaned or None})
    return cleaned or None


def names(db: sa.Engine, ids: Sequence[str]) -> dict[str, str]:
    """The names of those of these visitors who gave one and are not banned."""
    found: dict[str, str] = {}
    unique = sorted(set(ids))
    with reading(db) as conn:
        for i in range(0, len(unique), 500):
            some = sa.select(visitors.c.id, visitors.c.name).where(
                visitors.c.id.in_(unique[i : i + 500]), visitors.c.name.is_not(None), visitors.c.banned_at.is_(None)
            )
            found.update({row.id: row.name for row in conn.execute(some)})
    return found


def ban(db: sa.Engine, visitor: str, *, hide: bool = False, copies: Collection[str] = ()) -> int:
    """Close queue and votes to a visitor, end what they have in progress; returns how many jobs that were.

    hide: take all their pictures out as well, with what `copies`, engines that make the same picture again, made from
    them. Raises UnknownVisitor for one who never asked for anything.
    """
    with writing(db) as conn:
        lock(conn, visitor)
        known = conn.scalar(sa.select(visitors.c.id).where(visitors.c.id == visitor)) or conn.scalar(
            sa.select(jobs.c.id).where(jobs.c.submitter == visitor).limit(1)
        )
        if known is None:
            raise UnknownVisitor(visitor)
        _put(conn, visitor, {"banned_at": clock(conn)})
        live = conn.scalars(
            sa.select(jobs.c.id).where(jobs.c.submitter == visitor, jobs.c.state.in_(LIVE)).order_by(jobs.c.id)
        ).all()
        for job_id in live:
            end_or_ask(conn, job_id)
        if hide:
            own = set(conn.scalars(sa.select(jobs.c.id).where(jobs.c.submitter == visitor)))
            others = sorted(copies_of(conn, own, copies))
            conn.execute(sa.update(jobs).where(jobs.c.submitter == visitor).values(hidden=True))
            for i in range(0, len(others), 500):
                conn.execute(sa.update(jobs).where(jobs.c.id.in_(others[i : i + 500])).values(hidden=True))
    return len(live)


def lift_ban(db: sa.Engine, visitor: str) -> None:
    """Let a visitor back in. What was hidden stays so."""
    with writing(db) as conn:
        conn.execute(sa.update(visitors).where(visitors.c.id == visitor).values(banned_at=None))


_BANNED = sa.select(visitors.c.id).where(visitors.c.id == sa.bindparam("visitor"), visitors.c.banned_at.is_not(None))


def check_welcome(conn: sa.Connection, visitor: str) -> None:
    """Raises Banned, inside the caller's transaction."""
    if conn.scalar(_BANNED, {"visitor": visitor}) is not None:
        raise Banned


def check(db: sa.Engine, visitor: str) -> None:
    """Raises Banned."""
    with reading(db) as conn:
        check_welcome(conn, visitor)


def lock(conn: sa.Connection, visitor: str) -> None:
    """One visitor's requests, and a ban, one after the other. SQLite has one writer at a time anyway."""
    if conn.dialect.name == "postgresql":
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(visitor, 0))))


def recent(db: sa.Engine, *, limit: int = 50) -> list[Visitor]:
    """Who has asked for something, the last one first, and everybody who is banned."""
    asked = (
        sa.select(
            jobs.c.submitter,
            sa.func.count().label("asked"),
            sa.func.count(sa.case((jobs.c.state.in_(LIVE), 1))).label("live"),
            sa.func.max(jobs.c.id).label("newest"),
        )
        .group_by(jobs.c.submitter)
        .subquery()
    )
    last = jobs.alias("last")
    with reading(db) as conn:
        rows = conn.execute(
            sa.select(asked.c.submitter, asked.c.asked, asked.c.live, last.c.created_at, visitors)
            .join(last, last.c.id == asked.c.newest)
            .outerjoin(visitors, visitors.c.id == asked.c.submitter)
            .order_by(visitors.c.banned_at.is_not(None).desc(), asked.c.newest.desc())
            .limit(limit)
        ).all()
    return [Visitor(r.submitter, r.name, r.banned_at, r.asked, r.live, r.created_at) for r in rows]


def _put(conn: sa.Connection, visitor: str, values: dict[str, str | float | None]) -> None:
    values = {**values, "changed_at": clock(conn)}
    changed = conn.execute(
        sa.update(visitors).where(visitors.c.id == visitor).values(**values).returning(visitors.c.id)
    )
    if changed.one_or_none() is None:
        conn.execute(sa.insert(visitors).values(id=visitor, **values))
