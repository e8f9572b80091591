"""From a filled form, or from a finished picture, to jobs in the queue."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from db import queue, sources, submissions
from db.artefacts import Artefact
from db.errors import SourceHidden
from db.jobs import Job
from db.queue import NewJob
from db.submissions import Submission
from generator import registry
from generator.params import BadParams, JobParams, Params, validate, validate_job
from generator.params.vary import varied
from pages.shared.language import _
from pages.shared.studio import Studio

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
) -> list[Job]:
    """Enqueue one job per picture: the given seed and those that follow it, or a random seed each.

    values: settings by name, seed None for random. Several are candidates of one sheet, and all of them find room in
    the queue or none does. Raises BadParams, UnknownName, TooManyQueued; UnknownArtefact or SourceHidden where a
    picture to start from is not there any more. So do the others that start from one.
    """
    of = {"parent_id": parent_id, "source_artefact_id": source_artefact_id}
    wanted = candidates_of(studio, engine, values, pictures, **of)
    if pictures == 1:
        return [_enqueue(studio, visitor, wanted[0][1])]
    return submit_set(studio, visitor, "candidates", wanted[0][1].prompt, wanted)[1]


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
    made = [validate(engine, {**values, "seed": seed}) for seed in _seeds(values.get("seed"), pictures)]
    _check_sources(studio, made[0])
    return [
        (f"seed {params.seed}", _new(studio, engine, params, parent_id=parent_id, source=source_artefact_id))
        for params in made
    ]


def ask(studio: Studio, visitor: str, engine: str, values: Mapping[str, Any]) -> Job:
    """Enqueue one job of any engine. Raises BadParams, UnknownName, TooManyQueued."""
    return _enqueue(studio, visitor, _new(studio, engine, validate_job(engine, dict(values))))


def submit_set(
    studio: Studio,
    visitor: str,
    kind: str,
    prompt: str,
    wanted: Sequence[tuple[str, NewJob]],
    layout: Mapping[str, Any] | None = None,
) -> tuple[Submission, list[Job]]:
    """Queue labelled jobs as one sheet, all of them or none. Raises TooManyQueued."""
    return submissions.submit(
        studio.db,
        kind=kind,
        prompt=prompt,
        submitter=visitor,
        wanted=wanted,
        layout=layout,
        max_queued=studio.settings.max_queued_per_submitter,
        max_per_hour=studio.settings.max_per_hour_per_submitter,
    )


def run_again(studio: Studio, job: Job, visitor: str) -> Job:
    """The same settings, with a new seed where it draws, as a child of that job. Raises as `submit`."""
    if queue.get(studio.db, job.id).hidden:  # since the page was drawn
        raise SourceHidden
    params = validate_job(job.engine, job.params)
    if isinstance(params, Params):
        values = {**job.params, "seed": None}
        return submit(studio, visitor=visitor, engine=job.engine, values=values, parent_id=job.id)[0]
    _check_sources(studio, params)
    new = _new(studio, job.engine, params, title=job.prompt, parent_id=job.parent_id, source=job.source_artefact_id)
    return _enqueue(studio, visitor, new)


def vary(
    studio: Studio, job: Job, picture: Artefact, visitor: str, *, engine: str, count: int, skip_rate: float
) -> Submission:
    """`count` variations of a job's picture, as one sheet. Raises BadParams, UnknownName, TooManyQueued."""
    wanted = variations_of(studio, job, picture, engine=engine, count=count, skip_rate=skip_rate)
    layout = {"skip_rate": skip_rate, "parent": job.id}
    return submit_set(studio, visitor, "variations", job.prompt, wanted, layout)[0]


def variations_of(
    studio: Studio, job: Job, picture: Artefact, *, engine: str, count: int, skip_rate: float
) -> list[tuple[str, NewJob]]:
    """`count` variations of a job's picture with their labels, not yet queued. Raises BadParams, UnknownName."""
    if not 1 <= count <= MAX_PICTURES:
        raise BadParams(_("{count} variations; 1 to {most} are allowed.", count=count, most=MAX_PICTURES))
    values = varied(engine, _kept(drawing_of(studio, job), engine), picture.id, skip_rate)
    wanted: list[tuple[str, NewJob]] = []
    for seed in _seeds(None, count):
        params = validate(engine, {**values, "seed": seed})
        if not wanted:
            _check_sources(studio, params)
        wanted.append((f"seed {seed}", _new(studio, engine, params, parent_id=job.id, source=picture.id)))
    return wanted


def drawing_of(studio: Studio, job: Job) -> Job:
    """The job that drew a picture: of one that was enlarged, the one it was made from."""
    seen = {job.id}
    while not _draws(job.engine) and job.parent_id is not None and job.parent_id not in seen:
        job = queue.get(studio.db, job.parent_id)
        seen.add(job.id)
    return job


def _check_sources(studio: Studio, params: JobParams) -> None:
    sources.check(studio.db, studio.store, params.sources)


def _draws(engine: str) -> bool:
    return engine not in registry.ENGINES or registry.ENGINES[engine].makes == "drawing"


def _kept(job: Job, engine: str) -> dict[str, Any]:
    """What a variation takes over from the job: all settings where the engine is the same, else prompt and style."""
    if job.engine == engine:
        return dict(job.params)
    values: dict[str, Any] = {"prompt": job.prompt}
    style = job.params.get("style")
    checkpoint = registry.checkpoint_spec(registry.ENGINES[engine].checkpoints[0])
    if style in registry.STYLES and checkpoint.styled:  # elsewhere a style may be any words
        values["style"] = style
    return values


def upscale(studio: Studio, job: Job, picture: Artefact, visitor: str, *, checkpoint: str) -> Job:
    """Enlarge a job's picture. Raises BadParams where it is too large, UnknownName, TooManyQueued."""
    return _enqueue(studio, visitor, enlarging(studio, job, picture, checkpoint=checkpoint))


def enlarging(studio: Studio, job: Job, picture: Artefact, *, checkpoint: str) -> NewJob:
    """A job that enlarges a job's picture, not yet queued. Raises BadParams where it is too large, UnknownName."""
    values = {"picture": picture.id, "width": picture.width, "height": picture.height, "checkpoint": checkpoint}
    params = validate_job("upscale", values)
    _check_sources(studio, params)
    return _new(studio, "upscale", params, title=job.prompt, parent_id=job.id, source=picture.id)


def rank(
    studio: Studio,
    sheet: Submission,
    pictures: Sequence[str],
    visitor: str,
    *,
    prompt: str,
    clip: Sequence[str],
    once: bool = False,
) -> Job:
    """Rank pictures of a sheet by what CLIP sees of a prompt. Raises BadParams, TooManyQueued.

    once: a sheet that has been ranked is not ranked again, unless that failed a while ago.
    """
    if len(pictures) < 2:
        raise BadParams(_("There is nothing to rank yet: it takes two finished pictures."))
    params = validate_job("rank", {"prompt": prompt, "pictures": tuple(pictures), "clip": tuple(clip)})
    _check_sources(studio, params)
    return submissions.add_about(
        studio.db,
        sheet.id,
        _new(studio, "rank", params),
        submitter=visitor,
        label="ranking",
        max_queued=studio.settings.max_queued_per_submitter,
        max_per_hour=studio.settings.max_per_hour_per_submitter,
        once=once,
    )


def new_drawing(studio: Studio, engine: str, values: Mapping[str, Any]) -> NewJob:
    """A drawing with these settings, not yet queued. Raises BadParams, UnknownName."""
    return _new(studio, engine, validate(engine, dict(values)))


def _seeds(first: int | None, count: int) -> list[int]:
    return [secrets.randbelow(2**32) if first is None else (first + i) % 2**32 for i in range(count)]


def _new(
    studio: Studio,
    engine: str,
    params: JobParams,
    *,
    title: str | None = None,
    parent_id: str | None = None,
    source: str | None = None,
) -> NewJob:
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


def _enqueue(studio: Studio, visitor: str, new: NewJob) -> Job:
    return queue.enqueue(
        studio.db,
        submitter=visitor,
        max_queued=studio.settings.max_queued_per_submitter,
        max_per_hour=studio.settings.max_per_hour_per_submitter,
        **vars(new),
    )
