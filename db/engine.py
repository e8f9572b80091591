"""Connecting to the database: SQLite file or PostgreSQL server behind one SQLAlchemy engine.

`connect` brings the schema up to date; `writing` and `reading` are the only two ways in, so that every
failure of the database itself reaches the caller as one sentence (DatabaseUnavailable).
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.compiler import compiles

from db import clock_steps, identity, postgresql
from db.errors import BadValue, DatabaseTooNew, DatabaseUnavailable, NoDatabaseAddress
from db.prepared import Prepared
from db.schema import REVISION
from lasting import make_folder
from masking import masked, masked_address, without

_ADDRESS = "t2i_address"  # as it was given: what is told of it is told from that, see masking.py
# As a well-formed address is: its parts are what they seem to be.
_CLEAR = re.compile(r"[a-z0-9+]+://(?:[^:/?#@%]+(?::[^:/?#@%]*)?@)?[\w.,\[\]-]*(?::\d+)?(?:/[\w-]*)?(?:\?[^@#]*)?")

# Any number will do as long as every studio process uses the same one.
_MIGRATION_LOCK = 0x54324901


def connect(url: str, *, busy_timeout_s: float = 15.0) -> sa.Engine:
    """Open the database at `url`, made and migrated as needed. Safe when several processes start at once.

    busy_timeout_s: how long a statement waits for another process's lock.
    Raises DatabaseUnavailable, which is NoDatabaseAddress where waiting does not help, or DatabaseTooNew.
    """
    parsed = _parse(url)
    try:
        if parsed.get_backend_name() == "sqlite":
            db = _sqlite(parsed, url, busy_timeout_s)
        else:
            db = postgresql.engine(
                parsed, lock_timeout_s=busy_timeout_s, json_serializer=_to_json, execution_options={_ADDRESS: url}
            )
    except (sa.exc.ArgumentError, ImportError, ValueError, TypeError):
        raise _no_address(url) from None
    try:
        _open(db)
        _migrate(db)
        with _named_errors(db):
            identity.begin(db, _where(db))
    except BaseException:
        db.dispose()
        raise
    return db


def _open(db: sa.Engine) -> None:
    """The first look, whatever the address made the driver stumble over; notes where the clock stands."""
    try:
        with reading(db) as conn:
            clock_steps.since_last(db, clock(conn))
    except (sa.exc.SQLAlchemyError, ValueError, TypeError, OSError) as error:
        said = str(error.orig if isinstance(error, DBAPIError) else error)
        # A setting that the driver does not know, or that is no number, is a programming error to it.
        mistyped = isinstance(error, sa.exc.ProgrammingError | sa.exc.ArgumentError | ValueError | TypeError)
        raise (NoDatabaseAddress if mistyped else DatabaseUnavailable)(
            f"{_where(db)} cannot be opened: {_said(db, said)}."
        ) from None


@contextmanager
def writing(db: sa.Engine, *, lasting: bool = True, one_statement: bool = False) -> Iterator[sa.Connection]:
    """One transaction that may write. On SQLite it takes the write lock at once: what it reads stays true.

    one_statement: no more than one of its statements writes, the last one, and none takes a lock before it: PostgreSQL
    is asked for them alone then, since its BEGIN and its COMMIT take a way there and back each.

    Once it is over it survives a power cut. lasting: False for news that the next second brings again (a heartbeat, a
    preview): on SQLite a power cut may take the last of them, and nothing that was lasting before them.
    """
    how = {"t2i_write": True, "t2i_lasting": lasting, "t2i_one_statement": one_statement}
    with _named_errors(db), db.connect().execution_options(**how) as conn, conn.begin():
        identity.check(conn)
        yield conn


@contextmanager
def reading(db: sa.Engine, *, at_one_moment: bool = False) -> Iterator[sa.Connection]:
    """One transaction that only reads; on SQLite it never waits for a writer.

    at_one_moment: all of it sees the database as it was at its first look, on PostgreSQL as well.
    """
    how = {"t2i_at_one_moment": at_one_moment}
    with _named_errors(db), db.connect().execution_options(**how) as conn, conn.begin():
        identity.check(conn)
        yield conn


def clock(conn: sa.Connection) -> float:
    """Now, in UTC s: the server's clock where machines share a database, so that leases agree."""
    at = own_clock(conn)
    if at is None:
        at = _SERVERS_CLOCK.all(conn)[0][0]
    return float(at)


def own_clock(conn: sa.Connection) -> float | None:
    """As `clock` where that is this machine's; None: the server's is asked for by the statement that needs it, with
    `told_or_servers_clock`, so that this takes no way there and back."""
    return time.time() if conn.dialect.name == "sqlite" else None


def told_or_servers_clock(name: str) -> sa.ColumnElement[float]:
    """In a statement: the parameter of that name, or what the server's clock says as the statement comes where the
    parameter is None."""
    return sa.func.coalesce(sa.bindparam(name, type_=sa.Double), _Clock(), type_=sa.Double)


class _Clock(sa.sql.functions.FunctionElement[float]):
    type = sa.Double()
    inherit_cache = True


@compiles(_Clock)
def _no_clock(*_: Any, **__: Any) -> str:
    return "NULL"


@compiles(_Clock, "postgresql")
def _servers_clock(*_: Any, **__: Any) -> str:
    return "CAST(EXTRACT(epoch FROM statement_timestamp()) AS DOUBLE PRECISION)"


_SERVERS_CLOCK = Prepared(sa.select(_Clock()))


# Clocks of one studio agree within so many s; what is further ahead was written before somebody set the clock back.
AHEAD_S = 5.0


def newest(conn: sa.Connection, column: sa.ColumnElement[str]) -> str | None:
    """The id made last in a table, for `db.jobs.new_id` to count on from. column: its id."""
    found: str | None = conn.scalar(sa.select(sa.func.max(column)))
    return found


def check(db: sa.Engine) -> None:
    """Raises DatabaseUnavailable where it does not answer or its file is gone, and DatabaseReplaced where it is another
    one than this process has opened."""
    with reading(db) as conn:
        identity.check(conn, thoroughly=True)


def _parse(url: str) -> sa.URL:
    try:
        url.encode()
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):  # the latter: half of a character, or a port that is no number
        raise _no_address(url) from None
    if not url.isprintable():
        raise _no_address(url)
    backend = parsed.drivername.partition("+")[0]
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        if parsed.host or parsed.username or parsed.password:
            raise _no_address(url)
        if parsed.database in (None, "", ":memory:"):
            raise NoDatabaseAddress("SQLite needs a file that all processes can open, e.g. sqlite:///data/jobs.db.")
        if set(parsed.query) - _SQLITE_SETTINGS:
            raise NoDatabaseAddress(
                f"{masked_address(url)!r} has a setting that SQLite does not take; leave it out, or name some of "
                f"{', '.join(sorted(_SQLITE_SETTINGS))}."
            )
        return parsed.set(drivername="sqlite")
    raise NoDatabaseAddress(f"The database kind {masked(backend)!r} is not supported; use sqlite or postgresql.")


_SQLITE_SETTINGS = frozenset(("cached_statements", "check_same_thread", "detect_types", "isolation_level", "timeout"))


def _no_address(url: str) -> NoDatabaseAddress:
    return NoDatabaseAddress(
        f"{masked_address(url)!r} is no database address; use sqlite:///folder/jobs.db or postgresql://user@host/name."
    )


def _sqlite(url: sa.URL, address: str, busy_timeout_s: float) -> sa.Engine:
    if sqlite3.sqlite_version_info < (3, 35):
        raise NoDatabaseAddress(f"SQLite {sqlite3.sqlite_version} is too old; 3.35 or newer is needed (RETURNING).")
    path = Path(str(url.database))
    try:
        make_folder(path.parent)
    except OSError as error:
        raise DatabaseUnavailable(f"The folder {masked(str(path.parent))} cannot be made: {error.strerror}.") from None
    except ValueError:  # a NUL, or half of a character
        raise NoDatabaseAddress(f"{masked_address(str(path))!r} is no file's name.") from None
    db = sa.create_engine(
        url,
        json_serializer=_to_json,
        connect_args={"timeout": busy_timeout_s},
        execution_options={_ADDRESS: address},
    )

    @sa.event.listens_for(db, "do_connect")
    def before_connecting(*_: object) -> None:
        identity.before_connecting(db)

    @sa.event.listens_for(db, "connect")
    def set_up(connection: Any, _: object) -> None:
        # Hands BEGIN to us: the driver would start a transaction late, after the first read.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys=ON")
        # Each commit is on the disk when it returns; `begin` leaves that out where it is not needed.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA fullfsync=ON")  # on a Mac, through the drive's own cache; nothing elsewhere

    @sa.event.listens_for(db, "begin")
    def begin(conn: sa.Connection) -> None:
        # Given to the driver as it is: SQLAlchemy takes longer to pass these on than SQLite to do them.
        options, driver = conn.get_execution_options(), conn.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection)
        if not options.get("t2i_write", False):
            driver.execute("BEGIN")
            return
        # Not within a transaction: SQLite would not heed it. In WAL mode what is NORMAL is safe from the death of any
        # process, and is on the disk with the next that is FULL.
        driver.execute(f"PRAGMA synchronous={'FULL' if options.get('t2i_lasting', True) else 'NORMAL'}")
        driver.execute("BEGIN IMMEDIATE")

    _use_wal(db, busy_timeout_s)
    return db


def _use_wal(db: sa.Engine, busy_timeout_s: float) -> None:
    # SQLite's busy timeout does not cover a change of journal mode, so wait here while others start too.
    deadline = time.monotonic() + busy_timeout_s
    with _named_errors(db):
        while True:
            connection = db.raw_connection()
            try:
                mode = connection.cursor().execute("PRAGMA journal_mode=WAL").fetchone()[0]
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise DatabaseUnavailable(_sentence(db, error) or str(error)) from None
                time.sleep(0.02)
            finally:
                connection.close()
    if mode != "wal":
        raise DatabaseUnavailable(f"{_where(db)} does not allow a write-ahead log (mode {mode!r}); use a local disk.")


# NaN and infinity are no JSON: PostgreSQL refuses them, so SQLite must not take them either.
_to_json = partial(json.dumps, allow_nan=False, separators=(",", ":"))


def revision(conn: sa.Connection) -> str | None:
    """The migration this database is at, None if it is empty."""
    if not sa.inspect(conn).has_table("alembic_version"):
        return None
    revision: str | None = conn.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return revision


def _migrate(db: sa.Engine) -> None:
    with reading(db) as conn:
        found = revision(conn)
        if found == REVISION:
            return
        if found is None and conn.dialect.name == "sqlite" and sa.inspect(conn).get_table_names():
            # A mistyped address: tables of ours have no place in there. On a server, programs may share a database.
            raise NoDatabaseAddress(f"{_where(db)} is another program's; choose a file of the studio's own.")
    with writing(db) as conn:
        if conn.dialect.name == "postgresql":
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        upgrade(conn)
    if db.dialect.name == "sqlite":
        with _named_errors(db), db.connect() as conn:
            # What tells studios apart is in the file itself from now on, where one that is copied over it is seen.
            conn.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")


def upgrade(conn: sa.Connection, target: str = "head") -> None:
    """Run the missing migrations inside the caller's transaction: all of them or none."""
    # Imported here because a database that is up to date, the usual case, does not need it.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    current = revision(conn)
    if current is not None and current not in known:
        raise DatabaseTooNew(
            f"{_where(conn.engine)} is at version {current!r}, which this version of the studio (up to "
            f"{max(known)!r}) does not know; update the studio or use another database."
        )
    command.upgrade(config, target)


@contextmanager
def _named_errors(db: sa.Engine) -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError:
        raise BadValue("A text holds half of a character (a lone surrogate); type it again.") from None
    except OverflowError:
        raise BadValue("A number is larger than a database can hold.") from None
    except (DBAPIError, sqlite3.Error) as error:
        if isinstance(error, sa.exc.IntegrityError):
            raise
        if isinstance(error, sa.exc.DataError):
            raise BadValue(_refused(error)) from None
        # The driver's own errors come unwrapped while a connection is being set up.
        sentence = _sentence(db, error.orig if isinstance(error, DBAPIError) else error)
        if sentence is None:
            raise
        if db.dialect.name == "postgresql":
            mistyped = "connection is bad: invalid" in str(error)  # a port or a setting; no server was asked
            # Not from the driver's own: it may hold a mistyped address.
            raise (NoDatabaseAddress if mistyped else DatabaseUnavailable)(sentence) from None
        raise DatabaseUnavailable(sentence) from error
    except sa.exc.TimeoutError as error:
        raise DatabaseUnavailable(f"{_where(db)} is busy: no connection became free in time.") from error


def _refused(error: DBAPIError) -> str:
    """What PostgreSQL does not take, where SQLite does; it never gets that far in what the studio checks."""
    text = str(error.orig).lower()
    if "nul" in text or "0x00" in text:
        return "A text holds a NUL character; remove it."
    if "too long" in text:
        return "A text is longer than the database can hold."
    return "A value is one that the database cannot hold."


def _sentence(db: sa.Engine, error: BaseException | None) -> str | None:
    """What to tell a person about a failure of the database; None for a fault of ours, such as bad SQL."""
    text = str(error).lower()
    for sign, meaning in (
        ("locked", "is locked by another process and did not become free in time; try again."),
        ("lock timeout", "is locked by another process and did not become free in time; try again."),
        ("readonly", "is read-only; the studio must be allowed to write the file and its folder."),
        ("read-only", "is read-only; the studio must be allowed to write to it."),
        ("unable to open", "cannot be opened; the studio must be allowed to write the file and its folder."),
        ("full", "has no space left; free some disk space."),
        ("disk i/o", "cannot be read or written: the disk reports an error."),
        ("malformed", "is damaged; restore it from a copy or move it away to start with an empty one."),
        ("not a database", "is no SQLite database; move the file away or choose another address."),
    ):
        if sign in text:
            return f"{_where(db)} {meaning}"
    if db.dialect.name == "postgresql" and type(error).__name__ in ("OperationalError", "ConnectionTimeout"):
        return f"{_where(db)} cannot be reached: {_said(db, str(error))}"
    return None


def _where(db: sa.Engine) -> str:
    if db.dialect.name == "sqlite":
        return f"The database {masked(str(db.url.database))}"
    return f"The database {masked_address(_address(db))}"


def _address(db: sa.Engine) -> str:
    return str(db.get_execution_options().get(_ADDRESS, ""))


def _said(db: sa.Engine, text: str) -> str:
    """What the driver says, in one line, without what the address holds of secrets."""
    line, url = (text.strip() or "it gave no reason").splitlines()[0].rstrip("."), db.url
    if not _CLEAR.fullmatch(_address(db)):
        return without(line, _address(db))
    settings = [value for name, value in url.query.items() if name not in ("host", "port", "dbname", "options")]
    return without(line, " ".join([str(url.password or ""), *map(str, settings)]))
