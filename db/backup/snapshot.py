"""The whole database as it is at one moment, in one SQLite file, while others write to it.

From SQLite by its online backup (https://sqlite.org/backup.html), from PostgreSQL row by row in one REPEATABLE READ
transaction: so a backup needs no program of the server's, whatever its version, and can be restored into either kind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from db.engine import connect, reading, writing
from db.errors import DatabaseUnavailable
from db.schema import REVISION, jobs, metadata, studio

AT_ONCE = 1000
# What a database is told from others by is its own, and stays.
TABLES = tuple(table for table in metadata.sorted_tables if table is not studio)


def take(db: sa.Engine, target: Path) -> None:
    """Write the snapshot; it is whole and has been looked through when this returns. Raises DatabaseUnavailable."""
    if db.dialect.name == "sqlite":
        _copy_file(db, target)
    else:
        new = connect(f"sqlite:///{target}")
        try:
            with reading(db, at_one_moment=True) as source, writing(new) as copy:
                copy_rows(source, copy)
        finally:
            new.dispose()
    _close(target)


def copy_rows(source: sa.Connection, target: sa.Connection) -> dict[str, int]:
    """All rows into a database whose tables are empty; how many of each table."""
    counts = {}
    for table in TABLES:
        counts[table.name] = 0
        for rows in _pages(source, table):
            if table is jobs:  # one may stand before the one it was made from
                rows = [{**row, "parent_id": None} for row in rows]
            target.execute(sa.insert(table), rows)
            counts[table.name] += len(rows)
    parents = sa.select(jobs.c.id, jobs.c.parent_id).where(jobs.c.parent_id.is_not(None))
    for some in source.execute(parents).partitions(AT_ONCE):
        wanted = sa.update(jobs).where(jobs.c.id == sa.bindparam("job")).values(parent_id=sa.bindparam("parent"))
        target.execute(wanted, [{"job": row.id, "parent": row.parent_id} for row in some])
    if target.dialect.name == "postgresql":
        for table in TABLES:
            for column in table.primary_key.columns:
                if column.autoincrement is True:  # the next one counts on from the last
                    last = sa.select(sa.func.coalesce(sa.func.max(column), 0) + 1)
                    sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
                    target.execute(sa.select(sa.func.setval(sequence, last.scalar_subquery(), False)))
    return counts


def counts(db: sa.Engine) -> dict[str, int]:
    """How many rows each table has."""
    with reading(db) as conn:
        return {t.name: int(conn.scalar(sa.select(sa.func.count()).select_from(t)) or 0) for t in TABLES}


def _pages(source: sa.Connection, table: sa.Table) -> Iterator[list[dict[str, Any]]]:
    found = source.execution_options(yield_per=AT_ONCE).execute(sa.select(table))
    for rows in found.mappings().partitions(AT_ONCE):
        yield [dict(row) for row in rows]


def _copy_file(db: sa.Engine, target: Path) -> None:
    with reading(db):  # says in a sentence why it cannot be read
        pass
    with closing(sqlite3.connect(str(db.url.database))) as source, closing(sqlite3.connect(target)) as copy:
        try:
            # All pages in one step: with a write-ahead log nobody waits for it, and it need not begin anew.
            source.backup(copy, pages=-1)
        except sqlite3.Error as error:
            raise DatabaseUnavailable(f"The database could not be copied: {error}.") from error


def _close(target: Path) -> None:
    """One file without a log beside it, looked through: a damaged one is no backup."""
    with closing(sqlite3.connect(target)) as copy:
        copy.execute("PRAGMA journal_mode=DELETE")
        found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
        astray = copy.execute("PRAGMA foreign_key_check").fetchone()
        made_by = copy.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    if found != "ok" or astray is not None:
        raise DatabaseUnavailable(
            f"The database is damaged, so it was not backed up: {found if found != 'ok' else astray}."
        )
    if made_by != REVISION:
        raise DatabaseUnavailable(
            f"The database is at version {made_by!r}, this studio at {REVISION!r}; start the studio once, then back up."
        )
