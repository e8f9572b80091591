"""Training models of one's own: runs, and what they have learnt so far."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.callers import Asker, Opened, Reader
from api.native.models import ModelShape, model_of
from api.native.ordering import Orders, Told
from api.native.shapes import JobShape, JobsShape, jobs_of, told, told_one, with_links
from db.jobs import Job
from studio import run_needs, train
from studio.context import Studio, Submitter
from studio.train import Watched

router = APIRouter(tags=["training"])


class NewRun(Told):
    """A model to train."""

    engine: str = Field("train", max_length=64, description="One that makes models; see /engines.")
    params: dict[str, Any] = Field(description="Its settings by name: data and name among them; see /engines/{name}.")


class RowShape(BaseModel):
    """One stretch of a run: losses where they were measured."""

    step: int
    seconds: float
    train: float | None
    validation: float | None
    steps_per_s: float | None
    memory: int | None = Field(description="Bytes at its peak.")
    learning_rate: float | None = Field(description="Of its last step.")


class RunShape(BaseModel):
    """A run, and what it has learnt by now."""

    job: JobShape
    asked: str | None = Field(description="`pause` or `keep`, where whoever asked for the run wants that of it.")
    train_loss: float | None
    validation_loss: float | None
    best_validation_loss: float | None
    best_step: int | None
    steps_per_s: float | None
    left_s: float | None = Field(description="Of an executor that works on nothing else; null: not known.")
    memory: int | None = Field(description="Bytes at its peak.")
    history: list[RowShape]
    model: ModelShape | None = Field(description="What it has made, once it has ended.")


class DifferenceShape(BaseModel):
    """A setting in which two runs differ."""

    name: str
    first: Any
    second: Any


class ComparedShape(BaseModel):
    """Two runs side by side."""

    runs: list[RunShape]
    settings: list[DifferenceShape]


class RunEstimate(BaseModel):
    """A run that somebody is about to ask for."""

    model_config = ConfigDict(extra="forbid")

    engine: str = Field("train", max_length=64, description="One that makes models; see /engines.")
    params: dict[str, Any] = Field(description="As for a run.")


class NeedsShape(BaseModel):
    """What it needs, from its settings alone."""

    model_bytes: int = Field(description="The file it ends with.")
    state_bytes: int = Field(description="A saved state; the last two are kept.")
    disk_bytes: int = Field(description="Free on the disk before its first step.")
    memory_bytes: int = Field(description="About, of the device, or of the machine where it trains on the CPU.")
    pictures_at_once: int = Field(description="In one pass through the network: the setting micro_batch needs less.")
    fits: bool = Field(description="Whether the studio's disk has so much room now.")
    missing: list[str] = Field(description="Checkpoints that are not on this machine yet.")


@router.post("/training/estimate")
async def estimate_run(api: Opened, who: Reader, new: RunEstimate) -> NeedsShape:
    """What disk and memory a run needs, before it is asked for; nothing is queued."""

    def needed(studio: Studio) -> NeedsShape:
        found = run_needs.told(studio, who.submitter, new.engine, new.params)
        needs = found.needs
        return NeedsShape(
            model_bytes=needs.model,
            state_bytes=needs.state,
            disk_bytes=needs.disk,
            memory_bytes=needs.memory,
            pictures_at_once=needs.pictures_at_once,
            fits=found.fits,
            missing=list(found.missing),
        )

    return await api.ask(needed)


@router.post("/training", status_code=201)
async def create_run(order: Orders, new: NewRun) -> JobShape:
    """Queue a run: it waits behind all pictures, and gives way to them while it runs."""

    def create(studio: Studio, submitter: Submitter) -> list[Job]:
        return [train.submit(studio, submitter, new.engine, new.params)]

    jobs = await told(order.api, order.who.submitter, await order.jobs(new, create))
    (job,) = await order.api.ask(with_links, jobs)
    return job


@router.get("/training")
async def list_runs(
    api: Opened, who: Reader, mine: Annotated[bool, Query(description="Yours alone.")] = False
) -> JobsShape:
    """The newest runs."""

    def every(studio: Studio) -> JobsShape:
        return JobsShape(jobs=jobs_of(studio, who.submitter, train.runs(studio, who.submitter, mine=mine)))

    return await api.ask(every)


@router.get("/training/compare")
async def compare_runs(api: Opened, who: Reader, first: str, second: str) -> ComparedShape:
    """Two runs: their losses, and the settings in which they differ."""

    def both(studio: Studio) -> ComparedShape:
        found = train.compare(studio, who.submitter, first, second)
        return ComparedShape(
            runs=[_run(studio, who.submitter, one) for one in found.runs],
            settings=[DifferenceShape(name=name, first=a, second=b) for name, a, b in found.settings],
        )

    return await api.ask(both)


@router.get("/training/{job_id}")
async def get_run(api: Opened, who: Reader, job_id: str) -> RunShape:
    """A run as it is now; its samples, film and curves are among the files of its job."""

    def look(studio: Studio) -> RunShape:
        return _run(studio, who.submitter, train.watch(studio, who.submitter, job_id))

    return await api.ask(look)


@router.post("/training/{job_id}/pause")
async def pause_run(api: Opened, who: Asker, job_id: str) -> JobShape:
    """It makes no more steps until it is told to go on; nothing of it is lost."""
    return await told_one(api, who.submitter, await api.ask(train.pause, who.submitter, job_id))


@router.post("/training/{job_id}/go-on")
async def continue_run(api: Opened, who: Asker, job_id: str) -> JobShape:
    """A run that was paused takes its turns again."""
    return await told_one(api, who.submitter, await api.ask(train.go_on, who.submitter, job_id))


@router.post("/training/{job_id}/keep")
async def keep_run(api: Opened, who: Asker, job_id: str) -> JobShape:
    """It ends now, with the model it has."""
    return await told_one(api, who.submitter, await api.ask(train.keep, who.submitter, job_id))


def _run(studio: Studio, submitter: Submitter, found: Watched) -> RunShape:
    return RunShape(
        job=jobs_of(studio, submitter, [found.job])[0],
        asked=found.asked,
        train_loss=found.train,
        validation_loss=found.validation,
        best_validation_loss=found.best,
        best_step=found.best_step,
        steps_per_s=found.steps_per_s,
        left_s=found.left_s,
        memory=found.memory,
        history=[RowShape(**vars(row)) for row in found.history.rows],
        model=None if found.model is None else model_of(found.model),
    )
