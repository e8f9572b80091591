"""What people voted for, as a tool tells it."""

from __future__ import annotations

from pydantic import BaseModel, Field

from ratings.standings import Rated, Standings
from studio.context import Studio
from studio.standings import best_rated


class RatedTold(BaseModel):
    """A picture, an engine or a checkpoint in points; 1000 is the middle. low, high: between them, 95 times in 100."""

    name: str = Field(description="The id of the job, or the name of the engine or of the checkpoint.")
    rating: float
    low: float
    high: float
    votes: int


class RatingsTold(BaseModel):
    """What the votes say."""

    votes: int
    voters: int
    best: list[RatedTold] = Field(description="Pictures, the best first.")
    engines: list[RatedTold]
    checkpoints: list[RatedTold] = Field(description="Engine and checkpoint.")


def ratings_told(studio: Studio, found: Standings | None, limit: int) -> RatingsTold:
    """The ratings as of a moment ago; None: they are being worked out for the first time."""
    if found is None:
        return RatingsTold(votes=0, voters=0, best=[], engines=[], checkpoints=[])
    return RatingsTold(
        votes=found.votes,
        voters=found.voters,
        best=[_told(one) for one, _ in best_rated(studio.db, found, limit)],
        engines=[_told(one) for one in found.engines],
        checkpoints=[_told(one) for one in found.models],
    )


def _told(rated: Rated) -> RatedTold:
    return RatedTold(**{name: getattr(rated, name) for name in RatedTold.model_fields})
