"""Refinements: rows of pictures, each made from what was marked in an earlier one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from api.callers import Asker, Opened, Reader
from api.native import ROOT
from api.native.ordering import Ordering, Orders, Told
from api.native.shapes import SheetShape, at, sheet_of
from api.native.sheets import sheet_id_of
from db.jobs import Job
from db.sheets import refinements, submissions
from db.sheets.refinements import MAX_STAGES, Refinement
from generator import registry
from generator.params import BadParams
from generator.params.vary import COUNT, SKIP_RATE
from studio import refine
from studio.context import Studio, Submitter
from studio.limits import engines_that_vary
from studio.refine import Marked
from studio.rows import Row, row
from studio.submit import MAX_PICTURES

router = APIRouter(tags=["refinements"])

Place = Annotated[int, Path(ge=1, le=MAX_STAGES, description="Of the row, from 1.")]
SkipRate = Annotated[float | None, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int | None, Field(ge=1, le=MAX_PICTURES)]
JobIds = Annotated[
    list[str] | None, Field(max_length=MAX_PICTURES * 4, description="Of which pictures of the row; none: the marked.")
]


class RowShape(BaseModel):
    """A row: its pictures, the best first once they are ranked; which are marked; what its next step is set to."""

    place: int
    sheet: SheetShape
    marked: list[str] = Field(description="Ids of jobs.")
    settings: dict[str, Any]


class RefinementShape(BaseModel):
    """version grows with every change."""

    id: str
    prompt: str
    version: int
    mine: bool
    rows: list[RowShape]
    created_at: datetime
    url: str


class ListedRefinementShape(BaseModel):
    """rows: the ids of the jobs in each."""

    id: str
    prompt: str
    rows: list[list[str]]
    created_at: datetime
    url: str


class ListedRefinementsShape(BaseModel):
    refinements: list[ListedRefinementShape]


class MarksShape(BaseModel):
    """Ids of the jobs whose pictures are marked."""

    version: int
    marked: list[str]


class NewRefinement(Told):
    """A first row of candidates."""

    prompt: str = Field(max_length=10_000)
    engine: str | None = Field(None, max_length=64, description="One that can start from a picture; none: the first.")
    checkpoint: str | None = Field(None, max_length=128)
    style: str | None = Field(None, max_length=64)
    count: int = Field(COUNT, ge=2, le=MAX_PICTURES)


class NewMark(BaseModel):
    model_config = ConfigDict(extra="forbid")

    job_id: str = Field(max_length=64)
    marked: bool = True


class RowSettings(BaseModel):
    """What a row's next step is set to; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    skip_rate: SkipRate = None
    count: Count = None


class NewRow(Told):
    """Variations of what is marked; what is left out is as the row is set."""

    job_ids: JobIds = None
    skip_rate: SkipRate = None
    count: Count = None


class NewLargeRow(Told):
    """What is marked, upscaled."""

    job_ids: JobIds = None


@router.get("/refinements")
async def list_refinements(
    api: Opened, who: Reader, limit: Annotated[int, Query(ge=1, le=100)] = 24
) -> ListedRefinementsShape:
    """Your own refinements, the newest first."""

    def own(studio: Studio) -> ListedRefinementsShape:
        found = refine.own_refinements(studio, who.submitter, limit=limit)
        return ListedRefinementsShape(
            refinements=[
                ListedRefinementShape(
                    id=one.id, prompt=one.prompt, rows=rows, created_at=at(one.created_at), url=_url(one.id)
                )
                for one, rows in found
            ]
        )

    return await api.ask(own)


@router.post("/refinements", status_code=201)
async def begin_refinement(order: Orders, new: NewRefinement) -> RefinementShape:
    """Begin a refinement: queue its first row."""

    def make(studio: Studio, submitter: Submitter) -> str:
        able = engines_that_vary(studio) or [""]
        engine = new.engine or able[0]
        checkpoint = new.checkpoint or (registry.first_checkpoint(engine, "") if engine in registry.ENGINES else "")
        begun = refine.begin(
            studio,
            submitter,
            prompt=new.prompt,
            engine=engine,
            checkpoint=checkpoint,
            style=new.style,
            count=new.count,
        )
        return begun.id

    return await order.api.ask(look, order.who.submitter, await order.answer(new, make, _refinement_of))


@router.get("/refinements/{refinement_id}")
async def get_refinement(api: Opened, who: Reader, refinement_id: str) -> RefinementShape:
    """A refinement as every device shows it. A row that is done is ranked, once, when it is looked at."""
    return await api.ask(look, who.submitter, refinement_id)


@router.post("/refinements/{refinement_id}/marks")
async def mark_picture(api: Opened, who: Asker, refinement_id: str, new: NewMark) -> MarksShape:
    """Mark a picture as a favourite, or take the mark away. Whoever knows the refinement may."""

    def mark(studio: Studio) -> MarksShape:
        found, _ = _seen(studio, who.submitter, refinement_id)
        version = refine.mark(studio, found.id, new.job_id, new.marked)
        return MarksShape(version=version, marked=sorted(refinements.marks_of(studio.db, found.id)))

    return await api.ask(mark)


@router.patch("/refinements/{refinement_id}/rows/{place}")
async def set_row(api: Opened, who: Asker, refinement_id: str, place: Place, new: RowSettings) -> RowShape:
    """Change what a row's next step is set to, for every device that shows it."""

    def change(studio: Studio) -> RowShape:
        found, shown = _row(studio, who.submitter, refinement_id, place)
        values = new.model_dump(exclude_none=True)
        if values:
            refine.set_up(studio, found.id, shown.stage.submission.id, values)
        return _told(studio, who.submitter, _row(studio, who.submitter, refinement_id, place)[1])

    return await api.ask(change)


@router.post("/refinements/{refinement_id}/rows/{place}/vary", status_code=201)
async def vary_row(order: Orders, refinement_id: str, place: Place, new: NewRow) -> RowShape:
    """A new row: variations of what is marked in this one, shared out evenly."""

    def make(studio: Studio, submitter: Submitter) -> int:
        found, shown = _row(studio, submitter, refinement_id, place)
        set_to = shown.stage.settings
        made = refine.vary_marked(
            studio,
            submitter,
            found.id,
            shown.stage,
            _chosen(shown, new.job_ids),
            count=new.count or set_to.get("count", COUNT),
            skip_rate=set_to.get("skip_rate", SKIP_RATE) if new.skip_rate is None else new.skip_rate,
        )
        return made.place

    return await _new_row(order, refinement_id, await order.answer(new, make, _place_of))


@router.post("/refinements/{refinement_id}/rows/{place}/upscale", status_code=201)
async def upscale_row(order: Orders, refinement_id: str, place: Place, new: NewLargeRow) -> RowShape:
    """A new row: what is marked in this one, upscaled."""

    def make(studio: Studio, submitter: Submitter) -> int:
        found, shown = _row(studio, submitter, refinement_id, place)
        chosen = _chosen(shown, new.job_ids)
        return refine.upscale_marked(studio, submitter, found.id, shown.stage, chosen).place

    return await _new_row(order, refinement_id, await order.answer(new, make, _place_of))


def look(studio: Studio, submitter: Submitter, refinement_id: str) -> RefinementShape:
    """A refinement as it is told. Raises UnknownRefinement."""
    found, rows = _seen(studio, submitter, refinement_id)
    return RefinementShape(
        id=found.id,
        prompt=found.prompt,
        version=found.version,
        mine=found.submitter == submitter.id,
        rows=[_told(studio, submitter, one) for one in rows],
        created_at=at(found.created_at),
        url=_url(found.id),
    )


def _seen(studio: Studio, submitter: Submitter, refinement_id: str) -> tuple[Refinement, list[Row]]:
    found, stages = refine.refinement(studio, submitter, refinement_id)
    rows = [row(studio, submitter, found, stage, refine.row_of(studio, found, stage)) for stage, _ in stages]
    return found, rows


def _row(studio: Studio, submitter: Submitter, refinement_id: str, place: int) -> tuple[Refinement, Row]:
    found, rows = _seen(studio, submitter, refinement_id)
    if place > len(rows):
        raise BadParams(f"There is no row {place}; the refinement has {len(rows)}.")
    return found, rows[place - 1]


def _told(studio: Studio, submitter: Submitter, shown: Row) -> RowShape:
    stage = shown.stage
    everyone = submissions.jobs_of(studio.db, stage.submission.id)
    order = {member.job.id: n for n, member in enumerate(shown.members)}
    everyone.sort(key=lambda member: order.get(member.job.id, len(order)))
    return RowShape(
        place=stage.place,
        sheet=sheet_of(studio, submitter, stage.submission, everyone),
        marked=[member.job.id for member in shown.members if member.job.id in shown.marks],
        settings={"skip_rate": SKIP_RATE, "count": COUNT, **stage.settings},
    )


def _chosen(shown: Row, job_ids: list[str] | None) -> Marked:
    """Raises BadParams for one that is no finished picture of the row."""
    if job_ids is None:
        return shown.marked
    for job_id in job_ids:
        if job_id not in shown.pictures:
            raise BadParams(f"{job_id!r} is no job of this row with a finished picture.")
    return shown.chosen(set(job_ids))


async def _new_row(order: Ordering, refinement_id: str, place: int) -> RowShape:
    submitter = order.who.submitter
    return await order.api.ask(
        lambda studio: _told(studio, submitter, _row(studio, submitter, refinement_id, place)[1])
    )


def _refinement_of(studio: Studio, jobs: list[Job]) -> str:
    return refinements.of_submission(studio.db, sheet_id_of(studio, jobs))


def _place_of(studio: Studio, jobs: list[Job]) -> int:
    sheet_id = sheet_id_of(studio, jobs)
    stages = refinements.stages_of(studio.db, refinements.of_submission(studio.db, sheet_id))
    return next(stage.place for stage in stages if stage.submission.id == sheet_id)


def _url(refinement_id: str) -> str:
    return f"{ROOT}/refinements/{refinement_id}"
