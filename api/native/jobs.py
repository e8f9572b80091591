"""Jobs: asked for, listed, looked at, cancelled, asked for again; and files sent along."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api import pictures, webhooks
from api.callers import Asker, Caller, Opened, Reader
from api.native.shapes import FileShape, JobShape, JobsShape, file_of, job_of, jobs_of
from api.opened import Api
from api.problems import writable
from db import queue
from db.errors import AlreadyOrdered
from db.jobs import Job, State
from studio import access
from studio.context import Studio
from studio.engines import engines_making
from studio.limits import begun
from studio.submit import MAX_PICTURES, Wish, cancel, run_again, submit
from studio.uploads import SETTINGS, Upload, keep_one

router = APIRouter(tags=["jobs"])

T = TypeVar("T")
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="A name of your own for this request: the same one again, within a day, queues nothing and is "
        "answered with the same jobs.",
    ),
]


class WebhookShape(BaseModel):
    """Whom to tell when the job has ended, signed as Standard Webhooks says (HMAC-SHA256)."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        max_length=2000, description="http or https; addresses of private networks only if the host says so."
    )
    secret: str = Field(
        min_length=24, max_length=200, description="base64 of at least 16 bytes, after whsec_ if you like."
    )


class Told(BaseModel):
    """A request whose jobs' ends may be told."""

    model_config = ConfigDict(extra="forbid")

    webhook: WebhookShape | None = None


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
async def create_jobs(
    api: Opened, who: Asker, request: Request, response: Response, new: NewDrawing, key: IdempotencyKey = None
) -> JobsShape:
    """Queue a picture, or several of the same prompt as one sheet: all of them or none."""
    who = ordered(who, request, new, key)

    def create(studio: Studio) -> list[Job]:
        uploads = {name: [pictures.decoded(name, text) for text in some] for name, some in new.uploads.items()}
        if new.parent_id is not None:
            access.job(studio, who.submitter, new.parent_id)
        engine, values = begun(studio, new.engine, new.params)
        return submit(studio, who.submitter, Wish(engine, values, new.pictures, uploads, new.parent_id))

    made = await once(api, who, response, create)
    return JobsShape(jobs=await told(api, who, made))


@router.get("/jobs")
async def list_jobs(
    api: Opened,
    who: Reader,
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
            without=engines_making("result") if what == "pictures" else (),
        )

    found = await api.ask(page)
    shown = found[:limit]
    more = shown[-1].id if len(found) > limit else None
    return JobsShape(jobs=await told(api, who, shown), next_cursor=more)


@router.get("/jobs/{job_id}")
async def get_job(api: Opened, who: Reader, job_id: str) -> JobShape:
    """A job as it is now."""
    return (await told(api, who, [await api.ask(access.job, who.submitter, job_id)]))[0]


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
                await api.watch.ended([job_id])

    await api.while_there(request, asyncio.ensure_future(until_ended()))
    return await get_job(api, who, job_id)


@router.post("/jobs/{job_id}/cancel")
async def cancel_job(api: Opened, who: Asker, job_id: str) -> JobShape:
    """End one of your own jobs: at once where it waits, at its next step where it runs; one that has ended stays."""

    def end(studio: Studio) -> JobShape:
        access.job(studio, who.submitter, job_id)
        return job_of(studio, who.submitter, cancel(studio, who.submitter, job_id))

    return await api.ask(end)


@router.post("/jobs/{job_id}/again", status_code=201)
async def repeat_job(
    api: Opened, who: Asker, request: Request, response: Response, job_id: str, key: IdempotencyKey = None
) -> JobShape:
    """The same settings with a new seed, as a child of that job."""
    who = ordered(who, request, None, key)

    def repeat(studio: Studio) -> list[Job]:
        return [run_again(studio, who.submitter, access.job(studio, who.submitter, job_id))]

    made = await once(api, who, response, repeat)
    return (await told(api, who, made))[0]


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


async def told(api: Api, who: Caller, jobs: Sequence[Job]) -> list[JobShape]:
    """Jobs as they are told; however many ask, the queue is played forward for all of them together."""
    places = await api.places.of([job.id for job in jobs if job.state == State.QUEUED])
    return await api.ask(jobs_of, who.submitter, jobs, places)


def plain(text: str | None) -> str | None:
    """Text that a database can look for; what it cannot hold is found nowhere, so it is left out of the words."""
    return None if text is None else writable(text.replace("\x00", ""))


def ordered(who: Caller, request: Request, body: BaseModel | None, key: str | None) -> Caller:
    """The caller with what came along with this request: its idempotency key, and whom to tell at the end.

    Raises BadParams for a webhook that nobody can be told at.
    """
    what = json.dumps([request.url.path, body.model_dump(mode="json") if body else None], sort_keys=True)
    asked = body.webhook if isinstance(body, Told) else None
    hook = webhooks.checked(asked.url, asked.secret) if asked else None
    return who.ordering(key, hashlib.sha256(what.encode(errors="surrogatepass")).hexdigest(), hook)


async def once(api: Api, who: Caller, response: Response, make: Callable[[Studio], list[Job]]) -> list[Job]:
    """The jobs that `make` queues; those of the first time, answered with 200, where the same request was made
    before."""
    return await once_as(api, who, response, make, lambda studio, before: before)


async def once_as(
    api: Api, who: Caller, response: Response, make: Callable[[Studio], T], found: Callable[[Studio, list[Job]], T]
) -> T:
    """What `make` answers, which queues jobs; where the same request was made before, what `found` answers from the
    jobs of the first time, with 200."""

    def made(studio: Studio) -> tuple[T, bool]:
        try:
            queue.check_order(studio.db, who.submitter.id, who.submitter.order)
            return make(studio), False
        except AlreadyOrdered as before:
            return found(studio, [queue.get(studio.db, job_id) for job_id in before.job_ids]), True

    answer, again = await api.ask(made)
    response.status_code = 200 if again else 201
    return answer
