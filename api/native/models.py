"""Models that were trained here or brought as a file: with their cards, in and out as one file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from pydantic import BaseModel, Field

from api.callers import Host, Opened, Reader
from api.native import ROOT
from api.native.sent import declared_bytes, sent_file
from api.native.shapes import at
from db.models.trained import TrainedModel
from studio import importing, train
from studio.context import Studio

router = APIRouter(tags=["training"])
PIECE = 1 << 20  # bytes
_FILE = {"schema": {"type": "string", "format": "binary"}}
_BINARY = {"content": {"application/octet-stream": _FILE}}


class ModelShape(BaseModel):
    """A model that was trained here, or brought as a file."""

    name: str = Field(description="KIND/NAME: the checkpoint to draw with.")
    kind: str
    engine: str | None = Field(description="The engine that draws with it; null for what is no checkpoint.")
    job_id: str | None
    bytes: int
    sha256: str
    licence: str = Field(description="Of what it was trained on, as its maker knows it.")
    card: dict[str, Any]
    file_url: str = Field(description="Where its file is, to be taken home.")
    created_at: datetime


class ModelsShape(BaseModel):
    models: list[ModelShape]


Name = Annotated[str, Query(min_length=1, max_length=64, description="What it is called here, without its kind.")]
Licence = Annotated[str, Query(max_length=200, description="Of what it was trained on; empty: as its file says.")]


@router.get("/models")
async def list_models(api: Opened, who: Reader) -> ModelsShape:
    """The models that were trained here or imported, the newest first, with their cards."""
    return await api.ask(
        lambda studio: ModelsShape(models=[model_of(one) for one in train.models(studio, who.submitter)])
    )


@router.get("/models/{kind}/{name}")
async def get_model(api: Opened, who: Reader, kind: str, name: str) -> ModelShape:
    """One of them."""
    return await api.ask(lambda studio: model_of(train.model(studio, who.submitter, f"{kind}/{name}")))


@router.head("/models/{kind}/{name}/file", include_in_schema=False)
@router.get(
    "/models/{kind}/{name}/file",
    response_class=Response,
    responses={200: _BINARY, 206: _BINARY, 416: {"description": "The range asked for is not in the file."}},
)
async def get_model_file(api: Opened, who: Reader, kind: str, name: str) -> Response:
    """One of them as one file, which `POST /models` of another studio takes."""

    def look(studio: Studio) -> tuple[TrainedModel, Path | None]:
        found = train.model(studio, who.submitter, f"{kind}/{name}")
        there = studio.store.exists(found.key)
        return found, studio.store.local_path(found.key) if there else None

    found, path = await api.ask(look)
    called = train.file_name(found)
    headers = {"x-content-type-options": "nosniff", "cache-control": "private, no-cache"}
    if path is not None:  # read from the disk as it is sent; takes Range
        return FileResponse(path, media_type="application/octet-stream", filename=called, headers=headers)
    headers |= {"content-length": str(found.bytes), "content-disposition": f'attachment; filename="{called}"'}
    pieces = await api.ask(_pieces, found.key)
    return StreamingResponse(pieces, headers=headers, media_type="application/octet-stream")


def _pieces(studio: Studio, key: str) -> Iterator[bytes]:
    """The bytes of a file, a piece at a time. Raises UnknownArtefact, StoreUnavailable before the first one."""

    def read() -> Iterator[bytes]:
        with studio.store.open(key) as file:
            yield b""  # it is there
            while data := file.read(PIECE):
                yield data

    pieces = read()
    next(pieces)
    return pieces


@router.post(
    "/models", status_code=201, openapi_extra={"requestBody": {"required": True, "content": _BINARY["content"]}}
)
async def import_model(api: Opened, who: Host, request: Request, name: Name, licence: Licence = "") -> ModelShape:
    """Bring a model along, the body being its file: .safetensors of a model trained from captions in a studio like this
    one, or a LoRA of whatever tool. It can be drawn with at once. Needs a key of the scope `host`."""
    size = declared_bytes(request, api.settings.max_model_bytes)
    await api.ask(importing.check_import, who.submitter, name, size)
    async with sent_file(api, request, "model") as file:

        def keep(studio: Studio) -> ModelShape:
            return model_of(importing.import_model(studio, who.submitter, file, name=name, licence=licence))

        return await api.ask(keep)


@router.delete("/models/{kind}/{name}")
async def remove_model(api: Opened, who: Host, kind: str, name: str) -> ModelShape:
    """Remove a model that was brought as a file; one that a run has made goes with its job. Needs a key of the scope
    `host`."""
    return await api.ask(lambda studio: model_of(importing.remove_model(studio, who.submitter, f"{kind}/{name}")))


def model_of(found: TrainedModel) -> ModelShape:
    """As it is answered."""
    engine = train.engine_of(found)
    return ModelShape(
        **{name: getattr(found, name) for name in ("name", "kind", "job_id", "bytes", "sha256", "licence", "card")},
        engine=None if engine is None else engine[0],
        file_url=f"{ROOT}/models/{found.name}/file",
        created_at=at(found.created_at),
    )
