"""The host's data: what is kept, the evening as a zip, its end, and the keys of programs. Needs the scope `host`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi import Path as InPath
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from api.callers import Host, Opened
from api.native import ROOT
from api.native.shapes import at
from db.errors import UnknownExport
from db.rules.keys import MAX_OWN, Key
from studio import host, keys
from studio.context import Studio, Submitter
from studio.left import sentences

router = APIRouter(prefix="/host", tags=["host"])

Name = Annotated[str, InPath(max_length=255)]


class KindShape(BaseModel):
    """Files of one kind. size: bytes."""

    kind: str
    files: int
    size: int


class UsageShape(BaseModel):
    """What is kept, in bytes. free: on the store's disk; null where the store is elsewhere."""

    files: int
    database: int
    free: int | None
    kinds: list[KindShape]


class ExportShape(BaseModel):
    """A zip of an evening. size: bytes."""

    name: str
    size: int
    url: str


class WrittenExportShape(ExportShape):
    """A zip that was just written, and how much went into it."""

    pictures: int
    votes: int


class ExportsShape(BaseModel):
    exports: list[ExportShape]


class NewExport(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str = Field("Pictures of the evening", max_length=host.MAX_TITLE_LENGTH)
    hours: float | None = Field(
        None, gt=0, le=1e6, allow_inf_nan=False, description="Of the last so many hours; null: everything."
    )


class Forget(BaseModel):
    model_config = ConfigDict(extra="forbid")

    confirmation: str = Field(max_length=100, description=f"{host.CONFIRMATION}: it cannot be undone.")
    exports: bool = Field(False, description="The exported zips as well.")


class LeftExecutorShape(BaseModel):
    """An executor that has not yet removed what was deleted from its machine. live: it will within seconds."""

    id: str
    hostname: str
    folder: str | None
    last_heard: datetime
    live: bool


class LeftShape(BaseModel):
    """What is still there of what was deleted, found by looking again. nothing: all of it is gone, from every machine.
    sentences: each thing that is left, where it is and why. rows: by table; files: in the store; other: folders there
    that are not the studio's."""

    nothing: bool
    sentences: list[str]
    rows: dict[str, int]
    files: int
    other: list[str]
    frames: list[str]
    executors: list[LeftExecutorShape]


class ForgottenShape(BaseModel):
    """How much was deleted. compacted: the database's own file holds nothing of it either, in pages that are free."""

    jobs: int
    files: int
    compacted: bool
    left: LeftShape


class KeyShape(BaseModel):
    """A key of a program, without what would let anybody in. Limits null: those of everybody."""

    id: str
    name: str
    scope: str
    max_queued: int | None
    max_per_hour: int | None
    created_at: datetime
    revoked_at: datetime | None


class MadeKeyShape(KeyShape):
    """A new key and its secret, which is nowhere else."""

    secret: str


class KeysShape(BaseModel):
    keys: list[KeyShape]


class NewKey(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=400, description="What it is for; shown with its pictures.")
    scope: Literal["read", "submit", "host"] = Field("submit", description="Each may do what those before it may.")
    max_queued: int | None = Field(None, ge=1, le=MAX_OWN)
    max_per_hour: int | None = Field(None, ge=1, le=MAX_OWN)


@router.get("/usage")
async def get_usage(api: Opened, who: Host) -> UsageShape:
    """What is kept on disk."""

    def look(studio: Studio) -> UsageShape:
        kept = host.usage(studio, who.submitter)
        kinds = [KindShape(kind=kind, files=count, size=size) for kind, (count, size) in kept.kinds.items()]
        return UsageShape(files=kept.files, database=kept.database, free=kept.free, kinds=kinds)

    return await api.ask(look)


@router.get("/exports")
async def list_exports(api: Opened, who: Host) -> ExportsShape:
    """The zips that have been written, the newest first."""

    def look(studio: Studio) -> ExportsShape:
        found = [(path, size) for path in host.exports(studio, who.submitter) if (size := _size(path)) is not None]
        return ExportsShape(exports=[ExportShape(**_export(path, size)) for path, size in found])

    return await api.ask(look)


@router.post("/exports", status_code=201)
async def write_export(api: Opened, who: Host, new: NewExport | None = None) -> WrittenExportShape:
    """Write a zip of the pictures that are not hidden, their films and settings, the votes, and a gallery."""
    wanted = new or NewExport()

    def write(studio: Studio) -> WrittenExportShape:
        path, done = host.export(studio, who.submitter, wanted.title, wanted.hours)
        return WrittenExportShape(**_export(path, done.size), pictures=done.pictures, votes=done.votes)

    return await api.ask(write)


@router.get(
    "/exports/{name}",
    response_class=FileResponse,
    responses={
        status: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
        for status in (200, 206)
    },
)
async def get_export(api: Opened, who: Host, name: Name) -> FileResponse:
    """A zip, read from disk while it is sent; takes Range."""

    def look(studio: Studio) -> Path:
        return host.export_path(studio, who.submitter, name)

    return FileResponse(await api.ask(look), media_type="application/zip", filename=name)


@router.delete("/exports/{name}")
async def delete_export(api: Opened, who: Host, name: Name) -> ExportShape:
    """Remove a zip; the one that was there."""

    def remove(studio: Studio) -> ExportShape:
        path = host.export_path(studio, who.submitter, name)
        size = _size(path)
        if size is None:
            raise UnknownExport(name)
        host.delete_export(studio, who.submitter, name)
        return ExportShape(**_export(path, size))

    return await api.ask(remove)


@router.post("/forget")
async def forget(api: Opened, who: Host, new: Forget) -> ForgottenShape:
    """Delete every job with its pictures, every upload, vote, sheet, name and ban, in the store, the database and the
    executors' work folders; rules and keys are kept, exports too unless told otherwise. The queue must be paused and
    nothing may run."""

    def end(studio: Studio) -> ForgottenShape:
        gone = host.forget(studio, who.submitter, new.confirmation, with_exports=new.exports)
        left = _left(studio, who.submitter)
        return ForgottenShape(jobs=gone.jobs, files=gone.files, compacted=gone.compacted, left=left)

    return await api.ask(end)


@router.get("/left")
async def get_left(api: Opened, who: Host) -> LeftShape:
    """What is still there of what was deleted last, by looking again."""
    return await api.ask(_left, who.submitter)


@router.delete("/left/{worker_id}")
async def write_off(api: Opened, who: Host, worker_id: Name) -> LeftShape:
    """An executor's machine is gone, or was cleared by hand: nothing is waited for from there."""

    def write(studio: Studio) -> LeftShape:
        host.write_off(studio, who.submitter, worker_id)
        return _left(studio, who.submitter)

    return await api.ask(write)


@router.get("/keys")
async def list_keys(api: Opened, who: Host) -> KeysShape:
    """All keys, revoked ones included, the newest first."""
    return await api.ask(lambda studio: KeysShape(keys=[_key(one) for one in keys.every_key(studio, who.submitter)]))


@router.post("/keys", status_code=201)
async def make_key(api: Opened, who: Host, new: NewKey) -> MadeKeyShape:
    """A new key; its secret is in this answer and nowhere else."""

    def make(studio: Studio) -> MadeKeyShape:
        secret, key = keys.make_key(studio, who.submitter, new.name, new.scope, new.max_queued, new.max_per_hour)
        return MadeKeyShape(**_key(key).model_dump(), secret=secret)

    return await api.ask(make)


@router.delete("/keys/{key_id}")
async def revoke_key(api: Opened, who: Host, key_id: str) -> KeyShape:
    """Nobody is let in with it any more; what it has asked for stays."""
    return await api.ask(lambda studio: _key(keys.revoke_key(studio, who.submitter, key_id)))


def _left(studio: Studio, submitter: Submitter) -> LeftShape:
    found = host.left(studio, submitter)
    return LeftShape(
        nothing=found.nothing,
        sentences=[str(one) for one in sentences(found, host.exports(studio, submitter))],
        rows=found.rows,
        files=len(found.files),
        other=list(found.folders),
        frames=list(found.frames),
        executors=[
            LeftExecutorShape(
                id=one.worker.id,
                hostname=one.worker.hostname,
                folder=one.worker.folder,
                last_heard=at(one.worker.beat_at),
                live=one.live,
            )
            for one in found.executors
        ],
    )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # removed just now
        return None


def _export(path: Path, size: int) -> dict[str, Any]:
    return {"name": path.name, "size": size, "url": f"{ROOT}/host/exports/{path.name}"}


def _key(found: Key) -> KeyShape:
    return KeyShape(
        id=found.id,
        name=found.name,
        scope=found.scope,
        max_queued=found.max_queued,
        max_per_hour=found.max_per_hour,
        created_at=at(found.created_at),
        revoked_at=None if found.revoked_at is None else at(found.revoked_at),
    )
