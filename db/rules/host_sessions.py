"""Browsers in which the host has signed in: opened with a ticket, kept by a cookie, ended here or from elsewhere.

A page cannot set a cookie that scripts may not read (HttpOnly); an HTTP answer can. So whoever has given the right
password gets a ticket, which their browser exchanges, once and soon, for what the cookie holds. Both are 256 random
bits and kept as their SHA-256, as keys are.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import sqlalchemy as sa

from db.engine import clock, newest, reading, writing
from db.errors import UnknownSession
from db.jobs import is_id, new_id
from db.rules.keys import hashed
from db.schema import host_sessions

TICKET_S = 60.0
SEEN_EVERY_S = 60.0
FORGOTTEN_S = 30 * 86400.0  # when an ended one is not told of any more
MAX_LABEL = 80


@dataclass(frozen=True)
class Session:
    """One browser. label: which it is, in words; credential: of the password it signed in with; times in UTC s."""

    id: str
    label: str
    credential: str
    created_at: float
    seen_at: float
    expires_at: float
    ended_at: float | None


def begin(db: sa.Engine, *, credential: str, label: str, lasts_s: float) -> tuple[str, Session]:
    """A new one, and the ticket with which its browser gets its cookie within TICKET_S."""
    ticket = secrets.token_urlsafe(32)
    with writing(db) as conn:
        now = clock(conn)
        gone = sa.func.coalesce(host_sessions.c.ended_at, host_sessions.c.expires_at)
        conn.execute(sa.delete(host_sessions).where(gone < now - FORGOTTEN_S))
        session_id = new_id(newest(conn, host_sessions.c.id))
        session = Session(session_id, label[:MAX_LABEL], credential, now, now, now + lasts_s, None)
        values = {**vars(session), "ticket": hashed(ticket), "ticket_until": now + TICKET_S}
        conn.execute(sa.insert(host_sessions).values(**values))
    return ticket, session


def exchange(db: sa.Engine, ticket: str) -> tuple[str, Session] | None:
    """What the cookie is to hold, for a ticket that is shown for the first time and in time; None for any other."""
    token = secrets.token_urlsafe(32)
    with writing(db) as conn:
        now = clock(conn)
        row = conn.execute(
            sa.update(host_sessions)
            .where(host_sessions.c.ticket == hashed(ticket), host_sessions.c.ticket_until > now, *_live(now))
            .values(sha256=hashed(token), ticket=None, ticket_until=None)
            .returning(*_COLUMNS)
        ).one_or_none()
    return None if row is None else (token, Session(**row._mapping))


def by_cookie(db: sa.Engine, token: str, credential: str) -> Session | None:
    """The session whose cookie this is, where it goes on with this password."""
    return _found(db, host_sessions.c.sha256 == hashed(token), credential)


def get(db: sa.Engine, session_id: str, credential: str) -> Session | None:
    """The session with this id, where it goes on with this password; that it was seen is noted now and then."""
    return _found(db, host_sessions.c.id == session_id, credential)


def every(db: sa.Engine, credential: str) -> list[Session]:
    """Those that go on, the last seen first."""
    with reading(db) as conn:
        found = sa.select(*_COLUMNS).where(host_sessions.c.credential == credential, *_live(clock(conn)))
        rows = conn.execute(found.order_by(host_sessions.c.seen_at.desc())).all()
    return [Session(**row._mapping) for row in rows]


def end(db: sa.Engine, session_id: str) -> None:
    """Nobody is the host by it any more. Raises UnknownSession."""
    if not is_id(session_id) or not _end(db, host_sessions.c.id == session_id):
        raise UnknownSession(session_id)


def end_by_cookie(db: sa.Engine, token: str) -> None:
    """As `end`, of the one whose cookie this is; nothing happens where there is none."""
    _end(db, host_sessions.c.sha256 == hashed(token))


def end_all(db: sa.Engine) -> int:
    """End every one; how many went on until now."""
    return _end(db, host_sessions.c.ended_at.is_(None))


_COLUMNS = [host_sessions.c[name] for name in Session.__dataclass_fields__]


def _live(now: float) -> tuple[sa.ColumnElement[bool], ...]:
    return host_sessions.c.ended_at.is_(None), host_sessions.c.expires_at > now


def _found(db: sa.Engine, which: sa.ColumnElement[bool], credential: str) -> Session | None:
    with reading(db) as conn:
        now = clock(conn)
        wanted = sa.select(*_COLUMNS).where(which, host_sessions.c.credential == credential, *_live(now))
        row = conn.execute(wanted).one_or_none()
    if row is None:
        return None
    if abs(now - row.seen_at) > SEEN_EVERY_S:
        with writing(db) as conn:
            conn.execute(sa.update(host_sessions).where(host_sessions.c.id == row.id).values(seen_at=now))
    return Session(**row._mapping)


def _end(db: sa.Engine, which: sa.ColumnElement[bool]) -> int:
    with writing(db) as conn:
        ended = (
            sa.update(host_sessions)
            .where(which)
            .values(ended_at=sa.func.coalesce(host_sessions.c.ended_at, clock(conn)), ticket=None, ticket_until=None)
        )
        return len(conn.execute(ended.returning(host_sessions.c.id)).all())
