"""A finished picture, larger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from db.artefacts import Artefact
from db.jobs import Job, new_id
from db.queue import NewJob
from generator.params import validate_job
from studio.context import Studio, Submitter
from studio.submit import check_sources, check_wanted, enqueue, new_job
from studio.uploads import Cleaned, gone_if_refused, keep_clean


def upscale(studio: Studio, submitter: Submitter, job: Job, picture: Artefact, *, checkpoint: str) -> Job:
    """Upscale a job's picture. Raises BadParams where it is too large, UnknownName, TooManyQueued."""
    return enqueue(studio, submitter, upscaling(studio, submitter, job, picture, checkpoint=checkpoint))


def upscale_upload(studio: Studio, submitter: Submitter, picture: Cleaned, *, checkpoint: str) -> Job:
    """Upscale a picture that was sent along: what comes of it is that picture, so it is shown to nobody else. It goes
    where that is refused. Raises as `keep_clean` and `upscale`."""
    check_uploads(studio, submitter, [(picture, checkpoint)])
    values = {"width": picture.width, "height": picture.height, "checkpoint": checkpoint}
    with gone_if_refused(studio) as there:
        kept = keep_clean(studio, submitter, picture)
        there.append(kept.id)
        new = new_job(studio, "upscale", validate_job("upscale", {**values, "picture": kept.id}))
        return enqueue(studio, submitter, replace(new, private=True))


def check_uploads(studio: Studio, submitter: Submitter, wanted: Sequence[tuple[Cleaned, str]]) -> None:
    """Raises as `upscale_upload` would for all of these pictures, each with its checkpoint; nothing is queued."""
    jobs = []
    for picture, checkpoint in wanted:
        size = {"width": picture.width, "height": picture.height}
        params = validate_job("upscale", {"picture": new_id(), **size, "checkpoint": checkpoint})
        jobs.append(new_job(studio, "upscale", params))
    check_wanted(studio, submitter, jobs)


def upscaling(studio: Studio, submitter: Submitter, job: Job, picture: Artefact, *, checkpoint: str) -> NewJob:
    """A job that upscales a job's picture, not yet queued. Raises BadParams where it is too large, UnknownName."""
    values = {"picture": picture.id, "width": picture.width, "height": picture.height, "checkpoint": checkpoint}
    params = validate_job("upscale", values)
    check_sources(studio, submitter, params)
    return new_job(studio, "upscale", params, title=job.prompt, parent_id=job.id, source=picture.id)
