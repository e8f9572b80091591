"""Pictures that somebody gave, as the settings of jobs name them: whose they are, and the settings without them.

A finished picture may be named by anybody who sees it; a picture that was sent along is its giver's alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from db.artefacts.drafts import own_keys
from db.artefacts.records import Artefact
from db.engine import reading
from db.jobs import Job, is_id, microseconds, oldest_id
from db.schema import artefacts, jobs

KINDS = ("upload", "draft")
SETTINGS = ("init_image", "mask_image", "image_prompts", "picture", "pictures")  # that name pictures
_SLACK_S = 3600.0  # by which the clocks of two processes may differ
_AT_ONCE = 500
# A key, or the id of a record, however weights and brackets stand around it.
_NAMED = re.compile(r"(?<![\w./-])(?:[A-Za-z0-9_-][\w.-]*(?:/[A-Za-z0-9_-][\w.-]*)+|[0-9a-f]{26})(?![\w/-])")
_OF_GIVEN = ("uploads/", "drafts/")  # how their keys begin


def named_in(params: Mapping[str, Any]) -> list[str]:
    """Keys and ids of all pictures that these settings name."""
    found: list[str] = []
    for name in SETTINGS:
        value = params.get(name)
        for text in value if isinstance(value, list | tuple) else [value]:
            if isinstance(text, str):
                found += _NAMED.findall(text)
    return list(dict.fromkeys(found))


def given_among(db: sa.Engine, references: Iterable[str]) -> dict[str, Artefact | None]:
    """Those of these keys and ids that name a picture somebody gave, with its record; None where that is gone."""
    wanted = list(dict.fromkeys(references))
    # Where a store takes upper and lower case for the same, another spelling of a key leads to the same picture.
    found: dict[str, Artefact | None] = {one: None for one in wanted if one.lower().startswith(_OF_GIVEN)}
    keys, ids = list(found), [one for one in wanted if is_id(one)]
    for column, names in ((artefacts.c.key, keys), (artefacts.c.id, ids)):
        for i in range(0, len(names), _AT_ONCE):
            with reading(db) as conn:
                rows = conn.execute(
                    sa.select(*artefacts.c).where(column.in_(names[i : i + _AT_ONCE]), artefacts.c.kind.in_(KINDS))
                ).all()
            for row in rows:
                record = Artefact(**row._mapping)
                found[record.key if column is artefacts.c.key else record.id] = record
    return found


def without(params: Mapping[str, Any], references: Collection[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The settings without these pictures, and which of them named one. Others that a setting names as well stay."""
    kept, changed = dict(params), []
    for name in SETTINGS:
        value = params.get(name)
        if isinstance(value, str):
            parts = [part for part in value.split("|") if not _names(part, references)]
            left: Any = "|".join(parts).strip()
            if name != "image_prompts":
                left = left or None
        elif isinstance(value, list | tuple):
            left = [one for one in value if not _names(str(one), references)]
            parts = left
        else:
            continue
        if len(parts) < len(value.split("|") if isinstance(value, str) else value):
            kept[name] = left
            changed.append(name)
    return kept, tuple(changed)


def of_jobs_without(db: sa.Engine, some: Sequence[Job]) -> dict[str, dict[str, Any]]:
    """The settings of each of these jobs as anybody may see them: without the pictures that were given with it."""
    named = {job.id: named_in(job.params) for job in some}
    private = given_among(db, [one for names in named.values() for one in names])
    return {job.id: without(job.params, [one for one in named[job.id] if one in private])[0] for job in some}


def _names(text: str, references: Collection[str]) -> bool:
    return any(one in references for one in _NAMED.findall(text))


def giver_of(db: sa.Engine, picture: Artefact) -> str | None:
    """Who gave it; of one that was kept before that was noted, who first asked for something with it."""
    if picture.giver is not None:
        return picture.giver
    with reading(db) as conn:
        first = sa.select(jobs.c.submitter).where(*_names_it(picture)).order_by(jobs.c.id).limit(1)
        return conn.scalar(first)


def jobs_with(db: sa.Engine, picture: Artefact, *, besides: str | None = None) -> list[str]:
    """The ids of the jobs, but for `besides`, whose settings name it, in their order; deleted ones name nothing."""
    with reading(db) as conn:
        of = [jobs.c.submitter == picture.giver] if picture.giver is not None else []
        found = sa.select(jobs.c.id).where(*_names_it(picture), *of).order_by(jobs.c.id)
        return [job_id for job_id in conn.scalars(found) if job_id != besides]


def _names_it(picture: Artefact) -> tuple[sa.ColumnElement[bool], ...]:
    """Its key holds its id, so that is found however it is named; an upload is older than what is made from it."""
    since = oldest_id(microseconds(picture.id) / 1e6 - _SLACK_S)
    return jobs.c.id >= since, sa.cast(jobs.c.params, sa.Text).contains(picture.id)


def of_giver(db: sa.Engine, giver: str, *, limit: int) -> list[Artefact]:
    """The pictures somebody has given, the newest first, those for a form included."""
    table = artefacts
    theirs = sa.or_(table.c.giver == giver, own_keys(giver))
    with reading(db) as conn:
        rows: Sequence[Any] = conn.execute(
            sa.select(*table.c).where(theirs, table.c.kind.in_(KINDS)).order_by(table.c.id.desc()).limit(limit)
        ).all()
    return [Artefact(**row._mapping) for row in rows]
