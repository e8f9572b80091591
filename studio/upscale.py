"""A finished picture, larger."""

from __future__ import annotations

from dataclasses import replace

from db.artefacts import Artefact
from db.jobs import Job
from db.queue import NewJob
from generator.params import validate_job
from studio.context import Studio, Submitter
from studio.submit import check_sources, enqueue, new_job
from studio.uploads import Cleaned, keep_clean


def upscale(studio: Studio, submitter: Submitter, job: Job, picture: Artefact, *, checkpoint: str) -> Job:
    """Upscale a job's picture. Raises BadParams where it is too large, UnknownName, TooManyQueued."""
    return enqueue(studio, submitter, upscaling(studio, submitter, job, picture, checkpoint=checkpoint))


def upscale_upload(studio: Studio, submitter: Submitter, picture: Cleaned, *, checkpoint: str) -> Job:
    """Upscale a picture that was sent along: what comes of it is that picture, so it is shown to nobody else.

    Raises as `uploads.keep_clean` and `upscale`.
    """
    kept = keep_clean(studio, submitter, picture)
    values = {"picture": kept.id, "width": kept.width, "height": kept.height, "checkpoint": checkpoint}
    new = new_job(studio, "upscale", validate_job("upscale", values))
    return enqueue(studio, submitter, replace(new, private=True))


def upscaling(studio: Studio, submitter: Submitter, job: Job, picture: Artefact, *, checkpoint: str) -> NewJob:
    """A job that upscales a job's picture, not yet queued. Raises BadParams where it is too large, UnknownName."""
    values = {"picture": picture.id, "width": picture.width, "height": picture.height, "checkpoint": checkpoint}
    params = validate_job("upscale", values)
    check_sources(studio, submitter, params)
    return new_job(studio, "upscale", params, title=job.prompt, parent_id=job.id, source=picture.id)
