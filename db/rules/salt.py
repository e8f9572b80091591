"""A secret of this database, made at its first use: what is hashed with it cannot be found by trying all there is."""

from __future__ import annotations

import secrets

import sqlalchemy as sa

from db.engine import clock, reading, writing
from db.schema import host_settings

_NAME = "salt"
_VALUE = sa.select(host_settings.c.value).where(host_settings.c.name == _NAME)


def salt(db: sa.Engine) -> bytes:
    """32 random bytes, the same ones for everybody who uses this database."""
    with reading(db) as conn:
        found = conn.scalar(_VALUE)
    if found is None:
        found = _made(db)
    return bytes.fromhex(str(found))


def _made(db: sa.Engine) -> str:
    made = secrets.token_hex(32)
    try:
        with writing(db) as conn:
            if (there := conn.scalar(_VALUE)) is not None:
                return str(there)
            conn.execute(sa.insert(host_settings).values(name=_NAME, value=made, changed_at=clock(conn)))
    except sa.exc.IntegrityError:  # two made one at the same time
        with reading(db) as conn:
            return str(conn.scalar(_VALUE))
    return made
