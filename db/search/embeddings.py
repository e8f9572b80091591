"""What a CLIP sees in the pictures of jobs that have succeeded, kept by executors; see db/schema/search.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from db.engine import reading, writing
from db.jobs import State, is_id
from db.schema import artefacts, embeddings, jobs


@dataclass(frozen=True)
class Unseen:
    """A job that has succeeded and that no executor has looked at. key: of its picture; None where it has none, or was
    deleted."""

    job_id: str
    key: str | None


def save(db: sa.Engine, space: str, vectors: Mapping[str, bytes | None]) -> int:
    """Keep what is seen in the pictures of these jobs, by their ids; how many are new.

    A vector is (D,) float16; None: there is nothing to be seen. What is known already stays, and of a deleted job
    nothing is kept.
    """
    wanted = sorted(job_id for job_id in vectors if is_id(job_id))
    # Not lasting: what a power cut takes is found missing, and looked at again.
    with writing(db, lasting=False) as conn:
        found = sa.select(jobs.c.id, jobs.c.deleted_at).where(jobs.c.id.in_(wanted), jobs.c.state == State.SUCCEEDED)
        left = {row.id: row.deleted_at is None for row in conn.execute(found.order_by(jobs.c.id).with_for_update())}
        known = sa.select(embeddings.c.job_id).where(embeddings.c.space == space, embeddings.c.job_id.in_(wanted))
        new = sorted(left.keys() - set(conn.scalars(known)))
        if new:
            rows = [{"job_id": one, "space": space, "vector": vectors[one] if left[one] else None} for one in new]
            conn.execute(sa.insert(embeddings), rows)
    return len(new)


def of_job(db: sa.Engine, space: str, job_id: str) -> bytes | None:
    """The vector of this job's picture; None where it was not looked at, or there is nothing to be seen."""
    if not is_id(job_id):
        return None
    with reading(db) as conn:
        one = sa.select(embeddings.c.vector).where(embeddings.c.job_id == job_id, embeddings.c.space == space)
        vector: bytes | None = conn.scalar(one)
    return vector


def unseen(db: sa.Engine, space: str, *, before_id: str | None, look: int = 500) -> tuple[Sequence[Unseen], str | None]:
    """Those of the next `look` jobs before this one, newest first, that were not looked at; and where to go on.

    before_id: None for the newest. The second is None at the end of all jobs.
    """
    window = sa.select(jobs.c.id).where(jobs.c.state == State.SUCCEEDED).order_by(jobs.c.id.desc()).limit(look)
    if before_id is not None:
        window = window.where(jobs.c.id < before_id)
    with reading(db) as conn:
        ids = conn.scalars(window).all()
        if not ids:
            return (), None
        seen = sa.select(embeddings.c.job_id).where(embeddings.c.space == space, embeddings.c.job_id.in_(ids))
        new = [job_id for job_id in ids if job_id not in set(conn.scalars(seen))]
        pictures = sa.select(artefacts.c.job_id, artefacts.c.key).where(
            artefacts.c.job_id.in_(new), artefacts.c.kind == "picture"
        )
        keys = {row.job_id: row.key for row in conn.execute(pictures)} if new else {}
    return [Unseen(job_id, keys.get(job_id)) for job_id in new], ids[-1]


def counts(conn: sa.Connection, space: str) -> tuple[int, int]:
    """How many rows there are, and how many finished pictures were not looked at yet. Read from two narrow indexes."""
    done = conn.scalar(sa.select(sa.func.count()).where(jobs.c.state == State.SUCCEEDED)) or 0
    seen = conn.scalar(sa.select(sa.func.count()).where(embeddings.c.space == space)) or 0
    return seen, max(0, done - seen)


def blank(conn: sa.Connection, job_id: str) -> None:
    """In the transaction that deletes a job: of what was seen in its picture stays that it was looked at."""
    gone = sa.delete(embeddings).where(embeddings.c.job_id == job_id).returning(embeddings.c.space)
    if spaces := conn.scalars(gone).all():
        conn.execute(sa.insert(embeddings), [{"job_id": job_id, "space": space, "vector": None} for space in spaces])
