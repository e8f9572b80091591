"""Where the host is signed in, as the Host page lists and ends it."""

from __future__ import annotations

from db.rules import host_sessions
from db.rules.host_sessions import Session
from studio.access import check_host
from studio.context import Studio, Submitter


def sessions(studio: Studio, submitter: Submitter, credential: str) -> list[Session]:
    """Those that go on, the last seen first. Raises NotHost."""
    check_host(submitter)
    return host_sessions.every(studio.db, credential)


def end_session(studio: Studio, submitter: Submitter, session_id: str) -> None:
    """The browser is signed out, wherever it is. Raises NotHost, UnknownSession."""
    check_host(submitter)
    host_sessions.end(studio.db, session_id)


def end_sessions(studio: Studio, submitter: Submitter) -> int:
    """Every browser is signed out, this one too. Raises NotHost."""
    check_host(submitter)
    return host_sessions.end_all(studio.db)
