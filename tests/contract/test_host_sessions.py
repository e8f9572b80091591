"""The host stays signed in over restarts and in every web app, until a session is ended or the password changes."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from db.engine import writing
from db.errors import UnknownSession
from db.rules import host_sessions
from db.schema import host_sessions as table


def begun(db: sa.Engine, credential: str = "c1", label: str = "Firefox on Linux", lasts_s: float = 100.0):
    ticket, session = host_sessions.begin(db, credential=credential, label=label, lasts_s=lasts_s)
    found = host_sessions.exchange(db, ticket)
    assert found is not None
    return found[0], session


def test_a_ticket_is_exchanged_once_and_soon(database: sa.Engine) -> None:
    ticket, session = host_sessions.begin(database, credential="c", label="x" * 200, lasts_s=100)
    assert host_sessions.exchange(database, "made up") is None and len(session.label) == host_sessions.MAX_LABEL
    found = host_sessions.exchange(database, ticket)
    assert found is not None and found[1].id == session.id and found[0] != ticket
    assert host_sessions.exchange(database, ticket) is None, "once"
    late, _ = host_sessions.begin(database, credential="c", label="late", lasts_s=100)
    with writing(database) as conn:
        conn.execute(sa.update(table).values(ticket_until=0.0))
    assert host_sessions.exchange(database, late) is None, "soon"


def test_neither_ticket_nor_cookie_is_in_the_database(database: sa.Engine) -> None:
    ticket, _ = host_sessions.begin(database, credential="c", label="one", lasts_s=100)
    token, _ = begun(database)
    with database.connect() as conn:
        kept = str(conn.execute(sa.select(table)).all())
    assert ticket not in kept and token not in kept


def test_a_cookie_is_good_until_its_session_is_ended_runs_out_or_the_password_changes(database: sa.Engine) -> None:
    token, session = begun(database)
    assert host_sessions.by_cookie(database, token, "c1") == session
    assert host_sessions.by_cookie(database, token + "x", "c1") is None
    assert host_sessions.by_cookie(database, token, "c2") is None, "the password has changed"
    host_sessions.end(database, session.id)
    assert (
        host_sessions.by_cookie(database, token, "c1") is None and host_sessions.get(database, session.id, "c1") is None
    )
    short, brief = begun(database)
    with writing(database) as conn:
        conn.execute(sa.update(table).where(table.c.id == brief.id).values(expires_at=1.0))
    assert host_sessions.by_cookie(database, short, "c1") is None
    for unknown in ("nothing", "0" * 26, session.id + "\x00"):
        with pytest.raises(UnknownSession):
            host_sessions.end(database, unknown)


def test_sessions_are_listed_and_ended_everywhere(database: sa.Engine) -> None:
    (one, first), (two, second) = begun(database), begun(database, label="Safari on an iPhone")
    begun(database, credential="before the password changed")
    assert {s.label for s in host_sessions.every(database, "c1")} == {first.label, second.label}
    host_sessions.end_by_cookie(database, one)
    assert [s.id for s in host_sessions.every(database, "c1")] == [second.id]
    assert host_sessions.end_all(database) == 2 and host_sessions.every(database, "c1") == []
    assert host_sessions.by_cookie(database, two, "c1") is None


def test_when_one_was_last_seen_is_noted_now_and_then(database: sa.Engine) -> None:
    _, session = begun(database)
    with writing(database) as conn:
        conn.execute(sa.update(table).values(seen_at=session.seen_at - 3600))
    host_sessions.get(database, session.id, "c1")
    (seen,) = host_sessions.every(database, "c1")
    assert seen.seen_at >= session.seen_at
