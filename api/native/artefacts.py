"""Files: what is known of one, and its bytes, whole or in parts (RFC 9110: ETag, Range)."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.callers import Opened, Reader
from api.content import content
from api.native.shapes import OneFileShape, file_of
from studio import access
from studio.context import Studio

router = APIRouter(tags=["artefacts"])

_BINARY = {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}  # a picture, a film or JSON


@router.get("/artefacts/{artefact_id}")
async def get_artefact(api: Opened, who: Reader, artefact_id: str) -> OneFileShape:
    """What is known of a file."""

    def find(studio: Studio) -> OneFileShape:
        found = access.artefact(studio, who.submitter, artefact_id)
        return OneFileShape(**file_of(found).model_dump(), licence=access.licence(studio, found))

    return await api.ask(find)


@router.head("/artefacts/{artefact_id}/content", include_in_schema=False)
@router.get(
    "/artefacts/{artefact_id}/content",
    response_class=Response,
    responses={200: _BINARY, 206: _BINARY, 304: {"description": "It is what you have."}},
)
async def get_content(api: Opened, who: Reader, request: Request, artefact_id: str) -> Response:
    """The bytes of a file, or a part of them."""
    found = await api.ask(access.artefact, who.submitter, artefact_id)
    return await content(api, request, who.submitter, found)
