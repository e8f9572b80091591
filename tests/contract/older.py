"""Databases as earlier versions of the studio left them."""

from __future__ import annotations

import sqlalchemy as sa

from db.engine import upgrade
from db.schema import metadata


def as_of(conn: sa.Connection, revision: str) -> None:
    """Take out what came after a migration, so that the tables are as they were then."""
    old = sa.create_engine("sqlite://")
    with old.begin() as empty:
        upgrade(empty, revision)
        then, now = sa.inspect(empty), sa.inspect(conn)
        newer = set(now.get_table_names()) - set(then.get_table_names())
        for table in reversed(metadata.sorted_tables):  # those that refer to others first
            if table.name in newer:
                conn.execute(sa.text(f"DROP TABLE {table.name}"))
        for on in then.get_table_names():
            indexes = {index["name"]: index["column_names"] for index in then.get_indexes(on)}
            changed = [i["name"] for i in now.get_indexes(on) if indexes.get(i["name"]) != i["column_names"]]
            for name in changed:
                if str(name).startswith("ix_"):  # the others belong to constraints
                    conn.execute(sa.text(f"DROP INDEX {name}"))
            columns = {column["name"] for column in then.get_columns(on)}
            for name in sorted({column["name"] for column in now.get_columns(on)} - columns):
                conn.execute(sa.text(f"ALTER TABLE {on} DROP COLUMN {name}"))
            for name in changed:
                if name in indexes and None not in indexes[name]:
                    conn.execute(sa.text(f"CREATE INDEX {name} ON {on} ({', '.join(map(str, indexes[name]))})"))
    old.dispose()
    conn.execute(sa.text(f"UPDATE alembic_version SET version_num = '{revision}'"))
