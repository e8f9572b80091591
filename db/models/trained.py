"""Models that jobs have trained, by the names they are drawn with (KIND/NAME).

Executors look here for what they have not got, and fetch it from the store; pages list what is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from db.engine import clock, reading, writing
from db.errors import NameTaken, UnknownJob
from db.jobs import LIVE
from db.schema import jobs, trained_models

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
            raise NameTaken(name, "too many models")
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
            raise NameTaken(name, "a model")
        running = sa.select(jobs.c.id).where(jobs.c.state.in_(LIVE), jobs.c.batch_key == batch_key)
        if conn.scalar(running.limit(1)) is not None:
            raise NameTaken(name, "a run that is not over")


def remove(db: sa.Engine, name: str) -> TrainedModel | None:
    """Forget a model; its file stays with its job. What it was, None where there is none."""
    with writing(db) as conn:
        gone = sa.delete(trained_models).where(trained_models.c.name == name).returning(*trained_models.c)
        row = conn.execute(gone).one_or_none()
    return None if row is None else TrainedModel(**row._mapping)
