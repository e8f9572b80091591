"""Pictures that somebody has given: kept within quotas, and for good only where a job names them.

The row comes first, in one transaction with the check of what may be kept: it reserves the room. Then the file. So
nothing lies in the store that no row tells of, and what a refused wish, a crash or a client that never came back has
left goes when it is due, see `db.artefacts.sweeping`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from characters.brief import Term
from db.artefacts.records import Artefact
from db.artefacts.store import Store, checked
from db.engine import clock, reading, writing
from db.errors import Erased, TooManyBytesGiven
from db.schema import artefacts

PENDING_S = 3600.0  # for a wish in progress, which names it within seconds
OFFERED_S = 24 * 3600.0  # for wishes to come
BLOCK = 4096  # bytes: what the smallest file takes on a disk
_LOCK = 0x54324902  # of PostgreSQL, while it is checked what may be kept

# As ranges, and not with LIKE, so that the index of the keys is used by every database.
_UPLOADS = sa.and_(artefacts.c.key >= "uploads/", artefacts.c.key < "uploads0")
_DRAFTS = sa.and_(artefacts.c.key >= "drafts/", artefacts.c.key < "drafts0")


@dataclass(frozen=True)
class Quota:
    """Bytes of given pictures that may be kept: of one submitter, from one address, in all; None: no bound."""

    per_giver: int | None = None
    per_address: int | None = None
    in_all: int | None = None


NO_QUOTA = Quota()


@dataclass(frozen=True)
class Picture:
    """A PNG that is to be kept. kind: upload or draft; width, height in px."""

    id: str
    kind: str
    key: str
    png: bytes
    width: int
    height: int


def check(
    db: sa.Engine, *, giver: str, address: str | None, quota: Quota = NO_QUOTA, wanted: Sequence[int] = (0,)
) -> None:
    """Raises TooManyBytesGiven where files of these sizes in bytes would be more than may be kept."""
    with reading(db) as conn:
        _check(conn, giver, address, quota, sum(max(size, BLOCK) for size in wanted))


def save(
    db: sa.Engine,
    store: Store,
    pictures: Sequence[Picture],
    *,
    giver: str,
    address: str | None = None,
    quota: Quota = NO_QUOTA,
    kept_s: float | None = PENDING_S,
) -> list[Artefact]:
    """Keep all of them or none. kept_s: until when unless a job names them; None: until they are deleted.

    Raises TooManyBytesGiven, StoreFull, StoreUnavailable, BadValue, Erased.
    """
    rows = []
    with writing(db) as conn:
        if conn.dialect.name == "postgresql":
            conn.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        _check(conn, giver, address, quota, sum(max(len(one.png), BLOCK) for one in pictures))
        now = clock(conn)
        for one in pictures:
            values = {
                "id": one.id,
                "job_id": None,
                "kind": one.kind,
                "key": checked(one.key),
                "media_type": "image/png",
                "size": len(one.png),
                "sha256": hashlib.sha256(one.png).hexdigest(),
                "width": one.width,
                "height": one.height,
                "created_at": now,
                "giver": giver,
                "address": address,
                "due_at": None if kept_s is None else now + kept_s,
            }
            rows.append(conn.execute(sa.insert(artefacts).values(**values).returning(*artefacts.c)).one())
    try:
        for one in pictures:
            store.put(one.key, one.png)
        _check_kept(db, store, pictures)
    except BaseException:
        forget(db, store, [one.id for one in pictures], whatever=True)
        raise
    return [Artefact(**row._mapping) for row in rows]


def _check_kept(db: sa.Engine, store: Store, pictures: Sequence[Picture]) -> None:
    """Raises Erased, and leaves no file, where the host has deleted everything before the files were there."""
    with reading(db) as conn:
        there = conn.scalars(sa.select(artefacts.c.id).where(artefacts.c.id.in_([one.id for one in pictures]))).all()
    if len(there) < len(pictures):
        for one in pictures:
            store.delete(one.key)
        raise Erased


def forget(db: sa.Engine, store: Store, ids: Sequence[str], *, whatever: bool = False) -> int:
    """Delete those of these pictures that no job names by now; how many that were. whatever: all of them."""
    gone = 0
    for artefact_id in ids:
        found = sa.delete(artefacts).where(artefacts.c.id == artefact_id)
        if not whatever:
            found = found.where(artefacts.c.due_at.is_not(None))
        with writing(db) as conn:
            key = conn.scalar(found.returning(artefacts.c.key))
        if key is not None:
            store.delete(key)  # a file that stays here without a row is swept
            gone += 1
    return gone


def _check(conn: sa.Connection, giver: str, address: str | None, quota: Quota, wanted: int) -> None:
    given = sa.or_(_UPLOADS, _DRAFTS)
    by_giver = sa.and_(artefacts.c.giver == giver, artefacts.c.job_id.is_(None))
    by_address = sa.and_(artefacts.c.address == address, artefacts.c.job_id.is_(None))
    bounds: list[tuple[Term, int | None, sa.ColumnElement[bool]]] = [
        (Term("Your pictures take"), quota.per_giver, by_giver),
        (Term("Pictures from your address take"), None if address is None else quota.per_address, by_address),
        (Term("All pictures that visitors have given take"), quota.in_all, given),
    ]
    for whose, most, which in bounds:
        if most is not None:
            there = conn.scalar(sa.select(sa.func.coalesce(sa.func.sum(_ON_DISK), 0)).where(which)) or 0
            if int(there) + wanted > most:
                raise TooManyBytesGiven(whose, int(there), most)


_ON_DISK = sa.case((artefacts.c.size < BLOCK, BLOCK), else_=artefacts.c.size)
