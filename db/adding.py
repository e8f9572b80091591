"""Jobs into the queue: one, or a set that is taken whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from db.engine import clock
from db.errors import BadValue, TooManyQueued, UnknownJob
from db.jobs import Job, State, check_text, new_id, normalise
from db.schema import jobs
from db.transitions import note


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """What a job is asked to do. batch_key: jobs with the same key can share a batch."""

    engine: str
    checkpoint: str
    batch_key: str
    prompt: str
    params: Mapping[str, Any]
    total_steps: int
    priority: int = 0
    parent_id: str | None = None
    source_artefact_id: str | None = None
    max_attempts: int = 3

    def check(self) -> None:
        """Raises BadValue for what no database can hold."""
        for name, text, longest in (
            ("engine", self.engine, 64),
            ("checkpoint", self.checkpoint, 128),
            ("batch_key", self.batch_key, 255),
            ("prompt", self.prompt, None),
        ):
            check_text(name, text, longest)
        for name, number in (("total_steps", self.total_steps), ("max_attempts", self.max_attempts)):
            if number < 1:
                raise BadValue(f"{name} is {number}; at least 1 is needed.")
        try:
            json.dumps(dict(self.params), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise BadValue(f"The parameters are no JSON: {error}.") from None


# Statements are made once: making one takes longer than running it.
_ADD = sa.insert(jobs)
_WAITING_OF = sa.select(sa.func.count()).where(
    jobs.c.submitter == sa.bindparam("submitter"), jobs.c.state == State.QUEUED
)


def add(conn: sa.Connection, wanted: Sequence[NewJob], submitter: str, max_queued: int | None) -> list[Job]:
    """Put checked jobs at the end of the submitter's line, in this order, in the caller's transaction.

    max_queued: most jobs the submitter may have waiting. Raises TooManyQueued, or UnknownJob for a parent that does
    not exist; then the transaction must not be committed.
    """
    if max_queued is not None:
        _check_room(conn, submitter, max_queued, len(wanted))
    for parent_id in {new.parent_id for new in wanted} - {None}:
        assert parent_id is not None
        if conn.scalar(sa.select(jobs.c.id).where(jobs.c.id == parent_id)) is None:
            raise UnknownJob(parent_id)
    now = clock(conn)
    made = [
        Job(
            id=new_id(),
            engine=new.engine,
            checkpoint=new.checkpoint,
            batch_key=new.batch_key,
            prompt=new.prompt,
            params=dict(new.params),
            state=State.QUEUED,
            priority=new.priority,
            submitter=submitter,
            attempt=1,
            max_attempts=new.max_attempts,
            step=0,
            total_steps=new.total_steps,
            history=[],
            cancel_requested=False,
            hidden=False,
            parent_id=new.parent_id,
            source_artefact_id=new.source_artefact_id,
            created_at=now,
        )
        for new in wanted
    ]
    for job in made:
        conn.execute(_ADD, vars(job) | {"prompt_search": normalise(job.prompt)})
        note(conn, job.id, State.QUEUED, at=job.created_at)
    return made


def _check_room(conn: sa.Connection, submitter: str, max_queued: int, wanted: int) -> None:
    if conn.dialect.name == "postgresql":
        # One submitter's requests one after the other, so that two at once cannot both take the last place.
        conn.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(submitter, 0))))
    waiting = conn.scalar(_WAITING_OF, {"submitter": submitter}) or 0
    if waiting + wanted > max_queued:
        raise TooManyQueued(max_queued, wanted=wanted, waiting=waiting)
