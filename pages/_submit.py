"""From a filled form to jobs in the queue."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from db import queue
from db.errors import TooManyQueued
from db.jobs import Job
from generator.params import JobParams, Params, validate, validate_job
from pages._widgets import Studio

MAX_PICTURES = 8


def submit(
    studio: Studio,
    *,
    visitor: str,
    engine: str,
    values: Mapping[str, Any],
    pictures: int = 1,
    parent_id: str | None = None,
    source_artefact_id: str | None = None,
) -> tuple[list[Job], str]:
    """Enqueue one job per picture: the given seed and those that follow it, or a random seed each.

    values: settings by name, seed None for random. Returns the jobs and a sentence about those that found no
    room in the queue, empty when all did. Raises BadParams, UnknownName, TooManyQueued when none did.
    """
    seed = values.get("seed")
    seeds = [secrets.randbelow(2**32) if seed is None else (seed + i) % 2**32 for i in range(pictures)]
    wanted = [validate(engine, {**values, "seed": one}) for one in seeds]
    jobs: list[Job] = []
    for params in wanted:
        try:
            jobs.append(_enqueue(studio, visitor, engine, params, parent_id, source_artefact_id))
        except TooManyQueued as error:
            if not jobs:
                raise
            return jobs, f"{len(jobs)} of {pictures} pictures are in the queue. {error}"
    return jobs, ""


def ask(studio: Studio, visitor: str, engine: str, values: Mapping[str, Any]) -> Job:
    """Enqueue one job of any engine. Raises BadParams, UnknownName, TooManyQueued."""
    return _enqueue(studio, visitor, engine, validate_job(engine, dict(values)), None, None)


def _enqueue(
    studio: Studio,
    visitor: str,
    engine: str,
    params: JobParams,
    parent_id: str | None,
    source_artefact_id: str | None,
) -> Job:
    return queue.enqueue(
        studio.db,
        engine=engine,
        checkpoint=params.loads[0],
        batch_key=params.batch_key,
        prompt=params.title,
        params=params.model_dump(mode="json"),
        total_steps=max(params.total_steps, 1),
        submitter=visitor,
        parent_id=parent_id,
        source_artefact_id=source_artefact_id,
        max_attempts=studio.settings.max_attempts,
        max_queued=studio.settings.max_queued_per_submitter,
    )


def run_again(studio: Studio, job: Job, visitor: str) -> Job:
    """The same settings, with a new seed where it draws, as a child of that job. Raises as `submit`."""
    params = validate_job(job.engine, job.params)
    if not isinstance(params, Params):
        return _enqueue(studio, visitor, job.engine, params, job.parent_id, job.source_artefact_id)
    jobs, _ = submit(studio, visitor=visitor, engine=job.engine, values={**job.params, "seed": None}, parent_id=job.id)
    return jobs[0]
