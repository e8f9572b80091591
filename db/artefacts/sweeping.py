"""What was given and is of no use any more: pictures that no job has named in time, files that no row tells of.

Left by wishes that were refused while the web app died, by programs that sent a picture and never asked for anything,
by executors that were killed between putting a file and noting it, by a database that was put back from a copy.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy as sa

from db.artefacts.records import tidy
from db.artefacts.store import Store
from db.engine import clock, reading, writing
from db.jobs import ENDED, oldest_id
from db.schema import artefacts, datasets, jobs

STRAY_S = 3600.0  # how old a file without a row has to be
AT_ONCE = 500
DAY_S = 24 * 3600.0
FOLDERS = ("uploads", "drafts", "executors")


@dataclass(frozen=True)
class Swept:
    """How many pictures were due, and how many files had no row."""

    due: int = 0
    strays: int = 0


def sweep(db: sa.Engine, store: Store, *, stray_s: float = STRAY_S) -> Swept:
    """Delete what is due and what no row tells of, AT_ONCE of each at most. Safe while wishes are made.

    stray_s: how old a file without a row has to be. Of jobs that have lost an executor and ended within so long what
    that one has put and not noted goes as well.
    Where the store holds files of jobs that the database does not know no file without a row is deleted: studios may
    share a store, and those files may be another's.
    Raises StoreUnavailable.
    """
    _of_lost(db, store, max(stray_s, STRAY_S))
    return Swept(_due(db, store), _strays(db, store, stray_s))


def _of_lost(db: sa.Engine, store: Store, within_s: float) -> None:
    with reading(db) as conn:
        since = clock(conn) - 2 * within_s
        # The id keeps the look to one end of its index.
        lately = jobs.c.id > oldest_id(since - DAY_S), jobs.c.finished_at > since
        lost = sa.select(jobs.c.id).where(*lately, jobs.c.state.in_(ENDED), jobs.c.losses > 0).limit(AT_ONCE)
        ids = conn.scalars(lost).all()
    for job_id in ids:
        tidy(db, store, job_id)


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


def _strays(db: sa.Engine, store: Store, stray_s: float) -> int:
    before = time.time() - stray_s
    old = [key for folder in FOLDERS for key, changed_at in store.listed(folder) if changed_at < before]
    strays = [*_unknown(db, artefacts.c.key, old), *_of_datasets(db, store, before)][:AT_ONCE]
    if not strays or _unknown(db, jobs.c.id, store.folders("jobs")):
        return 0
    for key in strays:
        store.remove([key])
    return len(strays)


def _of_datasets(db: sa.Engine, store: Store, before: float) -> list[str]:
    """Old zips of datasets, and contact sheets beside them, that no dataset has."""
    old = {key: key.rpartition(".")[0] + ".zip" for key, changed_at in store.listed("datasets") if changed_at < before}
    gone = {*_unknown(db, datasets.c.key, sorted({*old.values()}))}
    return [key for key, of in old.items() if of in gone]


def _unknown(db: sa.Engine, column: sa.Column[str], values: list[str]) -> list[str]:
    """Those that no row has in this column."""
    found = []
    for start in range(0, len(values), AT_ONCE):
        some = values[start : start + AT_ONCE]
        with reading(db) as conn:
            known = set(conn.scalars(sa.select(column).where(column.in_(some))))
        found += [value for value in some if value not in known]
    return found
