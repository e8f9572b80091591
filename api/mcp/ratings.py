"""What people voted for, as a tool tells it."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, Field

from db.votes import history
from ratings.standings import Ballots, Picture, Rated, Standings, standings
from studio.context import Studio, Submitter


class RatedTold(BaseModel):
    """A picture, an engine or a model in points, 1000 being the middle. low, high: it lies between, 95 times in 100."""

    name: str = Field(description="The id of the job, or the name of the engine or of the model.")
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
    models: list[RatedTold] = Field(description="Engine and checkpoint.")


def ratings_told(studio: Studio, submitter: Submitter, limit: int) -> RatingsTold:
    """The ratings, worked out now."""
    found = _standings(studio)
    return RatingsTold(
        votes=found.votes,
        voters=found.voters,
        best=[_told(one) for one in found.best[:limit]],
        engines=[_told(one) for one in found.engines],
        models=[_told(one) for one in found.models],
    )


def _told(rated: Rated) -> RatedTold:
    return RatedTold(**{name: getattr(rated, name) for name in RatedTold.model_fields})


def _standings(studio: Studio) -> Standings:
    votes, shown = history.newest(studio.db)
    places = {job_id: n for n, job_id in enumerate(shown)}
    voters = {voter: n for n, voter in enumerate({vote.voter for vote in votes})}
    return standings(
        Ballots(
            pictures=[Picture(p.id, p.engine, p.checkpoint, p.prompt, p.score, "", {}) for p in shown.values()],
            first=np.array([places[vote.first_id] for vote in votes], np.int64),
            second=np.array([places[vote.second_id] for vote in votes], np.int64),
            share=np.array([_share(vote) for vote in votes], np.float64),
            first_left=np.array([vote.left_id == vote.first_id for vote in votes], bool),
            voter=np.array([voters[vote.voter] for vote in votes], np.int64),
            at=np.array([vote.at for vote in votes], np.float64),
        )
    )


def _share(vote: history.Vote) -> float:
    return 0.5 if vote.winner_id is None else float(vote.winner_id == vote.first_id)
