"""What is made from a finished picture: variations of it, and the same larger."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import Field

from api.callers import Asker, Opened
from api.native.jobs import IdempotencyKey, Told, once, once_as, ordered
from api.native.shapes import JobShape, SheetShape, job_of
from api.native.sheets import look, sheet_id_of
from db.jobs import Job
from generator import registry
from generator.params.vary import COUNT, SKIP_RATE
from studio import access
from studio.context import Studio
from studio.submit import MAX_PICTURES
from studio.upscale import upscale
from studio.vary import engine_for, vary

router = APIRouter(tags=["jobs"])


class NewVariations(Told):
    """Pictures that start from a finished one."""

    engine: str | None = Field(
        None, max_length=64, description="One that can start from a picture; none: the one that drew it, if it can."
    )
    count: int = Field(COUNT, ge=1, le=MAX_PICTURES)
    skip_rate: float = Field(
        SKIP_RATE,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="The share of the way that is skipped: greater keeps more of the picture.",
    )


class NewUpscale(Told):
    """The same picture, larger."""

    checkpoint: str | None = Field(None, max_length=128, description="An upscaler; none: the first one.")


@router.post("/jobs/{job_id}/variations", status_code=201)
async def vary_job(
    api: Opened,
    who: Asker,
    request: Request,
    response: Response,
    job_id: str,
    new: NewVariations,
    key: IdempotencyKey = None,
) -> SheetShape:
    """Variations of a finished picture, as one sheet: all of them or none."""
    who = ordered(who, request, new, key)

    def make(studio: Studio) -> str:
        access.job(studio, who.submitter, job_id)
        ((job, picture),) = access.finished(studio, who.submitter, [job_id])
        engine = new.engine or engine_for(studio, job)
        made = vary(studio, who.submitter, job, picture, engine=engine, count=new.count, skip_rate=new.skip_rate)
        return made.id

    return await api.ask(look, who.submitter, await once_as(api, who, response, make, sheet_id_of))


@router.post("/jobs/{job_id}/upscale", status_code=201)
async def upscale_job(
    api: Opened,
    who: Asker,
    request: Request,
    response: Response,
    job_id: str,
    new: NewUpscale,
    key: IdempotencyKey = None,
) -> JobShape:
    """A finished picture, upscaled; its settings stay with it."""
    who = ordered(who, request, new, key)

    def make(studio: Studio) -> list[Job]:
        access.job(studio, who.submitter, job_id)
        ((job, picture),) = access.finished(studio, who.submitter, [job_id])
        checkpoint = new.checkpoint or registry.ENGINES["upscale"].checkpoints[0]
        return [upscale(studio, who.submitter, job, picture, checkpoint=checkpoint)]

    made = await once(api, who, response, make)
    return await api.ask(job_of, who.submitter, made[0])
