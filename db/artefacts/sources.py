"""Whether something new may be made from a picture of the studio: asked before a job is queued and when it starts."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from db import artefacts
from db.engine import reading
from db.errors import SourceHidden, UnknownArtefact
from db.jobs import check_text
from db.schema import artefacts as artefacts_table
from db.schema import jobs


def check(db: sa.Engine, store: artefacts.Store, references: Iterable[str]) -> None:
    """Raises UnknownArtefact where a picture is not there any more, SourceHidden where the host took it out.

    references: keys of pictures or ids of their records. What is hidden is gone for whoever drew it as well: a
    variation would bring it back to the wall. The host can show it again first.
    """
    for reference in references:
        key_of(db, store, reference)


def hashes(db: sa.Engine, references: Iterable[str]) -> dict[str, str]:
    """sha256 in hex of each picture's file, as it was when it was kept; what has no record is left out."""
    table, wanted = artefacts_table, list(dict.fromkeys(references))
    if not wanted:
        return {}
    named = sa.or_(table.c.key.in_(wanted), table.c.id.in_(wanted))
    with reading(db) as conn:
        rows = conn.execute(sa.select(table.c.key, table.c.id, table.c.sha256).where(named)).all()
    found = {name: row.sha256 for row in rows for name in (row.key, row.id)}
    return {reference: found[reference] for reference in wanted if reference in found}


def key_of(db: sa.Engine, store: artefacts.Store, reference: str) -> str:
    """The key of one such picture. Raises as `check`, and BadValue for what can be neither key nor id."""
    check_text("picture's key or id", reference)
    table = artefacts_table
    named = table.c.key == reference if "/" in reference else table.c.id == reference
    found = sa.select(table.c.key, jobs.c.hidden).join(jobs, jobs.c.id == table.c.job_id, isouter=True)
    with reading(db) as conn:
        row = conn.execute(found.where(named)).first()
    if row is not None and row.hidden:
        raise SourceHidden
    key = reference if "/" in reference else None if row is None else row.key
    if key is None or not store.exists(key):
        raise UnknownArtefact(
            "A picture this is made from ({picture}) is not in the store; choose another one.", picture=reference
        )
    return key
