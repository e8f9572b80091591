"""The rows that describe the files which jobs have made and visitors have uploaded.

The database holds keys, sizes and hashes, never paths; a key is made from ids, never from a prompt.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from db.artefacts.store import Store, checked, hash_of
from db.engine import clock, reading, writing
from db.errors import BadValue, Erased, LeaseLost, StoreUnavailable, UnknownArtefact
from db.jobs import ENDED, ID, is_id, new_id
from db.queue.transitions import check_held
from db.schema import artefacts, erasures, jobs

PASSING = ("preview",)  # replaced every second while a job runs: a power cut may take or tear the last one
_ID_IN_KEY = re.compile(rf"(?<=/){ID.pattern}(?=\.)")
KINDS = (
    *("picture", "preview", "thumbnail", "gif", "mp4", "webp", "json", "result", "state", "upload", "draft", "sheet"),
    *("model", "card", "history", "curves", "samples", "tensorboard"),  # of a run that trains a model
)


@dataclass(frozen=True)
class Artefact:
    """One row of `artefacts`: size in bytes, width and height in px where it is an image or a film.

    giver, address: who sent it here and from where, as studio.context.Submitter has them; None for what a job has made.
    due_at: when it goes unless a job names it, in UTC s; None: it stays.
    """

    id: str
    job_id: str | None
    kind: str
    key: str
    media_type: str
    size: int
    sha256: str
    width: int | None
    height: int | None
    created_at: float
    giver: str | None = None
    address: str | None = None
    due_at: float | None = None


def key_for(job_id: str, kind: str, ext: str, attempt: str | None = None) -> str:
    """The key of a job's file: jobs/<id>/<attempt>/picture.png, or jobs/<id>/picture.png without an attempt."""
    _check_kind(kind)
    return checked(f"jobs/{job_id}/{kind}.{ext}" if attempt is None else f"jobs/{job_id}/{attempt}/{kind}.{ext}")


def upload_key(artefact_id: str, ext: str = "png") -> str:
    """The key of an uploaded image, e.g. uploads/<id>.png."""
    return checked(f"uploads/{artefact_id}.{ext}")


def save(
    db: sa.Engine,
    store: Store,
    *,
    job_id: str | None,
    kind: str,
    data: bytes,
    media_type: str,
    ext: str,
    width: int | None = None,
    height: int | None = None,
    artefact_id: str | None = None,
    held_by: str | None = None,
    attempt: str | None = None,
    giver: str | None = None,
    address: str | None = None,
    path: Path | None = None,
) -> Artefact:
    """Put the bytes under the key made from the ids, then record them. The usual way to keep a file.

    path: of the bytes, where they are too many to hold; `data` is empty then.
    artefact_id: where the key of an upload was made from it already. giver, address: as an Artefact's. held_by: the
    executor that keeps a file of a job it holds. Raises LeaseLost where it does not hold it any more: nothing is
    recorded then, and nothing is put unless the job was lost during this very call. attempt: the name of this attempt
    at the job, so that whoever lost the job during the call has written over nobody's file; its own goes again. Raises
    Erased where everything was deleted meanwhile.
    """
    _check_kind(kind)
    artefact_id = artefact_id or new_id()
    key = upload_key(artefact_id, ext) if job_id is None else key_for(job_id, kind, ext, attempt)
    if job_id is not None and held_by is not None:
        with reading(db) as conn:
            check_held(conn, job_id, held_by)
    before = None if attempt is None or job_id is None else of_job(db, job_id).get(kind)
    if path is not None:
        size, sha256 = path.stat().st_size, hash_of(path)
        store.put_file(key, path)
    else:
        size, sha256 = len(data), hashlib.sha256(data).hexdigest()
        (store.put_passing if kind in PASSING else store.put)(key, data)
    try:
        made = record(
            db,
            job_id=job_id,
            kind=kind,
            key=key,
            media_type=media_type,
            size=size,
            sha256=sha256,
            width=width,
            height=height,
            artefact_id=artefact_id,
            held_by=held_by,
            giver=giver,
            address=address,
        )
    except (LeaseLost, Erased):
        if attempt is not None and job_id is not None:
            _drop_unnamed(db, store, job_id, [key])
        elif _is_nobodys(db, job_id, key):
            store.delete(key)
        raise
    if before is not None and before.key != key and job_id is not None:
        _drop_unnamed(db, store, job_id, [before.key])
    return made


def tidy(db: sa.Engine, store: Store, job_id: str) -> None:
    """Delete what attempts at a job have put into the store and never recorded, and what they have not put whole: they
    were killed in between, or the store took nothing more. For a job that has ended. Raises StoreUnavailable."""
    named = {one.key for one in of_job(db, job_id).values()}
    store.remove([name for name in store.names(f"jobs/{job_id}") if name not in named])


def _drop_unnamed(db: sa.Engine, store: Store, job_id: str, keys: list[str]) -> None:
    named = {one.key for one in of_job(db, job_id).values()}
    for key in keys:
        if key not in named:
            with suppress(StoreUnavailable):  # found by `tidy` when the job has ended
                store.delete(key)


def _is_nobodys(db: sa.Engine, job_id: str | None, key: str) -> bool:
    """Whether nobody will miss what was put under this key: its job is gone, or has ended without it."""
    if job_id is None:
        return True
    with reading(db) as conn:
        job = conn.execute(sa.select(jobs.c.state, jobs.c.deleted_at).where(jobs.c.id == job_id)).one_or_none()
        if job is None or job.deleted_at is not None:
            return True
        noted = conn.scalar(sa.select(artefacts.c.id).where(artefacts.c.key == key))
    return job.state in ENDED and noted is None


def record(
    db: sa.Engine,
    *,
    job_id: str | None,
    kind: str,
    key: str,
    media_type: str,
    data: bytes | None = None,
    size: int | None = None,
    sha256: str | None = None,
    width: int | None = None,
    height: int | None = None,
    artefact_id: str | None = None,
    held_by: str | None = None,
    giver: str | None = None,
    address: str | None = None,
) -> Artefact:
    """Note a stored file; give its bytes, or its size and sha256. A job has one of each kind: the newest.

    held_by: as in `save`; raises LeaseLost, Erased.
    """
    _check_kind(kind)
    checked(key)
    if data is not None:
        size, sha256 = len(data), hashlib.sha256(data).hexdigest()
    if size is None or sha256 is None:
        raise BadValue(f"The artefact {key!r} needs its bytes, or its size and sha256.")
    values = {
        "key": key,
        "media_type": media_type,
        "size": size,
        "sha256": sha256,
        "width": width,
        "height": height,
        "giver": giver,
        "address": address,
    }
    with writing(db, lasting=kind not in PASSING) as conn:
        if job_id is not None and held_by is not None:
            # In the same transaction: an executor may be paused between putting the bytes and this.
            check_held(conn, job_id, held_by, keep=True)
        if job_id is None:
            _check_not_erased(conn, key)
        values["created_at"] = clock(conn)
        row = None
        if job_id is not None:
            row = conn.execute(
                sa.update(artefacts)
                .where(artefacts.c.job_id == job_id, artefacts.c.kind == kind)
                .values(**values)
                .returning(*artefacts.c)
            ).one_or_none()
        if row is None:
            new = {"id": artefact_id or new_id(), "job_id": job_id, "kind": kind, **values}
            row = conn.execute(sa.insert(artefacts).values(**new).returning(*artefacts.c)).one()
    return Artefact(**row._mapping)


def _check_not_erased(conn: sa.Connection, key: str) -> None:
    """Raises Erased for what was put before everything was deleted, by somebody who was paused since."""
    last = conn.scalar(sa.select(sa.func.max(erasures.c.stamp)).where(erasures.c.job_id.is_(None)))
    made = _ID_IN_KEY.search(key)
    if last is not None and made is not None and made[0] < last:
        raise Erased


def get(db: sa.Engine, artefact_id: str) -> Artefact:
    """The record with this id. Raises UnknownArtefact."""
    row = None
    if is_id(artefact_id):
        with reading(db) as conn:
            row = conn.execute(sa.select(*artefacts.c).where(artefacts.c.id == artefact_id)).one_or_none()
    if row is None:
        raise UnknownArtefact("There is no artefact with the id {id!r}.", id=artefact_id)
    return Artefact(**row._mapping)


def of_job(db: sa.Engine, job_id: str) -> dict[str, Artefact]:
    """A job's files by kind; empty where it has none yet."""
    return of_jobs(db, [job_id])[job_id]


def of_jobs(db: sa.Engine, job_ids: list[str]) -> dict[str, dict[str, Artefact]]:
    """The files of each of a page of jobs, by job and kind, in one query."""
    found: dict[str, dict[str, Artefact]] = {job_id: {} for job_id in job_ids}
    with reading(db) as conn:
        for row in conn.execute(_OF_JOBS, {"job_ids": list(job_ids)}):
            found[row.job_id][row.kind] = Artefact(**row._mapping)
    return found


# Made once: making a statement takes longer than running it.
_OF_JOBS = sa.select(*artefacts.c).where(artefacts.c.job_id.in_(sa.bindparam("job_ids", expanding=True)))


def left_by_ended_jobs(db: sa.Engine, kind: str, *, limit: int) -> list[str]:
    """The ids of jobs that have ended and still have a file of this kind."""
    with reading(db) as conn:
        left = sa.select(artefacts.c.job_id).join(jobs, jobs.c.id == artefacts.c.job_id)
        return list(conn.scalars(left.where(artefacts.c.kind == kind, jobs.c.state.in_(ENDED)).limit(limit)))


def discard(db: sa.Engine, store: Store, *, job_id: str, kind: str) -> None:
    """Delete a job's file and forget it, e.g. the saved state of a job that has ended.

    Raises StoreUnavailable where the store does not delete: it is not forgotten then, so that the file is found again.
    """
    with reading(db) as conn:
        one = sa.and_(artefacts.c.job_id == job_id, artefacts.c.kind == kind)
        key = conn.scalar(sa.select(artefacts.c.key).where(one))
    if key is None:
        return
    store.delete(key)
    with writing(db) as conn:
        conn.execute(sa.delete(artefacts).where(one, artefacts.c.key == key))


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise BadValue(f"{kind!r} is no kind of artefact; permitted: {', '.join(KINDS)}.")
