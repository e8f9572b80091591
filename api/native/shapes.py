"""What the native API answers with, and how it is made from what the studio holds. Times are RFC 3339 in UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field

from api.native import ROOT
from api.opened import Api
from db import artefacts, queue
from db.artefacts import Artefact
from db.jobs import Job, State
from db.queue.estimate import Place
from db.rules import visitors
from db.sheets import submissions
from db.sheets.submissions import Member, Submission
from studio.access import may_see, owns
from studio.context import Studio, Submitter
from studio.deleting import link_for
from studio.given import Shown, shown


class FileShape(BaseModel):
    """A file of a job."""

    id: str
    kind: str = Field(
        description="picture, preview, thumbnail, gif, mp4, webp, sheet, json, or result of what draws nothing."
    )
    url: str = Field(description="Where its bytes are; takes ETag and Range.")
    media_type: str
    size: int = Field(description="Bytes.")
    sha256: str
    width: int | None = Field(description="px, of a picture or a film.")
    height: int | None


class OneFileShape(FileShape):
    """A file that was asked for by itself."""

    licence: str | None = Field(
        description="Of a finished picture and what is made of it: as its metadata has it; null: none is told."
    )


class ErrorShape(BaseModel):
    """Why a job failed."""

    kind: str
    message: str


class JobShape(BaseModel):
    """A job. position: 1 is served next; wait_s: the told wait until it starts; both null where it does not wait. One
    that waits at a step has had a slice of time and goes on from there."""

    id: str
    state: State
    engine: str
    checkpoint: str
    prompt: str
    params: dict[str, Any]
    withheld: list[str] = Field(
        [], description="Settings that name pictures somebody else gave with the job: left out of params."
    )
    step: int
    total_steps: int
    score: float | None
    steps_per_s: float | None
    attempt: int
    error: ErrorShape | None
    cancel_requested: bool
    waits_for: str | None = Field(
        description="`store`: the job is finished and its files cannot be stored yet; `pictures`: a run that trains "
        "rests while pictures are drawn."
    )
    position: int | None
    wait_s: float | None
    cost_s: float | None = Field(
        description="What all of it costs, in s of an executor that works on nothing else; null where that is not "
        "known, and where it does not wait."
    )
    spent_s: float | None = Field(description="What it has cost so far.")
    budget_s: float | None = Field(description="It ends when it has cost so much; null: no limit.")
    mine: bool
    by: str | None = Field(description="What whoever asked for it calls themselves.")
    sheet_id: str | None
    parent_id: str | None
    source_artefact_id: str | None
    retried_as: str | None = Field(description="It failed, and the host had it tried again as this job.")
    files: list[FileShape]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    url: str
    events_url: str
    delete_url: str | None = Field(
        None, description="In the answer to whoever asked for the job: deletes it, whoever sends DELETE there."
    )


class JobsShape(BaseModel):
    """Jobs. next_cursor: what to pass as `cursor` for the page after this one; null at the end. notices: how prompts
    were read, and words in them that the models do not know; of jobs that were just asked for."""

    jobs: list[JobShape]
    next_cursor: str | None = None
    notices: list[str] = []


class SheetShape(BaseModel):
    """Jobs that were asked for together, in the order of the sheet; rankings: the jobs about the whole set."""

    id: str
    kind: str
    prompt: str
    layout: dict[str, Any]
    labels: list[str]
    jobs: list[JobShape]
    rankings: list[JobShape]
    created_at: datetime
    url: str


class ListedSheetShape(BaseModel):
    """A sheet in a list: the ids of its jobs."""

    id: str
    kind: str
    prompt: str
    job_ids: list[str]
    created_at: datetime
    url: str


def at(seconds: float) -> datetime:
    """UTC seconds since 1970 as a time of day."""
    return datetime.fromtimestamp(seconds, UTC)


def file_of(artefact: Artefact) -> FileShape:
    """A file as it is told."""
    return FileShape(
        id=artefact.id,
        kind=artefact.kind,
        url=f"{ROOT}/artefacts/{artefact.id}/content",
        media_type=artefact.media_type,
        size=artefact.size,
        sha256=artefact.sha256,
        width=artefact.width,
        height=artefact.height,
    )


def jobs_of(
    studio: Studio, submitter: Submitter, jobs: Sequence[Job], places: Mapping[str, Place] | None = None
) -> list[JobShape]:
    """Jobs as they are told. places: of those that wait; None: the queue is played forward for them."""
    ids = [job.id for job in jobs]
    files = artefacts.of_jobs(studio.db, ids)
    sheets = submissions.of_jobs(studio.db, ids)
    names = visitors.names(studio.db, [job.submitter for job in jobs])
    settings = shown(studio, submitter, jobs)
    if places is None:
        waiting = [job.id for job in jobs if job.state == State.QUEUED]
        places = queue.places(studio.db, waiting, skip_unknown=True) if waiting else {}
    return [
        _job(
            job,
            settings[job.id],
            mine=owns(submitter, job),
            by=names.get(job.submitter),
            sheet=sheets.get(job.id),
            files=files[job.id],
            place=places.get(job.id),
        )
        for job in jobs
    ]


def job_of(studio: Studio, submitter: Submitter, job: Job) -> JobShape:
    """One job as it is told."""
    return jobs_of(studio, submitter, [job])[0]


async def told(api: Api, submitter: Submitter, jobs: Sequence[Job]) -> list[JobShape]:
    """Jobs as they are told; however many ask, the queue is played forward for all of them together."""
    places = await api.places.of([job.id for job in jobs if job.state == State.QUEUED])
    return await api.ask(jobs_of, submitter, jobs, places)


def with_links(studio: Studio, made: Sequence[JobShape]) -> list[JobShape]:
    """The same, of jobs that whoever is answered has just asked for, with what deletes each of them."""
    urls = [f"{job.url}?link={link_for(studio, job.id)}" for job in made]
    return [job.model_copy(update={"delete_url": url}) for job, url in zip(made, urls, strict=True)]


async def told_one(api: Api, submitter: Submitter, job: Job) -> JobShape:
    """The same, of one job."""
    return (await told(api, submitter, [job]))[0]


async def asked_one(api: Api, submitter: Submitter, job: Job) -> JobShape:
    """The same, told to whoever has just asked for it."""
    return (await api.ask(with_links, [await told_one(api, submitter, job)]))[0]


def sheet_of(studio: Studio, submitter: Submitter, found: Submission, everyone: Sequence[Member]) -> SheetShape:
    """A sheet as far as they may see it."""
    seen = [member for member in everyone if may_see(submitter, member.job)]
    shaped = list(zip(seen, jobs_of(studio, submitter, [member.job for member in seen]), strict=True))
    return SheetShape(
        id=found.id,
        kind=found.kind,
        prompt=found.prompt,
        layout=found.layout,
        labels=[member.label for member in seen if member.cell is not None],
        jobs=[shape for member, shape in shaped if member.cell is not None],
        rankings=[shape for member, shape in shaped if member.cell is None],
        created_at=at(found.created_at),
        url=f"{ROOT}/sheets/{found.id}",
    )


def _job(
    job: Job,
    settings: Shown,
    *,
    mine: bool,
    by: str | None,
    sheet: Submission | None,
    files: Mapping[str, Artefact],
    place: Place | None,
) -> JobShape:
    waits = place is not None and place.position > 0
    return JobShape(
        **{
            name: getattr(job, name)
            for name in JobShape.model_fields
            if name in Job.__dataclass_fields__ and name not in _MADE
        },
        params=dict(settings.params),
        withheld=list(settings.withheld),
        error=ErrorShape(kind=job.error_kind or "error", message=job.error) if job.error else None,
        position=place.position if place and waits else None,
        wait_s=place.wait if place and waits else None,
        cost_s=place.cost.seconds if place and place.cost else None,
        mine=mine,
        by=by,
        sheet_id=sheet.id if sheet else None,
        files=[file_of(one) for one in files.values() if one.kind != "state"],
        created_at=at(job.created_at),
        started_at=None if job.started_at is None else at(job.started_at),
        finished_at=None if job.finished_at is None else at(job.finished_at),
        url=f"{ROOT}/jobs/{job.id}",
        events_url=f"{ROOT}/jobs/{job.id}/events",
    )


_MADE = ("params", "error", "created_at", "started_at", "finished_at")
