"""What failed, and having it tried again, many at a time. Needs a key of the scope `host`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.callers import Host, Opened
from api.native.shapes import JobShape, jobs_of
from studio import failures
from studio.access import MAX_PAGE
from studio.context import Studio
from studio.errors import told

router = APIRouter(prefix="/host/failures", tags=["host"])

JobIds = Annotated[list[str], Field(min_length=1, max_length=failures.MAX_AT_ONCE)]


class FailureShape(BaseModel):
    """A job that failed. executor: where; executors are listed under /queue with their machines."""

    job: JobShape
    executor: str | None


class FailuresShape(BaseModel):
    """Newest first. kinds: how many there are of each kind in all; next_cursor: null at the end."""

    failures: list[FailureShape]
    kinds: dict[str, int]
    next_cursor: str | None


class WhichShape(BaseModel):
    """Some by their ids, or all of one kind of failure: the newest 200."""

    model_config = ConfigDict(extra="forbid")

    job_ids: JobIds | None = None
    kind: str | None = Field(None, max_length=64)

    @model_validator(mode="after")
    def _one(self) -> WhichShape:
        if (self.job_ids is None) == (self.kind is None):
            raise ValueError("name either job_ids or a kind")
        return self


class AgainShape(BaseModel):
    job_id: str
    new_id: str


class RefusedShape(BaseModel):
    job_id: str
    message: str


class RetriedShape(BaseModel):
    """again: each job that failed, and the one that is queued in its place. refused: why others are not."""

    again: list[AgainShape]
    refused: list[RefusedShape]


class ThoseShape(BaseModel):
    model_config = ConfigDict(extra="forbid")

    job_ids: JobIds


class HiddenShape(BaseModel):
    hidden: int


@router.get("")
async def list_failures(
    api: Opened,
    who: Host,
    kind: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
) -> FailuresShape:
    """Jobs that failed and were neither hidden nor tried again."""

    def look(studio: Studio) -> FailuresShape:
        found = failures.failures(studio, who.submitter, kind=kind, before_id=cursor, limit=limit + 1)
        shown = found[:limit]
        shapes = jobs_of(studio, who.submitter, shown)
        return FailuresShape(
            failures=[
                FailureShape(job=shape, executor=job.worker_id) for job, shape in zip(shown, shapes, strict=True)
            ],
            kinds=failures.kinds(studio, who.submitter),
            next_cursor=shown[-1].id if len(found) > limit else None,
        )

    return await api.ask(look)


@router.post("/retry")
async def retry(api: Opened, who: Host, which: WhichShape) -> RetriedShape:
    """Queue them anew, with the same settings, each for who asked for it and in its place on its sheet; as many as the
    rules of the queue let in now."""

    def act(studio: Studio) -> RetriedShape:
        if which.job_ids is not None:
            done = failures.try_again(studio, who.submitter, which.job_ids)
        else:
            done = failures.try_kind_again(studio, who.submitter, which.kind)
        return RetriedShape(
            again=[AgainShape(job_id=old, new_id=new) for old, new in done.again.items()],
            refused=[RefusedShape(job_id=job_id, message=told(why)) for job_id, why in done.refused.items()],
        )

    return await api.ask(act)


@router.post("/hide")
async def hide(api: Opened, who: Host, those: ThoseShape) -> HiddenShape:
    """Take them out of this list and all others."""
    return await api.ask(lambda studio: HiddenShape(hidden=failures.hide(studio, who.submitter, those.job_ids)))
