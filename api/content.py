"""The bytes of a file as an answer: whole, in parts, or the word that the caller has them (RFC 9110: ETag, Range)."""

from __future__ import annotations

from fastapi import Request, Response

from api.opened import Api
from api.ranges import part
from db.artefacts import Artefact
from studio import access
from studio.context import Submitter

# Whatever was uploaded, a browser takes it for the picture it is said to be.
_DOWNLOADED = {"x-content-type-options": "nosniff", "content-security-policy": "default-src 'none'; sandbox"}


async def content(
    api: Api, request: Request, submitter: Submitter, found: Artefact, more: dict[str, str] | None = None
) -> Response:
    """The file, with these headers besides. Raises UnknownJob where it is hidden by then, NotAnswered (416)."""
    etag = f'"{found.sha256}"'
    # What is hidden is gone at once: it is asked for again each time.
    headers = {"etag": etag, "cache-control": "private, no-cache", "accept-ranges": "bytes", **_DOWNLOADED}
    headers |= more or {}
    if etag in _tags(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    data = await api.ask(access.file, submitter, found)
    return part(request, data, found.media_type, headers)


def _tags(text: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in text.split(",")]
