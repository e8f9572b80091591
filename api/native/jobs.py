"""Jobs: asked for, listed, looked at, cancelled, asked for again; and files sent along."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from api import pictures
from api.callers import Asker, Caller, Opened, Reader, is_told_apart
from api.native.boards import OnlyKept
from api.native.ordering import Orders, Told
from api.native.shapes import FileShape, JobShape, JobsShape, file_of, job_of, jobs_of, told, told_one, with_links
from api.opened import Api
from api.problems import NotAnswered, writable
from db import artefacts, queue
from db.artefacts.store import MAX_KEY
from db.jobs import Job, State
from generator.params import BadParams
from studio import access, costs, deleting, given
from studio.context import Studio, Submitter
from studio.engines import engines_making
from studio.limits import begun
from studio.submit import MAX_PICTURES, Wish, cancel, run_again, submit
from studio.uploads import SETTINGS, Upload, keep_one

router = APIRouter(tags=["jobs"])


class UploadsShape(BaseModel):
    """Pictures that were sent along."""

    files: list[FileShape]


class NewDrawing(Told):
    """Pictures of one prompt."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"engine": "latent-diffusion", "params": {"prompt": "a red heart"}, "pictures": 1}]
        },
    )

    engine: str | None = Field(None, max_length=64, description="One that draws; none: the one a new page shows first.")
    params: dict[str, Any] = Field(description="Its settings by name, prompt among them; see /engines/{name}.")
    pictures: int = Field(
        1,
        ge=1,
        le=MAX_PICTURES,
        description="How many: the given seed and those that follow it, or a random seed each.",
    )
    uploads: dict[str, list[str]] = Field(
        default_factory=dict,
        description=f"Pictures in base64 or as data URIs, by the setting they are for: {', '.join(SETTINGS)}.",
    )
    parent_id: str | None = Field(None, max_length=32, description="The job that this goes on from.")


@router.post("/jobs", status_code=201)
async def create_jobs(order: Orders, new: NewDrawing) -> JobsShape:
    """Queue a picture, or several of the same prompt as one sheet: all of them or none."""

    said: list[str] = []

    def create(studio: Studio, submitter: Submitter) -> list[Job]:
        said.clear()
        uploads = {name: [pictures.decoded(name, text) for text in some] for name, some in new.uploads.items()}
        if new.parent_id is not None:
            access.job(studio, submitter, new.parent_id)
        _check_references(new.params)
        engine, values = begun(studio, new.engine, new.params)
        wish = Wish(engine, values, new.pictures, uploads, new.parent_id)
        return submit(studio, submitter, wish, lambda notice: said.append(str(notice)))

    jobs = await told(order.api, order.who.submitter, await order.jobs(new, create))
    jobs = await order.api.ask(with_links, jobs)
    return JobsShape(jobs=jobs, notices=list(dict.fromkeys(said)))


class Estimate(BaseModel):
    """Pictures that somebody is about to ask for."""

    model_config = ConfigDict(extra="forbid")

    engine: str | None = Field(None, max_length=64)
    params: dict[str, Any] = Field(description="As for a job.")
    pictures: int = Field(1, ge=1, le=MAX_PICTURES)


class EstimateShape(BaseModel):
    """How long they take. Nulls: not known yet."""

    takes_s: float | None = Field(description="s until all are done, where no others are drawn.")
    cost_s: float | None = Field(description="What one costs, in s of an executor that works on nothing else.")
    sure: bool = Field(description="Measured with these models at this size; else it is the least that it can be.")
    budget_s: float | None = Field(description="What one may cost; null: no limit.")
    refused: str | None = Field(description="Why they would be refused for what they cost; null: they fit.")


@router.post("/jobs/estimate")
async def estimate_jobs(api: Opened, who: Reader, new: Estimate) -> EstimateShape:
    """How long pictures take here, before they are asked for; nothing is queued."""

    def told(studio: Studio) -> EstimateShape:
        engine, values = begun(studio, new.engine, new.params)
        found = costs.of_wish(studio, who.submitter, engine, values, new.pictures)
        return EstimateShape(**vars(found) | {"refused": None if found.refused is None else str(found.refused)})

    return await api.ask(told)


def _check_references(params: dict[str, Any]) -> None:
    """Raises BadParams for a picture in the place of its id."""
    for name in SETTINGS:
        value = params.get(name)
        if isinstance(value, str) and (value[:5].lower() == "data:" or len(max(value.split("|"), key=len)) > MAX_KEY):
            raise BadParams(
                f"{name} takes the id that POST uploads answers with, or that of a finished picture. Put the picture "
                f'itself beside params: "uploads": {{"{name}": ["..."]}}.'
            )


@router.get("/jobs")
async def list_jobs(
    api: Opened,
    who: Reader,
    kept: OnlyKept,
    cursor: Annotated[str | None, Query(max_length=32, description="next_cursor of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=access.MAX_PAGE)] = 24,
    state: Annotated[list[State] | None, Query()] = None,
    engine: Annotated[str | None, Query(max_length=64)] = None,
    search: Annotated[str | None, Query(max_length=200, description="A part of the prompt.")] = None,
    mine: bool = False,
    what: Annotated[Literal["pictures", "all"], Query(description="all: rankings and downloads as well.")] = "pictures",
) -> JobsShape:
    """A page of jobs, newest first."""

    def page(studio: Studio) -> list[Job]:
        return access.jobs(
            studio,
            who.submitter,
            mine=mine,
            before_id=plain(cursor),
            limit=limit + 1,
            states=state,
            engine=plain(engine),
            search=plain(search),
            narrowed=kept,
            without=engines_making("result") if what == "pictures" else (),
        )

    found = await api.ask(page)
    shown = found[:limit]
    more = shown[-1].id if len(found) > limit else None
    return JobsShape(jobs=await told(api, who.submitter, shown), next_cursor=more)


@router.get("/jobs/{job_id}")
async def get_job(api: Opened, who: Reader, job_id: str) -> JobShape:
    """A job as it is now."""
    return await told_one(api, who.submitter, await api.ask(access.job, who.submitter, job_id))


@router.get("/jobs/{job_id}/wait")
async def wait_for_job(
    api: Opened,
    who: Reader,
    request: Request,
    job_id: str,
    timeout_s: Annotated[
        float, Query(ge=0, le=300, allow_inf_nan=False, description="Answered after so long at the latest.")
    ] = 30.0,
) -> JobShape:
    """A job as it is when it has ended, or when the time is over."""
    await api.ask(access.job, who.submitter, job_id)

    async def until_ended() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await api.watch.ended([job_id], who=who.submitter.id)

    await api.while_there(request, until_ended())
    return await get_job(api, who, job_id)


@router.post("/jobs/{job_id}/cancel")
async def cancel_job(api: Opened, who: Asker, job_id: str) -> JobShape:
    """End one of your own jobs: at once where it waits, at its next step where it runs; one that has ended stays."""

    def end(studio: Studio) -> JobShape:
        access.job(studio, who.submitter, job_id)
        return job_of(studio, who.submitter, cancel(studio, who.submitter, job_id))

    return await api.ask(end)


class DeletedShape(BaseModel):
    """What went with a job: its files, those sent along for it alone included, and votes on its picture."""

    id: str
    files: int
    votes: int


@router.delete("/jobs/{job_id}")
async def delete_job(
    api: Opened,
    who: Asker,
    job_id: str,
    link: Annotated[
        str | None, Query(max_length=400, description="Of the job's delete_url: then it may be anybody's.")
    ] = None,
) -> DeletedShape:
    """Delete one of your own jobs for good: it ends where it waits or runs; prompt, settings, pictures and votes go.
    What others made from its picture stays."""

    def end(studio: Studio) -> DeletedShape:
        if link is None:
            _check_told_apart(api, who)
        gone = deleting.delete_job(studio, who.submitter, job_id, link)
        return DeletedShape(id=job_id, files=gone.files, votes=gone.votes)

    return await api.ask(end)


def _check_told_apart(api: Api, who: Caller) -> None:
    """Raises NotAnswered (403) for a program without a key where others at its address could be somebody else."""
    if not is_told_apart(api, who):
        raise NotAnswered(
            403,
            "Without a key you are not told from others at your address: delete with the job's delete_url, which is in "
            "the answer to whoever asked for it, or ask with a key.",
            "needs_key",
        )


class RepeatedShape(JobShape):
    """A job that was asked for again. notices: what was left out of its settings, and why."""

    notices: list[str] = Field(default_factory=list)


@router.post("/jobs/{job_id}/again", status_code=201)
async def repeat_job(order: Orders, job_id: str) -> RepeatedShape:
    """The same settings with a new seed, as a child of that job; without pictures that somebody else gave with it."""
    said: list[str] = []

    def repeat(studio: Studio, submitter: Submitter) -> list[Job]:
        said.clear()
        job = access.job(studio, submitter, job_id)
        made = [run_again(studio, submitter, job)]
        if given.taken_over(studio, submitter, job).withheld:
            said.append(given.LEFT_OUT)
        return made

    (shape,) = await told(order.api, order.who.submitter, await order.jobs(None, repeat))
    (shape,) = await order.api.ask(with_links, [shape])
    return RepeatedShape(**shape.model_dump(), notices=said)


@router.get("/jobs/{job_id}/children")
async def list_children(api: Opened, who: Reader, job_id: str) -> JobsShape:
    """What was made from a job, the newest first."""

    def children(studio: Studio) -> JobsShape:
        access.job(studio, who.submitter, job_id)
        return JobsShape(jobs=jobs_of(studio, who.submitter, queue.children(studio.db, job_id)))

    return await api.ask(children)


@router.post(
    "/uploads",
    status_code=201,
    tags=["artefacts"],
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def create_upload(api: Opened, who: Asker, request: Request) -> FileShape:
    """Keep a picture to start from: the body is the file. Its id is what `init_image` and the like take."""
    data = await request.body()
    return await api.ask(lambda studio: file_of(keep_one(studio, who.submitter, Upload("upload", data))))


@router.get("/uploads", tags=["artefacts"])
async def list_uploads(api: Opened, who: Asker) -> UploadsShape:
    """The pictures you have sent along, the newest first: nobody else is shown them. Needs a key."""

    def look(studio: Studio) -> UploadsShape:
        return UploadsShape(files=[file_of(one) for one in given.listed(studio, who.submitter)])

    return await api.ask(look)


@router.delete("/artefacts/{artefact_id}", tags=["artefacts"])
async def delete_upload(api: Opened, who: Asker, artefact_id: str) -> FileShape:
    """Delete a picture that you sent along; what was made from it stays, jobs that still need it fail. What a job has
    made is deleted with the job."""

    def end(studio: Studio) -> FileShape:
        _check_told_apart(api, who)
        found = file_of(artefacts.get(studio.db, artefact_id))
        deleting.delete_given(studio, who.submitter, artefact_id)
        return found

    return await api.ask(end)


def plain(text: str | None) -> str | None:
    """Text that a database can look for; what it cannot hold is found nowhere, so it is left out of the words."""
    return None if text is None else writable(text.replace("\x00", ""))
