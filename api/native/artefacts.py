"""Files: what is known of one, and its bytes, whole or in parts (RFC 9110: ETag, Range)."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.callers import Opened, Reader
from api.native.shapes import FileShape, file_of
from api.ranges import part
from studio import access

router = APIRouter(tags=["artefacts"])

_BINARY = {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}  # a picture, a film or JSON


@router.get("/artefacts/{artefact_id}")
async def get_artefact(api: Opened, who: Reader, artefact_id: str) -> FileShape:
    """What is known of a file."""
    return file_of(await api.ask(access.artefact, who.submitter, artefact_id))


@router.head("/artefacts/{artefact_id}/content", include_in_schema=False)
@router.get(
    "/artefacts/{artefact_id}/content",
    response_class=Response,
    responses={200: _BINARY, 206: _BINARY, 304: {"description": "It is what you have."}},
)
async def get_content(api: Opened, who: Reader, request: Request, artefact_id: str) -> Response:
    """The bytes of a file, or a part of them."""
    found = await api.ask(access.artefact, who.submitter, artefact_id)
    etag = f'"{found.sha256}"'
    # What is hidden is gone at once: it is asked for again each time.
    headers = {"etag": etag, "cache-control": "private, no-cache", "accept-ranges": "bytes", **_DOWNLOADED}
    if etag in _tags(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    data = await api.ask(access.file, who.submitter, found)
    return part(request, data, found.media_type, headers)


# Whatever was uploaded, a browser takes it for the picture it is said to be.
_DOWNLOADED = {"x-content-type-options": "nosniff", "content-security-policy": "default-src 'none'; sandbox"}


def _tags(text: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in text.split(",")]
