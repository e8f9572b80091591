"""Search by meaning: pictures that show what words say, or that are like another picture, best first."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from api.callers import Opened, Reader
from api.native.boards import OnlyKept
from api.native.jobs import plain
from api.native.shapes import JobsShape, told
from api.opened import Api
from db.jobs import State
from studio import access, search
from studio.context import Submitter
from studio.engines import engines_making
from studio.search import MAX_WORDS, Found, Waits

router = APIRouter(tags=["search"])

LOOK_S = 0.05  # between two looks whether an executor has read what is searched for


class FoundShape(JobsShape):
    """Pictures, best first, with their scores: how near CLIP finds them, the cosine similarity, -1 to 1.
    looked_through: in how many was searched; unseen: how many no executor has looked at yet, as `notices` says.

    waits: why there is no answer yet (202; ask again for the same): `reading`, an executor is about to read what is
    searched for; `no_executor`, none runs; `unread`, none of those that run has read it."""

    waits: Waits | None
    scores: list[float]
    looked_through: int
    unseen: int = Field(description="0: every finished picture can be found.")


@dataclass(frozen=True)
class Page:
    """Which of what is found is wanted, as for a list of jobs, and how long to wait for an executor."""

    kept: OnlyKept
    cursor: Annotated[str | None, Query(max_length=32, description="next_cursor of the page before.")] = None
    limit: Annotated[int, Query(ge=1, le=access.MAX_PAGE)] = 24
    state: Annotated[list[State] | None, Query()] = None
    engine: Annotated[str | None, Query(max_length=64)] = None
    style: Annotated[str | None, Query(max_length=64, description="Of the embedded models.")] = None
    search: Annotated[str | None, Query(max_length=200, description="A part of the prompt beside it.")] = None
    mine: bool = False
    timeout_s: Annotated[
        float, Query(ge=0, le=60, allow_inf_nan=False, description="How long to wait until an executor has read it.")
    ] = 10.0

    @property
    def filters(self) -> dict[str, Any]:
        """As studio.search.search takes them."""
        style = plain(self.style)
        return {
            "after": plain(self.cursor),
            "limit": self.limit,
            "states": self.state,
            "engine": plain(self.engine),
            "narrowed": replace(self.kept, settings=(("style", style),)) if style else self.kept,
            "search": plain(self.search),
            "mine": self.mine,
            "without": engines_making("result"),
        }


OnePage = Annotated[Page, Depends()]
_LATER: dict[int | str, dict[str, Any]] = {202: {"model": FoundShape, "description": "Not read yet: see `waits`."}}


@router.get("/search", responses=_LATER)
async def search_words(
    api: Opened,
    who: Reader,
    response: Response,
    page: OnePage,
    words: Annotated[str, Query(min_length=1, max_length=MAX_WORDS, description="What the pictures should show.")],
) -> FoundShape:
    """Pictures that show what the words say, whatever their prompts are."""
    query = search.Query(words=plain(words))
    return await _answer(api, who.submitter, response, query, page)


@router.post(
    "/search",
    responses=_LATER,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def search_picture(api: Opened, who: Reader, request: Request, response: Response, page: OnePage) -> FoundShape:
    """Pictures like the one in the body, which is not kept."""
    query = search.Query(picture=await request.body())
    return await _answer(api, who.submitter, response, query, page)


@router.get("/jobs/{job_id}/alike", responses=_LATER)
async def list_alike(api: Opened, who: Reader, response: Response, page: OnePage, job_id: str) -> FoundShape:
    """Pictures like that of a job, without itself."""
    query = search.Query(like=job_id)
    return await _answer(api, who.submitter, response, query, page)


async def nearest(api: Api, who: Submitter, query: search.Query, timeout_s: float, filters: dict[str, Any]) -> Found:
    """What is found once an executor has read it, holding no thread until then: for `timeout_s` at most, and not where
    no executor is there."""
    until = time.monotonic() + timeout_s
    while True:
        found = await api.ask(search.search, who, query, **filters)
        answered = found.waits in (None, "no_executor")
        if answered or time.monotonic() >= until or api.stopping.is_set():
            return found
        await asyncio.sleep(LOOK_S)


async def _answer(api: Api, who: Submitter, response: Response, query: search.Query, page: Page) -> FoundShape:
    found = await nearest(api, who, query, page.timeout_s, page.filters)
    if found.waits is not None:
        response.status_code = 202
        response.headers["retry-after"] = "2"
    return FoundShape(
        waits=found.waits,
        jobs=await told(api, who, found.jobs),
        next_cursor=found.after,
        notices=[str(notice) for notice in found.notices],
        scores=found.scores,
        looked_through=found.looked_through,
        unseen=found.unseen,
    )
