"""From a wish, checked once, to jobs in the queue; and their end before their time."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from db import queue
from db.artefacts import sources
from db.errors import SourceHidden
from db.jobs import Job
from db.queue import NewJob
from db.sheets import submissions
from db.sheets.submissions import Submission
from generator.params import JobParams, Params, validate, validate_job
from studio.context import Studio, Submitter

MAX_PICTURES = 8

Wanted = Sequence[tuple[str, NewJob]]  # jobs of one sheet, each with its label, not yet queued


def submit(
    studio: Studio,
    submitter: Submitter,
    engine: str,
    values: Mapping[str, Any],
    *,
    pictures: int = 1,
    parent_id: str | None = None,
    source_artefact_id: str | None = None,
) -> list[Job]:
    """Enqueue one job per picture: the given seed and those that follow it, or a random seed each.

    values: settings by name, seed None for random. Several are candidates of one sheet, and all of them find room in
    the queue or none does. Raises BadParams, UnknownName, TooManyQueued; UnknownArtefact or SourceHidden where a
    picture to start from is not there any more. So do the others that start from one.
    """
    of = {"parent_id": parent_id, "source_artefact_id": source_artefact_id}
    wanted = candidates_of(studio, engine, values, pictures, **of)
    if pictures == 1:
        return [enqueue(studio, submitter, wanted[0][1])]
    return submit_sheet(studio, submitter, "candidates", wanted[0][1].prompt, wanted)[1]


def candidates_of(
    studio: Studio,
    engine: str,
    values: Mapping[str, Any],
    pictures: int,
    *,
    parent_id: str | None = None,
    source_artefact_id: str | None = None,
) -> list[tuple[str, NewJob]]:
    """Pictures of one prompt with their labels, a seed each, not yet queued. Raises BadParams, UnknownName."""
    made = [validate(engine, {**values, "seed": seed}) for seed in seeds(values.get("seed"), pictures)]
    check_sources(studio, made[0])
    return [
        (f"seed {params.seed}", new_job(studio, engine, params, parent_id=parent_id, source=source_artefact_id))
        for params in made
    ]


def ask(studio: Studio, submitter: Submitter, engine: str, values: Mapping[str, Any]) -> Job:
    """Enqueue one job of any engine. Raises BadParams, UnknownName, TooManyQueued."""
    return enqueue(studio, submitter, new_job(studio, engine, validate_job(engine, dict(values))))


def run_again(studio: Studio, submitter: Submitter, job: Job) -> Job:
    """The same settings, with a new seed where it draws, as a child of that job. Raises as `submit`."""
    if queue.get(studio.db, job.id).hidden:  # by now, and for its owner as well: it would be there again
        raise SourceHidden
    params = validate_job(job.engine, job.params)
    if isinstance(params, Params):
        return submit(studio, submitter, job.engine, {**job.params, "seed": None}, parent_id=job.id)[0]
    check_sources(studio, params)
    new = new_job(studio, job.engine, params, title=job.prompt, parent_id=job.parent_id, source=job.source_artefact_id)
    return enqueue(studio, submitter, new)


def cancel(studio: Studio, submitter: Submitter, job_id: str) -> Job:
    """Their own job ends: at once where it waits. Raises UnknownJob, and NotYours for a job of somebody else's."""
    return queue.request_cancel(studio.db, job_id, submitter=submitter.id)


def new_drawing(studio: Studio, engine: str, values: Mapping[str, Any]) -> NewJob:
    """A drawing with these settings, not yet queued. Raises BadParams, UnknownName."""
    return new_job(studio, engine, validate(engine, dict(values)))


def new_job(
    studio: Studio,
    engine: str,
    params: JobParams,
    *,
    title: str | None = None,
    parent_id: str | None = None,
    source: str | None = None,
) -> NewJob:
    """A job with these parameters, not yet queued. source: the id of the artefact it is made from."""
    return NewJob(
        engine=engine,
        checkpoint=params.loads[0],
        batch_key=params.batch_key,
        prompt=params.title if title is None else title,
        params=params.model_dump(mode="json"),
        total_steps=max(params.total_steps, 1),
        parent_id=parent_id,
        source_artefact_id=source,
        max_attempts=studio.settings.max_attempts,
    )


def enqueue(studio: Studio, submitter: Submitter, new: NewJob) -> Job:
    """Queue a job. Raises Banned, EngineWithheld, WordRefused, TooManyQueued, TooManyThisHour."""
    return queue.enqueue(studio.db, submitter=submitter.id, **vars(new), **vars(studio.limits))


def submit_sheet(
    studio: Studio,
    submitter: Submitter,
    kind: str,
    prompt: str,
    wanted: Wanted,
    layout: Mapping[str, Any] | None = None,
) -> tuple[Submission, list[Job]]:
    """Queue labelled jobs as one sheet, all of them or none. Raises TooManyQueued."""
    return submissions.submit(
        studio.db,
        kind=kind,
        prompt=prompt,
        submitter=submitter.id,
        wanted=wanted,
        layout=layout,
        **vars(studio.limits),
    )


def check_sources(studio: Studio, params: JobParams) -> None:
    """Raises UnknownArtefact, SourceHidden where a picture that a job starts from is not there any more."""
    sources.check(studio.db, studio.store, params.sources)


def seeds(first: int | None, count: int) -> list[int]:
    """This many seeds: the first one and those that follow it, or random ones."""
    return [secrets.randbelow(2**32) if first is None else (first + i) % 2**32 for i in range(count)]
