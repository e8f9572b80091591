"""Votes between two pictures, what they say of pictures, engines and settings, and the files to take home."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from itertools import islice
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from api.callers import Asker, Opened, Reader
from api.native.shapes import JobShape, jobs_of
from api.opened import Api
from db.votes import Choice
from ratings.bradley_terry import POINTS_PER_LOGIT
from ratings.standings import Standings
from studio import downloads, vote
from studio.context import Studio, Submitter
from studio.standings import best_rated

router = APIRouter(tags=["votes"])

SHOWN_BEST = 12
_LINES = 500  # of a file, written at a time


class PairShape(BaseModel):
    """Two pictures to compare, null where you have seen every pair. given: how many votes you have given."""

    left: JobShape | None
    right: JobShape | None
    given: int


class NewVote(BaseModel):
    """Which of two pictures shows its prompt better."""

    model_config = ConfigDict(extra="forbid")

    left_id: str = Field(max_length=64)
    right_id: str = Field(max_length=64)
    choice: Choice


class GivenShape(BaseModel):
    """How many votes you have given."""

    given: int


class RatedShape(BaseModel):
    """In points: 1000 is the middle; the truth lies between low and high with 95 % confidence."""

    name: str
    rating: float
    low: float
    high: float
    votes: int
    pictures: int


class RatedPictureShape(BaseModel):
    """A picture and its rating, as RatedShape."""

    job: JobShape
    rating: float
    low: float
    high: float
    votes: int


class EffectShape(BaseModel):
    """What a value of a setting adds to a picture's rating, in points, the other settings alike."""

    setting: str
    value: str
    points: float
    low: float
    high: float
    votes: int


class ShareShape(BaseModel):
    """A share of the votes, 0 to 1, with its interval."""

    value: float
    low: float
    high: float
    votes: int


class RatingsShape(BaseModel):
    """What the votes say. ready: false while the first ratings are worked out; ask again then.

    best: in the order of the lower end of the interval. checkpoints: named "engine checkpoint". left: how often the
    left picture won. clip: how often the picture with the higher CLIP score did.
    """

    ready: bool
    votes: int = 0
    voters: int = 0
    pictures: int = 0
    ties: int = 0
    best: list[RatedPictureShape] = []
    engines: list[RatedShape] = []
    checkpoints: list[RatedShape] = []
    settings: dict[str, list[EffectShape]] = {}
    left: ShareShape | None = None
    clip: ShareShape | None = None


@router.get("/votes/pair")
async def get_pair(api: Opened, who: Asker) -> PairShape:
    """Two pictures that you have not compared yet: those whose comparison tells most."""

    def deal(studio: Studio) -> PairShape:
        found = api.dealer.next_pair(studio, who.submitter)
        left, right = jobs_of(studio, who.submitter, found) if found else (None, None)
        return PairShape(left=left, right=right, given=vote.given(studio, who.submitter))

    return await api.ask(deal)


@router.post("/votes", status_code=201)
async def cast_vote(api: Opened, who: Asker, new: NewVote) -> GivenShape:
    """Give a vote. A pair counts once for each voter, whichever side each picture was on."""

    def cast(studio: Studio) -> GivenShape:
        vote.cast(studio, who.submitter, new.left_id, new.right_id, new.choice)
        return GivenShape(given=vote.given(studio, who.submitter))

    return await api.ask(cast)


@router.get("/ratings")
async def get_ratings(api: Opened, who: Reader) -> RatingsShape:
    """What the votes say of pictures, engines, checkpoints and settings, as of some seconds ago."""

    def rated(studio: Studio) -> RatingsShape:
        found = api.keeper.current(studio.db)
        return RatingsShape(ready=False) if found is None else _told(studio, who.submitter, found)

    return await api.ask(rated)


@router.get(
    "/downloads/{what}.{form}",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
            }
        }
    },
)
async def download(
    api: Opened,
    who: Reader,
    what: Annotated[Literal["votes", "jobs"], Path()],
    form: Annotated[Literal["csv", "json"], Path()],
) -> StreamingResponse:
    """The newest votes or jobs as a file, without hidden pictures. Visitors go by names that lead nowhere."""
    name = f"{what}.{form}"
    lines = await api.ask(downloads.lines, name)
    first = await api.run(_chunk, lines)  # what is wrong with the database is an answer, not a broken file
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "private, no-cache"}
    return StreamingResponse(_rest(api, first, lines), media_type=downloads.media_type(name), headers=headers)


async def _rest(api: Api, first: str, lines: Iterator[str]) -> AsyncIterator[str]:
    chunk = first
    while chunk:
        yield chunk
        chunk = await api.run(_chunk, lines)


def _chunk(lines: Iterator[str]) -> str:
    return "".join(islice(lines, _LINES))


def _told(studio: Studio, submitter: Submitter, found: Standings) -> RatingsShape:
    best = best_rated(studio.db, found, SHOWN_BEST)
    jobs = jobs_of(studio, submitter, [job for _, job in best])
    return RatingsShape(
        ready=True,
        votes=found.votes,
        voters=found.voters,
        pictures=found.pictures,
        ties=found.ties,
        best=[RatedPictureShape(job=job, **_numbers(rated)) for job, (rated, _) in zip(jobs, best, strict=True)],
        engines=[RatedShape(**asdict(rated)) for rated in found.engines],
        checkpoints=[RatedShape(**asdict(rated)) for rated in found.models],
        settings={
            engine: [
                EffectShape(
                    setting=one.setting,
                    value=one.value,
                    points=POINTS_PER_LOGIT * one.theta,
                    low=POINTS_PER_LOGIT * one.low,
                    high=POINTS_PER_LOGIT * one.high,
                    votes=one.votes,
                )
                for one in effects
            ]
            for engine, effects in found.effects.items()
        },
        left=ShareShape(**asdict(found.left)) if found.left else None,
        clip=ShareShape(**asdict(found.clip)) if found.clip else None,
    )


def _numbers(rated: Any) -> dict[str, Any]:
    return {name: getattr(rated, name) for name in ("rating", "low", "high", "votes")}
