"""What the studio keeps: how many jobs, and how many bytes of files and of the database."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from db.artefacts import Store
from db.engine import reading
from db.schema import artefacts


@dataclass(frozen=True)
class Usage:
    """Sizes in bytes. kinds: (files, bytes) by kind, the largest first; free: on the store's disk, None elsewhere."""

    kinds: dict[str, tuple[int, int]]
    database: int
    free: int | None

    @property
    def files(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size in self.kinds.values())


def usage(db: sa.Engine, store: Store) -> Usage:
    """What is kept now."""
    size = sa.func.coalesce(sa.func.sum(artefacts.c.size), 0)
    with reading(db) as conn:
        rows = conn.execute(
            sa.select(artefacts.c.kind, sa.func.count(), size).group_by(artefacts.c.kind).order_by(size.desc())
        ).all()
        if conn.dialect.name == "postgresql":
            database = int(conn.scalar(sa.select(sa.func.pg_database_size(sa.func.current_database()))) or 0)
        else:
            path = Path(str(db.url.database))
            parts = (path, path.with_name(path.name + "-wal"))
            database = sum(part.stat().st_size for part in parts if part.exists())
    return Usage({kind: (int(count), int(total)) for kind, count, total in rows}, database, _free(store))


def _free(store: Store) -> int | None:
    folder = store.local_path("any")
    while folder is not None and not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return None if folder is None else shutil.disk_usage(folder).free
