"""What is made from a finished picture: variations of it, and the same larger."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from api.native.ordering import Orders, Told
from api.native.shapes import JobShape, SheetShape, asked_one
from api.native.sheets import asked, sheet_id_of
from db.jobs import Job
from generator import registry
from generator.params.vary import COUNT, SKIP_RATE
from studio import access
from studio.context import Studio, Submitter
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
async def vary_job(order: Orders, job_id: str, new: NewVariations) -> SheetShape:
    """Variations of a finished picture, as one sheet: all of them or none."""

    def make(studio: Studio, submitter: Submitter) -> str:
        ((job, picture),) = access.finished(studio, submitter, [job_id])
        engine = new.engine or engine_for(studio, job)
        return vary(studio, submitter, job, picture, engine=engine, count=new.count, skip_rate=new.skip_rate).id

    return await order.api.ask(asked, order.who.submitter, await order.answer(new, make, sheet_id_of))


@router.post("/jobs/{job_id}/upscale", status_code=201)
async def upscale_job(order: Orders, job_id: str, new: NewUpscale) -> JobShape:
    """A finished picture, upscaled; its settings stay with it."""

    def make(studio: Studio, submitter: Submitter) -> list[Job]:
        ((job, picture),) = access.finished(studio, submitter, [job_id])
        checkpoint = new.checkpoint or registry.ENGINES["upscale"].checkpoints[0]
        return [upscale(studio, submitter, job, picture, checkpoint=checkpoint)]

    return await asked_one(order.api, order.who.submitter, *await order.jobs(new, make))
