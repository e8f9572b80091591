"""What was given and is of no use any more: pictures that no job has named in time, files that no row tells of.

Left by wishes that were refused while the web app died, by programs that sent a picture and never asked for anything,
by a database that was put back from a copy.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

import sqlalchemy as sa

from db.artefacts.store import Store
from db.engine import clock, reading, writing
from db.rules.salt import salt
from db.schema import artefacts

STRAY_S = 3600.0  # how old a file without a row has to be
AT_ONCE = 500
FOLDERS = ("uploads", "drafts")
_STUDIOS = "sweepers"  # the databases whose rows tell of files in this store, by a hash of each one's secret


@dataclass(frozen=True)
class Swept:
    """How many pictures were due, and how many files had no row."""

    due: int = 0
    strays: int = 0


def sweep(db: sa.Engine, store: Store) -> Swept:
    """Delete what is due and what no row tells of, AT_ONCE of each at most. Safe while wishes are made.

    Where databases of several studios share the store no file without a row is deleted: it may be another's.
    Raises StoreUnavailable.
    """
    return Swept(_due(db, store), _strays(db, store))


def _due(db: sa.Engine, store: Store) -> int:
    with reading(db) as conn:
        late = artefacts.c.due_at < clock(conn)
        ids = conn.scalars(sa.select(artefacts.c.id).where(late).order_by(artefacts.c.due_at).limit(AT_ONCE)).all()
    gone = 0
    for artefact_id in ids:
        with writing(db) as conn:
            # A job that names it in this moment has taken the date off, or finds that it is gone and is refused.
            found = sa.delete(artefacts).where(artefacts.c.id == artefact_id, artefacts.c.due_at < clock(conn))
            key = conn.scalar(found.returning(artefacts.c.key))
        if key is not None:
            store.delete(key)
            gone += 1
    return gone


def _strays(db: sa.Engine, store: Store) -> int:
    own = f"{_STUDIOS}/{hashlib.sha256(salt(db)).hexdigest()[:16]}"
    if not store.exists(own):
        store.put(own, b"A studio's database tells of files in this store; see db/artefacts/sweeping.py.\n")
    if {key for key, _ in store.listed(_STUDIOS)} != {own}:
        return 0
    before, gone = time.time() - STRAY_S, 0
    for folder in FOLDERS:
        old = [key for key, changed_at in store.listed(folder) if changed_at < before]
        for start in range(0, len(old), AT_ONCE):
            some = old[start : start + AT_ONCE]
            with reading(db) as conn:
                known = set(conn.scalars(sa.select(artefacts.c.key).where(artefacts.c.key.in_(some))))
            for key in some:
                if key not in known and gone < AT_ONCE:
                    store.remove_listed(key)
                    gone += 1
    return gone
