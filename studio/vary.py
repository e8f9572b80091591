"""Variations of a finished picture."""

from __future__ import annotations

from typing import Any

from db import queue
from db.artefacts import Artefact
from db.jobs import Job
from db.sheets.submissions import NewSheet, Submission
from generator import registry
from generator.params.vary import kept, takes_pictures, varied
from studio.context import Studio, Submitter
from studio.engines import makes
from studio.errors import BadWish
from studio.given import taken_over
from studio.limits import engines_that_vary
from studio.submit import MAX_PICTURES, Labelled, check_sources, drawings, new_job, submit_sheet
from studio.wording import understood


def vary(
    studio: Studio, submitter: Submitter, job: Job, picture: Artefact, *, engine: str, count: int, skip_rate: float
) -> Submission:
    """`count` variations of a job's picture, as one sheet. Raises BadParams, UnknownName, TooManyQueued."""
    wanted = variations_of(studio, submitter, job, picture, engine=engine, count=count, skip_rate=skip_rate)
    layout = {"skip_rate": skip_rate, "parent": job.id}
    sheet = NewSheet(kind="variations", prompt=job.prompt, wanted=wanted, layout=layout)
    return submit_sheet(studio, submitter, sheet)[0]


def variations_of(
    studio: Studio, submitter: Submitter, job: Job, picture: Artefact, *, engine: str, count: int, skip_rate: float
) -> Labelled:
    """`count` variations of a job's picture with their labels, not yet queued; without what somebody else gave with
    that job. Raises BadParams, UnknownName."""
    if not 1 <= count <= MAX_PICTURES:
        raise BadWish("{count} variations; 1 to {most} are allowed.", count=count, most=MAX_PICTURES)
    drawn = drawing_of(studio, job)
    settings = {"prompt": drawn.prompt, **taken_over(studio, submitter, drawn).params}
    values = varied(engine, kept(drawn.engine, settings, engine), picture.id, skip_rate)

    def read(values: dict[str, Any]) -> dict[str, Any]:
        return values if engine == drawn.engine else understood(studio, engine, values).values

    made = drawings(engine, {**values, "seed": None}, count, read)
    check_sources(studio, submitter, made[0])
    return [
        (f"seed {params.seed}", new_job(studio, engine, params, parent_id=job.id, source=picture.id)) for params in made
    ]


def drawing_of(studio: Studio, job: Job) -> Job:
    """The job that drew a picture: of one that was upscaled, the one it was made from."""
    seen = {job.id}
    while makes(job.engine) != "drawing" and job.parent_id is not None and job.parent_id not in seen:
        job = queue.get(studio.db, job.parent_id)
        seen.add(job.id)
    return job


def engine_for(studio: Studio, job: Job) -> str:
    """What varies a job's picture, where the host offers it: latent diffusion those of the embedded models that it can
    draw as large, whoever drew them, since guidance from a finished picture on leaves specks; others the engine that
    drew it. Else the first.
    """
    engines = engines_that_vary(studio) or takes_pictures()  # where there is none, the queue says so
    drawing = drawing_of(studio, job)
    wanted = registry.VARYING if _as_embedded(drawing) else drawing.engine
    return next(name for name in (wanted, drawing.engine, engines[0]) if name in engines)


def _as_embedded(drawing: Job) -> bool:
    """Whether embedded latent diffusion can go on from what was drawn, with all that was asked for."""
    drawn_by = registry.CHECKPOINTS.get(drawing.checkpoint or "")
    varies = registry.checkpoint(registry.first_checkpoint(registry.VARYING, ""))
    sides = {drawing.params.get("width"), drawing.params.get("height")}
    asked = drawing.prompt and not drawing.params.get("image_prompts")
    return bool(drawn_by is not None and drawn_by.styled and sides == {varies.only_side} and asked)
