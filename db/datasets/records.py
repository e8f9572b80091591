"""The rows of datasets, and their files: `datasets/ID.zip`, with a contact sheet beside it as `datasets/ID.png`.

The files come first, then the row, in one transaction with the check of what may be kept: what a crash leaves between
the two is a file that no row tells of, and goes when it is an hour old.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from characters.brief import Term
from db.artefacts.given import NO_QUOTA, Quota
from db.artefacts.store import Store
from db.engine import clock, reading, writing
from db.errors import Erased, TooManyBytesGiven, UnknownDataset
from db.evening import erasures
from db.jobs import LIVE, State, from_row, is_id
from db.queue.transitions import take_away
from db.schema import datasets, jobs

FOLDER = "datasets"
REFERENCE = re.compile(r"dataset:([A-Za-z0-9_-]{1,64})")
MAX_LISTED = 500
DATA_DELETED = "The dataset this run learns from was deleted by whoever gave it; start again from another one."
_LOCK = 0x54324903  # of PostgreSQL, while it is checked what may be kept


@dataclass(frozen=True)
class Dataset:
    """One row. key: of its zip; bytes: of that; count: pictures. report: as generator.learning.stream.report has it.

    submitter, address: who made it and from where, as studio.context.Submitter has them. created_at: UTC s.
    """

    id: str
    name: str
    submitter: str
    address: str | None
    key: str
    bytes: int
    count: int
    report: dict[str, Any]
    licence: str
    created_at: float

    @property
    def reference(self) -> str:
        """As a run's `data` names it."""
        return f"dataset:{self.id}"


def key_of(dataset_id: str) -> str:
    """The key of its zip."""
    return f"{FOLDER}/{dataset_id}.zip"


def sheet_key(dataset_id: str) -> str:
    """The key of its contact sheet, a PNG."""
    return f"{FOLDER}/{dataset_id}.png"


def check(db: sa.Engine, *, submitter: str, address: str | None, quota: Quota, wanted: int = 0) -> None:
    """Raises TooManyBytesGiven where so many bytes more would be more than may be kept."""
    with reading(db) as conn:
        _check(conn, submitter, address, quota, wanted)


def save(
    db: sa.Engine,
    store: Store,
    *,
    dataset_id: str,
    name: str,
    submitter: str,
    address: str | None,
    file: Path,
    sheet: bytes,
    count: int,
    report: dict[str, Any],
    licence: str,
    quota: Quota = NO_QUOTA,
) -> Dataset:
    """Keep a zip with its contact sheet, or nothing of it.

    Raises TooManyBytesGiven, StoreFull, StoreUnavailable, BadValue, Erased, and OSError where the file cannot be read.
    """
    size = file.stat().st_size
    check(db, submitter=submitter, address=address, quota=quota, wanted=size)
    try:
        store.put_file(key_of(dataset_id), file)
        store.put(sheet_key(dataset_id), sheet)
        with writing(db) as conn:
            if conn.dialect.name == "postgresql":
                conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            _check(conn, submitter, address, quota, size)
            values = {
                **{"id": dataset_id, "name": name, "submitter": submitter, "address": address},
                **{"key": key_of(dataset_id), "bytes": size, "count": count, "report": report, "licence": licence},
                "created_at": clock(conn),
            }
            row = conn.execute(sa.insert(datasets).values(**values).returning(*datasets.c)).one()
            # After the row, which whoever deletes everything waits for: so either sees the other.
            erased = erasures.of_everything(conn)
            if erased is not None and erased.covers(key_of(dataset_id)):
                raise Erased
    except BaseException:
        _remove_files(store, dataset_id)
        raise
    return Dataset(**row._mapping)


def get(db: sa.Engine, dataset_id: str) -> Dataset:
    """The dataset with this id. Raises UnknownDataset."""
    row = None
    if is_id(dataset_id):
        with reading(db) as conn:
            row = conn.execute(sa.select(*datasets.c).where(datasets.c.id == dataset_id)).one_or_none()
    if row is None:
        raise UnknownDataset(dataset_id)
    return Dataset(**row._mapping)


def listed(db: sa.Engine, submitter: str | None = None) -> list[Dataset]:
    """Those of one submitter, or all, the newest first; MAX_LISTED at most."""
    found = sa.select(*datasets.c).order_by(datasets.c.id.desc()).limit(MAX_LISTED)
    if submitter is not None:
        found = found.where(datasets.c.submitter == submitter)
    with reading(db) as conn:
        return [Dataset(**row._mapping) for row in conn.execute(found)]


def delete(db: sa.Engine, store: Store, dataset: Dataset) -> None:
    """Delete it with its files. Runs that learn from it fail, and those that wait do when their turn comes; models
    that have learnt from it stay. Raises StoreUnavailable."""
    with writing(db) as conn:
        running = sa.select(*jobs.c).where(jobs.c.state.in_(LIVE), jobs.c.engine.like("train%"))
        for row in conn.execute(running.order_by(jobs.c.id).with_for_update()).all():
            job = from_row(row)
            if job.state == State.RUNNING and job.params.get("data") == dataset.reference:
                take_away(conn, job, State.FAILED, "source_deleted", DATA_DELETED)
    _remove_files(store, dataset.id)  # the files first: a row without them is found again
    with writing(db) as conn:
        conn.execute(sa.delete(datasets).where(datasets.c.id == dataset.id))


def _check(conn: sa.Connection, submitter: str, address: str | None, quota: Quota, wanted: int) -> None:
    bounds: list[tuple[Term, int | None, sa.ColumnElement[bool]]] = [
        (Term("Your datasets take"), quota.per_giver, datasets.c.submitter == submitter),
        (
            Term("Datasets from your address take"),
            None if address is None else quota.per_address,
            datasets.c.address == address,
        ),
        (Term("All datasets take"), quota.in_all, sa.true()),
    ]
    for whose, most, which in bounds:
        if most is not None:
            there = conn.scalar(sa.select(sa.func.coalesce(sa.func.sum(datasets.c.bytes), 0)).where(which)) or 0
            if int(there) + wanted > most:
                raise TooManyBytesGiven(whose, int(there), most)


def _remove_files(store: Store, dataset_id: str) -> None:
    for key in (key_of(dataset_id), sheet_key(dataset_id)):
        store.delete(key)
