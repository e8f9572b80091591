"""Pictures that visitors have given to a form and not yet asked for anything with: kept for a day, within bounds.

No job ever names one: what is asked for gets a copy of its own. So they may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import sqlalchemy as sa

from db.artefacts import given
from db.artefacts.given import NO_QUOTA, Quota
from db.artefacts.records import Artefact
from db.artefacts.store import Store
from db.engine import clock, reading, writing
from db.errors import UnknownArtefact
from db.jobs import check_text, new_id
from db.schema import artefacts

KEPT_S = 24 * 3600
MAX_OWN, MAX_OWN_BYTES = 16, 96 << 20
MAX_ALL, MAX_ALL_BYTES = 2000, 1 << 30
_KEY = re.compile(r"drafts/([0-9a-f]{16})/[0-9a-f]+\.png")
# As a range, and not with LIKE, so that the index of the keys is used by every database.
_DRAFTS = sa.and_(artefacts.c.key >= "drafts/", artefacts.c.key < "drafts0")


def is_draft(reference: str) -> bool:
    """Whether this is the key of a draft."""
    return _KEY.fullmatch(reference) is not None


def named_in(setting: str) -> list[str]:
    """The keys of drafts in a setting that names pictures, however their weights are written."""
    return [match[0] for match in re.finditer(rf"(?<![\w/.-]){_KEY.pattern}", setting)]


def save(
    db: sa.Engine,
    store: Store,
    owner: str,
    png: bytes,
    *,
    width: int,
    height: int,
    address: str | None = None,
    quota: Quota = NO_QUOTA,
) -> Artefact:
    """Keep a picture in PNG for this visitor. The oldest ones go where there are too many, those of a day ago too.

    address: as an Artefact's. Raises TooManyBytesGiven, StoreFull, StoreUnavailable, BadValue, Erased.
    """
    artefact_id = new_id()
    key = f"drafts/{_folder(owner)}/{artefact_id}.png"
    picture = given.Picture(artefact_id, "draft", key, png, width, height)
    (made,) = given.save(db, store, [picture], giver=owner, address=address, quota=quota, kept_s=KEPT_S)
    _tidy(db, store, _folder(owner))
    return made


def get(db: sa.Engine, owner: str, key: str) -> Artefact:
    """The record of this visitor's draft. Raises UnknownArtefact where it is gone, or somebody else's."""
    row = None
    if is_of(key, owner):
        with reading(db) as conn:
            row = conn.execute(sa.select(*artefacts.c).where(artefacts.c.key == key)).one_or_none()
    if row is None:
        raise UnknownArtefact("The picture {picture} is not there any more; give it again.", picture=key)
    return Artefact(**row._mapping)


def is_of(key: str, owner: str) -> bool:
    """Whether this is the key of a draft of this visitor's."""
    match = _KEY.fullmatch(key)
    return match is not None and match[1] == _folder(owner)


def own_keys(owner: str) -> sa.ColumnElement[bool]:
    """Whether a record is that of a draft of this visitor's."""
    folder = f"drafts/{_folder(owner)}"
    return sa.and_(artefacts.c.key >= f"{folder}/", artefacts.c.key < f"{folder}0")


def _folder(owner: str) -> str:
    """What stands for a visitor in a key: their id is a secret. Raises BadValue for what no visitor is called."""
    check_text("visitor", owner, 128)
    return hashlib.sha256(owner.encode()).hexdigest()[:16]


def _tidy(db: sa.Engine, store: Store, folder: str) -> None:
    columns = (artefacts.c.key, artefacts.c.size, artefacts.c.created_at)
    with reading(db) as conn:
        now = clock(conn)
        # A key ends with the time of its making, but begins with whose it is.
        rows = conn.execute(sa.select(*columns).where(_DRAFTS).order_by(artefacts.c.id.desc())).all()
    too_old = {row.key for row in rows if row.created_at < now - KEPT_S}
    own = [row for row in rows if row.key.startswith(f"drafts/{folder}/")]
    beyond = _beyond(((row.key, row.size) for row in own), MAX_OWN, MAX_OWN_BYTES)
    beyond |= _beyond(((row.key, row.size) for row in rows), MAX_ALL, MAX_ALL_BYTES)
    for key in too_old | beyond:
        store.delete(key)  # the file first: a row without one is found again
        with writing(db) as conn:
            conn.execute(sa.delete(artefacts).where(artefacts.c.key == key))


def _beyond(newest_first: Iterable[tuple[str, int]], most: int, most_bytes: int) -> set[str]:
    """The keys of those that do not fit; the newest always does."""
    found, total = set(), 0
    for place, (key, size) in enumerate(newest_first):
        total += size
        if place and (place >= most or total > most_bytes):
            found.add(key)
    return found
