"""A new studio's SQLite database: copied from one that the migrations have made, which take longer than most tests."""

from __future__ import annotations

import secrets
import tempfile
from functools import cache
from pathlib import Path

import sqlalchemy as sa

from db import identity
from db.engine import connect


@cache
def _as_migrated() -> tuple[bytes, bytes]:
    """The file as a first start leaves it, and the id of its studio."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jobs.db"
        db = connect(f"sqlite:///{path}")
        studio = identity.of(db)
        db.dispose()
        return path.read_bytes(), studio.encode()


def open_new(path: Path) -> sa.Engine:
    """Connected to the studio in this file; where there is none, to a new one, which has an id of its own."""
    if not path.exists():
        file, studio = _as_migrated()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.replace(studio, secrets.token_hex(16).encode()))
    return connect(f"sqlite:///{path}")
