"""Models that jobs have trained, or that were brought as a file, by the names they are drawn with (KIND/NAME).

Executors look here for what they have not got, and fetch it from the store; pages list what is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from characters.brief import Term
from db.artefacts.records import upload_key
from db.artefacts.store import Store, hash_of
from db.engine import clock, reading, writing
from db.errors import Erased, NameTaken, UnknownJob
from db.evening import erasures
from db.jobs import LIVE, new_id
from db.schema import artefacts, jobs, trained_models

MAX_ALIKE = 1000


@dataclass(frozen=True)
class TrainedModel:
    """One row. name: as a job's checkpoint says it, KIND/NAME. key, sha256, bytes: of its file in the store, one
    .safetensors or a .zip of several. job_id: the run, None where it was brought as a file. created_at: in UTC s.

    card: data, licence, recipe, hardware, minutes and scores, plain values.
    """

    name: str
    kind: str
    job_id: str | None
    key: str
    sha256: str
    bytes: int
    licence: str
    submitter: str
    created_at: float
    card: dict[str, Any]


def add(
    db: sa.Engine,
    *,
    name: str,
    job_id: str | None,
    key: str,
    sha256: str,
    size: int,
    licence: str,
    submitter: str,
    card: dict[str, Any],
) -> TrainedModel:
    """Make a model known. Where another job's has this name it becomes NAME-2, NAME-3, ...: no run is lost by a name.

    The same job again replaces its own. Raises NameTaken where there are too many alike, UnknownJob where the job
    was deleted meanwhile.
    """
    with writing(db) as conn:
        if job_id is not None:
            # Held, so that whoever deletes the run meanwhile finds its model, or the model finds no run.
            if conn.execute(sa.select(jobs.c.id).where(jobs.c.id == job_id).with_for_update()).first() is None:
                raise UnknownJob(job_id)
            conn.execute(sa.delete(trained_models).where(trained_models.c.job_id == job_id))
        names = [name, *(f"{name}-{n}" for n in range(2, MAX_ALIKE))]
        taken = set(
            conn.scalars(
                sa.select(trained_models.c.name).where(trained_models.c.name.startswith(name, autoescape=True))
            )
        )
        free = next((one for one in names if one not in taken), None)
        if free is None:
            raise NameTaken(name, Term("too many models"))
        values = {
            "name": free,
            "kind": name.partition("/")[0],
            "job_id": job_id,
            "key": key,
            "sha256": sha256,
            "bytes": size,
            "licence": licence,
            "submitter": submitter,
            "created_at": clock(conn),
            "card": {**card, "name": free},
        }
        row = conn.execute(sa.insert(trained_models).values(**values).returning(*trained_models.c)).one()
    return TrainedModel(**row._mapping)


def bring(
    db: sa.Engine,
    store: Store,
    file: Path,
    *,
    name: str,
    licence: str,
    submitter: str,
    card: dict[str, Any],
) -> TrainedModel:
    """Keep a model that came as a file and make it known, or nothing of it.

    Its bytes are an artefact of no job, which is backed up and erased as all are. Raises NameTaken, StoreFull,
    StoreUnavailable, Erased, and OSError where the file cannot be read.
    """
    artefact_id = new_id()
    key, size, sha256 = upload_key(artefact_id, "safetensors"), file.stat().st_size, hash_of(file)
    try:
        store.put_file(key, file)
        with writing(db) as conn:
            now = clock(conn)
            about = {"key": key, "sha256": sha256, "created_at": now}
            told = {"id": artefact_id, "kind": "model", "media_type": "application/octet-stream", "size": size}
            conn.execute(sa.insert(artefacts).values(**told, **about))
            if conn.scalar(sa.select(trained_models.c.name).where(trained_models.c.name == name)) is not None:
                raise NameTaken(name, Term("a model"))  # brought in this moment, by somebody else
            values = {
                **{"name": name, "kind": name.partition("/")[0], "bytes": size, "licence": licence},
                **{"submitter": submitter, "card": {**card, "name": name}, **about},
            }
            row = conn.execute(sa.insert(trained_models).values(**values).returning(*trained_models.c)).one()
            erased = erasures.of_everything(conn)
            if erased is not None and erased.covers(key):
                raise Erased
    except sa.exc.IntegrityError:
        store.delete(key)
        raise NameTaken(name, Term("a model")) from None
    except BaseException:
        store.delete(key)
        raise
    return TrainedModel(**row._mapping)


def find(db: sa.Engine, name: str) -> TrainedModel | None:
    """The model of this name, KIND/NAME; None where no run has made one."""
    with reading(db) as conn:
        row = conn.execute(sa.select(*trained_models.c).where(trained_models.c.name == name)).one_or_none()
    return None if row is None else TrainedModel(**row._mapping)


def of_job(db: sa.Engine, job_id: str) -> TrainedModel | None:
    """What a run has made; None where there is nothing yet."""
    with reading(db) as conn:
        row = conn.execute(sa.select(*trained_models.c).where(trained_models.c.job_id == job_id)).one_or_none()
    return None if row is None else TrainedModel(**row._mapping)


def listed(db: sa.Engine, kind: str | None = None) -> list[TrainedModel]:
    """The models there are, of one kind or of all, the newest first."""
    found = sa.select(*trained_models.c).order_by(trained_models.c.created_at.desc(), trained_models.c.name)
    if kind is not None:
        found = found.where(trained_models.c.kind == kind)
    with reading(db) as conn:
        return [TrainedModel(**row._mapping) for row in conn.execute(found)]


def check_free(db: sa.Engine, name: str, *, batch_key: str) -> None:
    """Raises NameTaken where a model is called so, KIND/NAME, or a run that is not over makes one: asked before a run
    is queued. batch_key: of such runs, by which they are found."""
    with reading(db) as conn:
        if conn.scalar(sa.select(trained_models.c.name).where(trained_models.c.name == name)) is not None:
            raise NameTaken(name, Term("a model"))
        running = sa.select(jobs.c.id).where(jobs.c.state.in_(LIVE), jobs.c.batch_key == batch_key)
        if conn.scalar(running.limit(1)) is not None:
            raise NameTaken(name, Term("a run that is not over"))


def of_key(db: sa.Engine, key: str) -> TrainedModel | None:
    """The model whose file has this key; None where there is none, or none any more."""
    with reading(db) as conn:
        row = conn.execute(sa.select(*trained_models.c).where(trained_models.c.key == key)).one_or_none()
    return None if row is None else TrainedModel(**row._mapping)


def remove(db: sa.Engine, store: Store, name: str) -> TrainedModel | None:
    """Remove a model that was brought as a file, with the file; one that a run has made goes with its run. What it was,
    None where there is none. Executors remove what they have of it. Raises StoreUnavailable."""
    brought = trained_models.c.name == name, trained_models.c.job_id.is_(None)
    with reading(db) as conn:
        key = conn.scalar(sa.select(trained_models.c.key).where(*brought))
    if key is None:
        return None
    store.delete(key)  # the file first: a row without one is found again
    with writing(db) as conn:
        conn.execute(sa.delete(artefacts).where(artefacts.c.key == key))
        gone = sa.delete(trained_models).where(*brought).returning(*trained_models.c)
        row = conn.execute(gone).one_or_none()
        if row is not None:
            erasures.note(conn, key.rpartition("/")[2].partition(".")[0])
    return None if row is None else TrainedModel(**row._mapping)
