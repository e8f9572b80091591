"""A finished picture, larger."""

from __future__ import annotations

from db.artefacts import Artefact
from db.jobs import Job
from db.queue import NewJob
from generator.params import validate_job
from studio.context import Studio, Submitter
from studio.submit import check_sources, enqueue, new_job


def upscale(studio: Studio, submitter: Submitter, job: Job, picture: Artefact, *, checkpoint: str) -> Job:
    """Upscale a job's picture. Raises BadParams where it is too large, UnknownName, TooManyQueued."""
    return enqueue(studio, submitter, upscaling(studio, job, picture, checkpoint=checkpoint))


def upscaling(studio: Studio, job: Job, picture: Artefact, *, checkpoint: str) -> NewJob:
    """A job that upscales a job's picture, not yet queued. Raises BadParams where it is too large, UnknownName."""
    values = {"picture": picture.id, "width": picture.width, "height": picture.height, "checkpoint": checkpoint}
    params = validate_job("upscale", values)
    check_sources(studio, params)
    return new_job(studio, "upscale", params, title=job.prompt, parent_id=job.id, source=picture.id)
