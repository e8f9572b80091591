"""Whether an open database is still the one that was opened: nothing is written into what nobody else will ever see.

A process that has a SQLite file open goes on reading and writing it after it was deleted, moved, or replaced under its
name; so it does with a write-ahead log that was removed. On PostgreSQL another database may answer after a reconnect.
Every database carries a random id of its studio, every transaction looks at the file's name (three calls of stat), and
every few seconds, and on every new connection, the id is read.
"""

from __future__ import annotations

import os
import sqlite3
import time
import weakref
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from db.errors import DatabaseReplaced, DatabaseUnavailable
from db.schema import studio

APPLICATION_ID = 0x54324953  # in the header of a SQLite file: what `file` and we know a studio's database by
LOOK_EVERY_S = 2.0
_SIDES = ("-wal", "-shm")  # no other process removes them while a connection is open
_SEEN = "t2i_sides"  # in what the pool keeps with a connection: the files beside the database when it was opened

_File = tuple[int, int]  # device and inode


class _Watch:
    """What one engine has open. where: the database as sentences begin with it, without secrets."""

    def __init__(self, path: Path | None, where: str, studio_id: str) -> None:
        self.path, self.where, self.studio_id = path, where, studio_id
        self.file = None if path is None else _file(str(path))
        self.looked_at = time.monotonic()
        self.trouble: str | None = None  # once replaced, always: what was read before is of another database


_watches: weakref.WeakKeyDictionary[sa.Engine, _Watch] = weakref.WeakKeyDictionary()


def begin(db: sa.Engine, where: str) -> None:
    """The database is open and up to date: from now on it must stay the one that it is."""
    with db.connect() as conn, conn.begin():
        found = conn.scalar(sa.select(studio.c.id))
    if found is None:
        raise DatabaseUnavailable(f"{where} is damaged: it does not say which studio it belongs to.")
    path = Path(str(db.url.database)) if db.dialect.name == "sqlite" else None
    _watches[db] = _Watch(path, where, found)


def of(db: sa.Engine) -> str:
    """The id of the studio that an open database belongs to."""
    return _watches[db].studio_id


def before_connecting(db: sa.Engine) -> None:
    """Raises as `check` where the file is not the one that was opened: SQLite would make a new one where none is."""
    watch = _watches.get(db)
    if watch is not None and watch.path is not None:
        if watch.trouble is None:
            _check_file(watch, watch.path)
        _refuse(watch)


def check(conn: sa.Connection, *, thoroughly: bool = False) -> None:
    """At the beginning of a transaction. thoroughly: the id is read in any case.

    Raises DatabaseReplaced where this is another database than before, DatabaseUnavailable where its file is gone.
    """
    watch = _watches.get(conn.engine)
    if watch is None:
        return
    if watch.trouble is None and watch.path is not None:
        _check_file(watch, watch.path)
        _check_sides(watch, watch.path, conn)
    now = time.monotonic()
    if watch.trouble is None and (thoroughly or _SEEN not in conn.info or now - watch.looked_at >= LOOK_EVERY_S):
        watch.looked_at = now
        _check_id(watch, conn)
    _refuse(watch)


def _refuse(watch: _Watch) -> None:
    if watch.trouble is not None:
        raise DatabaseReplaced(f"{watch.where} {watch.trouble}")


def _check_file(watch: _Watch, path: Path) -> None:
    found = _file(str(path))
    if found is None:
        raise DatabaseUnavailable(
            f"{watch.where} is gone: its file was removed or its disk is not there. Nothing is written meanwhile."
        )
    if found != watch.file:
        watch.trouble = (
            "is another file than the one this process has opened, so nothing is read or written any more. Start the "
            "studio again, with the file that it is to go on with."
        )


def _check_sides(watch: _Watch, path: Path, conn: sa.Connection) -> None:
    for side, before in conn.info.get(_SEEN, {}).items():
        if watch.trouble is None and _file(f"{path}{side}") != before:
            watch.trouble = (
                f"has lost its {side[1:]} file ({path.name}{side}) while it was in use, so nothing is written any "
                "more. Start the studio again; what was written last may be missing."
            )


def _check_id(watch: _Watch, conn: sa.Connection) -> None:
    other = "holds another studio than the one this process has opened, so nothing is written any more. Start the "
    other += "studio again, with the database that it is to go on with."
    if watch.path is None:
        found = _id_in(lambda: conn.scalar(sa.select(studio.c.id)), watch)
    else:
        if _SEEN not in conn.info:
            conn.scalar(sa.select(studio.c.id))  # opens the files beside it
            conn.info[_SEEN] = {side: file for side in _SIDES if (file := _file(f"{watch.path}{side}")) is not None}
        # The open connection may have the page in its memory: one of its own sees what is in the file now.
        found = _read(watch.path, watch.studio_id)
    conn.info.setdefault(_SEEN, {})
    if found != watch.studio_id:
        watch.trouble = other


def _id_in(read: Callable[[], str | None], watch: _Watch) -> str | None:
    try:
        return read()
    except sa.exc.ProgrammingError:  # no such table: emptied, to be restored perhaps
        raise DatabaseUnavailable(f"{watch.where} has no studio in it now; nothing is written until it has.") from None


def _read(path: Path, expected: str) -> str | None:
    """The id in a SQLite file; None where it is no studio's. expected: where that cannot be told now."""
    # Never by reading the file ourselves: to close a file drops every lock this process has on it (POSIX).
    address = f"{path.absolute().as_uri()}?mode=rw"  # which makes no file
    with closing(sqlite3.connect(address, timeout=1.0, uri=True)) as fresh:
        try:
            (application,) = fresh.execute("PRAGMA application_id").fetchone()
            row = fresh.execute("SELECT id FROM studio").fetchone()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return None
            if "locked" in str(error):
                return expected
            raise
    return str(row[0]) if row is not None and application == APPLICATION_ID else None


def _file(path: str) -> _File | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
