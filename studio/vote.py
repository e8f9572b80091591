"""Which of two pictures somebody likes better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db import votes
from db.jobs import Job
from db.votes import Choice, pairs
from generator import registry
from studio.context import Studio, Submitter

if TYPE_CHECKING:
    from ratings.pairing import Pool


def pool(studio: Studio) -> Pool:
    """Pictures to deal pairs from; it serves everybody and may be kept for some seconds."""
    # What was upscaled is the same picture again, and a ranking is none.
    return pairs.pool(studio.db, registry.drawing_engines())


def next_pair(studio: Studio, submitter: Submitter, among: Pool | None = None) -> tuple[Job, Job] | None:
    """Two pictures, left and right, to compare next; None where they have seen every pair."""
    return pairs.next_pair(studio.db, submitter.id, registry.drawing_engines(), among=among)


def cast(studio: Studio, submitter: Submitter, left_id: str, right_id: str, choice: Choice) -> None:
    """Count a vote. Raises AlreadyVoted, Banned, TooFast, PairGone, BadValue."""
    votes.cast(studio.db, voter=submitter.id, left_id=left_id, right_id=right_id, choice=choice)


def given(studio: Studio, submitter: Submitter) -> int:
    """How many votes they have given."""
    return votes.cast_by(studio.db, submitter.id)
