"""The queue as everybody sees it, the executors, and who you are to it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.answered import answered
from api.callers import Asker, Caller, Opened, Reader
from api.native.ordering import Orders
from api.native.shapes import JobShape, at, jobs_of, told_one
from db import queue
from db.jobs import Job, State
from db.queue import workers
from db.rules import host_rules
from generator.params import BadParams
from studio import names
from studio.access import may_see
from studio.context import Studio, Submitter
from studio.limits import in_force
from studio.models import fetch, under_way

router = APIRouter(tags=["queue"])

MAX_WAITING = 200


class QueueShape(BaseModel):
    """counts: of all jobs there are, by state. waiting: in the order in which they will be served; a hidden job keeps
    its place in the line."""

    paused: bool = Field(description="The host has paused the queue: what runs is finished, nothing new is started.")
    counts: dict[State, int]
    running: list[JobShape]
    waiting: list[JobShape]


class ExecutorShape(BaseModel):
    """An executor that is alive. places: how many jobs it runs at once."""

    id: str
    device: str
    machine: str
    engines: list[str]
    places: int
    status: str
    started_at: datetime
    beat_at: datetime


class ExecutorsShape(BaseModel):
    executors: list[ExecutorShape]


class LimitsShape(BaseModel):
    """Most jobs you may have waiting, and may ask for in an hour, and what one of them may cost in s of an executor
    that works on nothing else; null: no limit."""

    max_queued: int | None
    max_per_hour: int | None
    max_job_s: float | None


class MeShape(BaseModel):
    """Who you are here. key: the name of the key you show; without one, callers of one address are one."""

    scope: str
    key: str | None
    name: str | None = Field(description="What is shown with your pictures.")
    limits: LimitsShape
    waiting: int
    running: int


class NewName(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=400, description="Empty: none.")


@router.get("/queue")
async def get_queue(
    api: Opened, who: Reader, limit: Annotated[int, Query(ge=0, le=MAX_WAITING, description="Of those waiting.")] = 50
) -> QueueShape:
    """What runs and what waits, in the order in which it will be served, each with its told wait."""

    def look(studio: Studio) -> QueueShape:
        waiting = queue.queued_jobs(studio.db, limit=limit) if limit else []
        seen = [job for job in [*queue.running_jobs(studio.db), *waiting] if may_see(who.submitter, job)]
        shapes = jobs_of(studio, who.submitter, seen)
        return QueueShape(
            paused=host_rules.get(studio.db).paused,
            counts=queue.counts(studio.db),
            running=[shape for shape in shapes if shape.state == State.RUNNING],
            waiting=[shape for shape in shapes if shape.state == State.QUEUED],
        )

    return await api.ask(look)


@router.get("/executors")
async def list_executors(api: Opened, who: Reader) -> ExecutorsShape:
    """The executors that are alive, in the order in which they started."""

    def look(studio: Studio) -> ExecutorsShape:
        return ExecutorsShape(
            executors=[
                ExecutorShape(
                    id=one.id,
                    device=one.device,
                    machine=one.hostname,
                    engines=one.engines,
                    places=one.places,
                    status=one.status,
                    started_at=at(one.started_at),
                    beat_at=at(one.beat_at),
                )
                for one in workers.live(studio.db)
            ]
        )

    return await api.ask(look)


@router.get("/me")
async def get_me(api: Opened, who: Reader) -> MeShape:
    """Who you are here, what you may, and the limits that hold for you now."""
    return await api.ask(_me, who)


@router.patch("/me")
async def rename_me(api: Opened, who: Asker, new: NewName) -> MeShape:
    """Choose the name that is shown with your pictures."""

    def rename(studio: Studio) -> MeShape:
        names.set_name(studio, who.submitter, new.name)
        return _me(studio, who)

    return await api.ask(rename)


@router.post("/checkpoints/{name:path}/download", status_code=201, tags=["catalogue"])
async def download_checkpoint(order: Orders, name: str) -> JobShape:
    """Have a checkpoint or CLIP model downloaded by an executor, where the host allows it; 200 with the job of before
    where it is on its way already."""
    there: list[Job] = []

    def make(studio: Studio, submitter: Submitter) -> list[Job]:
        asked = fetch(studio, submitter, name)
        if asked is not None:
            return [asked]
        there.extend(job for job in under_way(studio) if job.params.get("name") == name)
        if not there:
            raise BadParams(f"{name!r} has just been downloaded.")
        return there[:1]

    (made,) = await order.jobs(None, make)
    if there:  # it is not queued here
        answered(order.request).note([made.id])
        order.response.status_code = 200
    return await told_one(order.api, order.who.submitter, made)


def _me(studio: Studio, who: Caller) -> MeShape:
    limits, live = in_force(studio, who.submitter), queue.live_of(studio.db, who.submitter.id)
    values: dict[str, Any] = {"max_queued": limits.max_queued, "max_per_hour": limits.max_per_hour}
    values["max_job_s"] = limits.max_job_s or None
    return MeShape(
        scope=who.scope,
        key=who.name,
        name=names.name_of(studio, who.submitter),
        limits=LimitsShape(**values),
        waiting=live[State.QUEUED],
        running=live[State.RUNNING],
    )
