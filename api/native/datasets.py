"""Captioned pictures to train models from: sent as a zip, put together from the gallery, looked at, deleted."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from api.callers import Asker, Opened
from api.native import ROOT
from api.native.sent import declared_bytes, sent_file
from api.native.shapes import at
from db.datasets import gallery
from db.datasets.records import Dataset
from studio import datasets
from studio.context import Studio
from studio.datasets import MAX_LICENCE, MAX_NAME

router = APIRouter(prefix="/datasets", tags=["training"])
_ZIP = {"schema": {"type": "string", "format": "binary"}}


class DatasetShape(BaseModel):
    """Captioned pictures that a model can be trained from."""

    id: str
    name: str
    data: str = Field(description="What a run's `data` says to learn from it.")
    count: int = Field(description="Pictures.")
    bytes: int
    licence: str
    report: dict[str, Any] = Field(description="What was found when it was checked: problems, sizes, captions.")
    sheet_url: str = Field(description="Where some of its pictures are on one sheet, a PNG.")
    created_at: datetime


class DatasetsShape(BaseModel):
    datasets: list[DatasetShape]


class NewGalleryDataset(BaseModel):
    """Finished drawings with their prompts as captions."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=MAX_NAME)
    choice: Literal["favourites", "best", "mine"] = Field(
        description="favourites: those you marked in refinements; best: those preferred in votes; mine: all you drew."
    )
    most: int = Field(gallery.MAX_DRAWINGS, ge=1, le=gallery.MAX_DRAWINGS, description="Pictures, at most.")
    licence: str = Field("", max_length=MAX_LICENCE, description="Of the pictures, as you know it.")


Name = Annotated[str, Query(min_length=1, max_length=MAX_NAME, description="What you call it.")]
Licence = Annotated[str, Query(max_length=MAX_LICENCE, description="Of the pictures, as you know it.")]


@router.post(
    "",
    status_code=201,
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": _ZIP}}},
)
async def create_dataset(api: Opened, who: Asker, request: Request, name: Name, licence: Licence = "") -> DatasetShape:
    """Check a zip of captioned pictures and keep it: the body is the file. Captions are in metadata.csv or
    metadata.jsonl (`file_name`, `text`), or beside each picture in a .txt of its name."""
    size = declared_bytes(request, api.settings.max_dataset_bytes)
    await api.ask(datasets.check_dataset, who.submitter, name, licence, size)
    async with sent_file(api, request, "sent.zip") as file:

        def keep(studio: Studio) -> DatasetShape:
            return _told(datasets.add_zip(studio, who.submitter, file, name=name, licence=licence))

        return await api.ask(keep)


@router.post("/gallery", status_code=201)
async def create_dataset_of_gallery(api: Opened, who: Asker, new: NewGalleryDataset) -> DatasetShape:
    """Keep finished drawings, with what they were drawn from as captions. What the host has hidden is never among
    them, nor what was drawn from a picture that somebody else gave."""

    def keep(studio: Studio) -> DatasetShape:
        made = datasets.add_gallery(
            studio, who.submitter, new.choice, name=new.name, licence=new.licence, most=new.most
        )
        return _told(made)

    return await api.ask(keep)


@router.get("")
async def list_datasets(api: Opened, who: Asker) -> DatasetsShape:
    """Yours, the newest first: nobody else is shown them. Needs a key."""
    return await api.ask(
        lambda studio: DatasetsShape(datasets=[_told(one) for one in datasets.listed(studio, who.submitter)])
    )


@router.get("/{dataset_id}")
async def get_dataset(api: Opened, who: Asker, dataset_id: str) -> DatasetShape:
    """One of yours."""
    return await api.ask(lambda studio: _told(datasets.get(studio, who.submitter, dataset_id)))


@router.get("/{dataset_id}/sheet", response_class=Response, responses={200: {"content": {"image/png": {}}}})
async def get_dataset_sheet(api: Opened, who: Asker, dataset_id: str) -> Response:
    """Some of its pictures on one sheet."""
    data = await api.ask(datasets.sheet, who.submitter, dataset_id)
    return Response(data, media_type="image/png", headers={"cache-control": "private, no-cache"})


@router.delete("/{dataset_id}")
async def delete_dataset(api: Opened, who: Asker, dataset_id: str) -> DatasetShape:
    """Delete one of yours: runs that still learn from it fail, models that have learnt from it stay. Needs a key."""
    return await api.ask(lambda studio: _told(datasets.delete(studio, who.submitter, dataset_id)))


def _told(found: Dataset) -> DatasetShape:
    return DatasetShape(
        id=found.id,
        name=found.name,
        data=found.reference,
        count=found.count,
        bytes=found.bytes,
        licence=found.licence,
        report=found.report,
        sheet_url=f"{ROOT}/datasets/{found.id}/sheet",
        created_at=at(found.created_at),
    )
