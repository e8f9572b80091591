"""Which of two pictures somebody likes better."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from db import votes
from db.jobs import Job
from db.votes import Choice, pairs
from generator import registry
from studio.context import Studio, Submitter
from studio.limits import check_admitted

if TYPE_CHECKING:
    from ratings.pairing import Pool

POOL_S = 5.0


class Dealer:
    """Deals pairs from a pool that serves all who vote for POOL_S: one for each process."""

    def __init__(self) -> None:
        self._pool: Pool | None = None
        self._made_at = 0.0
        self._making = threading.Lock()

    def next_pair(self, studio: Studio, submitter: Submitter) -> tuple[Job, Job] | None:
        """Two pictures, left and right, to compare next; None where they have seen every pair."""
        # What was upscaled is the same picture again, and a ranking is none.
        engines = registry.drawing_engines()
        with self._making:
            if self._pool is None or time.monotonic() - self._made_at > POOL_S:
                self._pool, self._made_at = pairs.pool(studio.db, engines), time.monotonic()
            among = self._pool
        return pairs.next_pair(studio.db, submitter.id, engines, among=among)


def cast(studio: Studio, submitter: Submitter, left_id: str, right_id: str, choice: Choice) -> None:
    """Count a vote. Raises AlreadyVoted, Banned, CodeNeeded, TooFast, PairGone, UnknownJob, BadValue."""
    check_admitted(studio, submitter)
    votes.cast(
        studio.db,
        voter=submitter.id,
        left_id=left_id,
        right_id=right_id,
        choice=choice,
        address=submitter.address,
        since=submitter.since,
    )


def given(studio: Studio, submitter: Submitter) -> int:
    """How many votes they have given."""
    return votes.cast_by(studio.db, submitter.id)
