"""Sheets: pictures that were asked for together, ranked, as one file, or cancelled together."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.callers import Asker, Opened, Reader
from api.native import ROOT
from api.native.ordering import Orders, Told
from api.native.shapes import JobShape, ListedSheetShape, SheetShape, asked_one, at, sheet_of, with_links
from db import artefacts
from db.jobs import Job, State
from db.sheets import submissions
from db.sheets.submissions import Member
from generator import registry
from generator.params import BadParams
from studio import access, sheets, standing
from studio.access import may_see
from studio.context import Studio, Submitter
from studio.rank import rank, rank_any
from studio.sheet_page import Words

router = APIRouter(tags=["sheets"])

MAX_RANKED = 64
Clip = Annotated[
    list[str] | None, Field(max_length=4, description="CLIP models that judge, averaged; none: the embedded one.")
]


class ListedSheetsShape(BaseModel):
    sheets: list[ListedSheetShape]


class NewRanking(Told):
    """How pictures of a sheet are to be ranked."""

    prompt: str | None = Field(None, max_length=10_000, description="What they should show; none: the sheet's own.")
    clip: Clip = None
    pictures: list[str] | None = Field(
        None, max_length=MAX_RANKED, description="Ids of the files to rank; none: every finished picture of the sheet."
    )


class NewFreeRanking(Told):
    """Finished pictures to rank, whoever they are of."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"prompt": "a red heart", "job_ids": ["0", "1"]}]})

    prompt: str = Field(max_length=10_000)
    job_ids: list[str] = Field(min_length=2, max_length=MAX_RANKED)
    clip: Clip = None


_PNG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
}
_GIF: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/gif": {"schema": {"type": "string", "format": "binary"}}}}
}
_HTML: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}
_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


@router.get("/sheets")
async def list_sheets(api: Opened, who: Reader, limit: Annotated[int, Query(ge=1, le=100)] = 24) -> ListedSheetsShape:
    """Your own sheets, the newest first."""

    def own(studio: Studio) -> ListedSheetsShape:
        found = sheets.own_sheets(studio, who.submitter, limit=limit)
        return ListedSheetsShape(
            sheets=[
                ListedSheetShape(
                    id=one.id,
                    kind=one.kind,
                    prompt=one.prompt,
                    job_ids=job_ids,
                    created_at=at(one.created_at),
                    url=f"{ROOT}/sheets/{one.id}",
                )
                for one, job_ids in found
            ]
        )

    return await api.ask(own)


@router.get("/sheets/{sheet_id}")
async def get_sheet(api: Opened, who: Reader, sheet_id: str) -> SheetShape:
    """A sheet with its jobs as they are now."""
    return await api.ask(look, who.submitter, sheet_id)


@router.post("/sheets/{sheet_id}/rank", status_code=201)
async def rank_sheet(order: Orders, sheet_id: str, new: NewRanking) -> JobShape:
    """Have CLIP put finished pictures of a sheet in order."""

    def make(studio: Studio, submitter: Submitter) -> list[Job]:
        found, everyone = sheets.sheet(studio, submitter, sheet_id)
        prompt = found.prompt if new.prompt is None else new.prompt
        pictures = _pictures(studio, sheets.pictures_of(submitter, everyone), new.pictures)
        return [rank(studio, submitter, found, pictures, prompt=prompt, clip=_clip(new.clip))]

    return await asked_one(order.api, order.who.submitter, *await order.jobs(new, make))


@router.post("/rankings", status_code=201)
async def rank_pictures(order: Orders, new: NewFreeRanking) -> JobShape:
    """Have CLIP put any finished pictures in order. The result is the job's file of the kind `result`."""

    def make(studio: Studio, submitter: Submitter) -> list[Job]:
        pictures = [picture.id for _, picture in access.finished(studio, submitter, new.job_ids)]
        return [rank_any(studio, submitter, pictures, prompt=new.prompt, clip=_clip(new.clip))]

    return await asked_one(order.api, order.who.submitter, *await order.jobs(new, make))


@router.post("/sheets/{sheet_id}/cancel")
async def cancel_sheet(api: Opened, who: Asker, sheet_id: str) -> SheetShape:
    """End what waits or runs of your own jobs on a sheet."""

    def end(studio: Studio) -> SheetShape:
        _, everyone = sheets.sheet(studio, who.submitter, sheet_id)
        sheets.cancel_all(studio, who.submitter, sheets.still_theirs(who.submitter, everyone))
        return look(studio, who.submitter, sheet_id)

    return await api.ask(end)


@router.get("/sheets/{sheet_id}/picture.png", response_class=Response, responses=_PNG)
async def get_sheet_picture(api: Opened, who: Reader, sheet_id: str) -> Response:
    """The sheet as one PNG: each picture with its place, score and time; the labels of a comparison's axes once."""

    def drawn(studio: Studio) -> bytes:
        lines, best = _lines(studio, who.submitter, sheet_id)
        return sheets.as_png(studio, who.submitter, sheet_id, lines, best=best)

    return Response(await api.ask(drawn), media_type="image/png", headers=_FRESH)


@router.get("/sheets/{sheet_id}/page.html", response_class=Response, responses=_HTML)
async def get_sheet_page(api: Opened, who: Reader, sheet_id: str) -> Response:
    """The sheet as one HTML file with its pictures in it, for a phone, a printer or a mail."""

    def drawn(studio: Studio) -> bytes:
        lines, best = _lines(studio, who.submitter, sheet_id)
        return sheets.as_html(studio, who.submitter, sheet_id, lines, Words(note=standing.TIMES), best=best)

    named = {"content-disposition": f'attachment; filename="{sheet_id}.html"'}
    return Response(await api.ask(drawn), media_type="text/html", headers=_FRESH | named)


@router.get("/sheets/{sheet_id}/table.csv", response_class=Response, responses=_CSV)
async def get_sheet_table(api: Opened, who: Reader, request: Request, sheet_id: str) -> Response:
    """The sheet as CSV, a line a picture: its values of the axes, engine, seed, score, seconds, job and address.

    seconds: what its steps had of the device, as if it had been drawn alone.
    """
    root = f"{api.address_of(request)}{ROOT}/jobs/"

    def written(studio: Studio) -> bytes:
        return sheets.as_csv(studio, who.submitter, sheet_id, lambda job_id: root + job_id)

    return Response(await api.ask(written), media_type="text/csv; charset=utf-8", headers=_FRESH)


@router.get("/sheets/{sheet_id}/film.gif", response_class=Response, responses=_GIF)
async def get_sheet_film(api: Opened, who: Reader, sheet_id: str) -> Response:
    """The films of the sheet side by side, as one GIF; those of its pictures that have one."""

    def drawn(studio: Studio) -> bytes:
        lines, best = _lines(studio, who.submitter, sheet_id)
        files = artefacts.of_jobs(studio.db, list(lines))
        films = {job_id: line for job_id, line in lines.items() if "gif" in files[job_id]}
        if not films:
            raise BadParams("There is no film on this sheet yet.")
        return sheets.as_film(studio, who.submitter, sheet_id, films, best=best)

    return Response(await api.ask(drawn), media_type="image/gif", headers=_FRESH)


_FRESH = {"cache-control": "private, no-cache"}  # what is hidden is gone from it at once


def asked(studio: Studio, submitter: Submitter, sheet_id: str) -> SheetShape:
    """A sheet as it is told to whoever has just asked for all that is in it."""
    found = look(studio, submitter, sheet_id)
    return found.model_copy(update={"jobs": with_links(studio, found.jobs)})


def look(studio: Studio, submitter: Submitter, sheet_id: str) -> SheetShape:
    """A sheet as it is told. Raises UnknownSubmission."""
    return sheet_of(studio, submitter, *sheets.sheet(studio, submitter, sheet_id))


def sheet_id_of(studio: Studio, jobs: list[Job]) -> str:
    """The sheet of jobs that were asked for together."""
    return submissions.of_jobs(studio.db, [jobs[0].id])[jobs[0].id].id


def _pictures(studio: Studio, members: list[Member], wanted: list[str] | None) -> list[str]:
    done = [member.job.id for member in members if member.job.state == State.SUCCEEDED]
    files = artefacts.of_jobs(studio.db, done)
    there = [files[job_id]["picture"].id for job_id in done if "picture" in files[job_id]]
    for picture in wanted or ():
        if picture not in there:
            raise BadParams(f"{picture!r} is no finished picture of this sheet.")
    return there if wanted is None else wanted


def _clip(names: list[str] | None) -> list[str]:
    return list(registry.RANKING) if names is None else names


def _lines(studio: Studio, submitter: Submitter, sheet_id: str) -> tuple[dict[str, str], str | None]:
    found, everyone = sheets.sheet(studio, submitter, sheet_id)
    return standing.lines(studio, found, [member for member in everyone if may_see(submitter, member.job)])
