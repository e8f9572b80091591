"""Files: what is known of one, and its bytes, whole or in parts (RFC 9110: ETag, Range)."""

from __future__ import annotations

import re

from fastapi import APIRouter, Request, Response

from api.callers import Opened, Reader
from api.native.shapes import FileShape, file_of
from api.problems import NotAnswered
from db.artefacts import Artefact
from db.errors import UnknownArtefact
from db.jobs import ID
from studio import access
from studio.context import Studio, Submitter

router = APIRouter(tags=["artefacts"])

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_BINARY = {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}  # a picture, a film or JSON


@router.get("/artefacts/{artefact_id}")
async def get_artefact(api: Opened, who: Reader, artefact_id: str) -> FileShape:
    """What is known of a file."""
    return file_of(await api.ask(record, who.submitter, artefact_id))


@router.head("/artefacts/{artefact_id}/content", include_in_schema=False)
@router.get(
    "/artefacts/{artefact_id}/content",
    response_class=Response,
    responses={200: _BINARY, 206: _BINARY, 304: {"description": "It is what you have."}},
)
async def get_content(api: Opened, who: Reader, request: Request, artefact_id: str) -> Response:
    """The bytes of a file, or a part of them."""
    found = await api.ask(record, who.submitter, artefact_id)
    etag = f'"{found.sha256}"'
    # What is hidden is gone at once: it is asked for again each time.
    headers = {"etag": etag, "cache-control": "private, no-cache", "accept-ranges": "bytes", **_DOWNLOADED}
    if etag in _tags(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    data = await api.ask(access.file, who.submitter, found)
    return part(request, data, found.media_type, headers)


# Whatever was uploaded, a browser takes it for the picture it is said to be.
_DOWNLOADED = {"x-content-type-options": "nosniff", "content-security-policy": "default-src 'none'; sandbox"}


def record(studio: Studio, submitter: Submitter, artefact_id: str) -> Artefact:
    """The file's record, where they may see it. Raises UnknownArtefact, for what can be no id as well."""
    if not ID.fullmatch(artefact_id):
        raise UnknownArtefact(f"There is no artefact with the id {artefact_id!r}.")
    found = access.artefact(studio, submitter, artefact_id)
    if found.kind == "state":  # of a job in progress: of use to executors alone
        raise UnknownArtefact(f"There is no artefact with the id {artefact_id!r}.")
    return found


def part(request: Request, data: bytes, media_type: str, headers: dict[str, str]) -> Response:
    """All of the bytes, or the one range that was asked for. Raises NotAnswered (416) for one that is not there."""
    asked = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    fresh = request.headers.get("if-range", headers.get("etag")) == headers.get("etag")
    if asked is None or not (asked[1] or asked[2]) or not fresh:
        return Response(data, media_type=media_type, headers=headers)
    if asked[1]:
        first, last = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
    else:
        first, last = max(len(data) - int(asked[2]), 0), len(data) - 1
    if first > last or first >= len(data):
        raise NotAnswered(
            416,
            f"The file has {len(data)} bytes; the range asked for is not among them.",
            "bad_range",
            content_range=f"bytes */{len(data)}",
        )
    headers = {**headers, "content-range": f"bytes {first}-{last}/{len(data)}"}
    return Response(data[first : last + 1], 206, headers, media_type)


def _tags(text: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in text.split(",")]
