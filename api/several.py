"""Wishes that belong to one request: all of them queued, or none."""

from __future__ import annotations

from collections.abc import Sequence

from db.jobs import Job
from studio.context import Studio, Submitter
from studio.errors import SENTENCES
from studio.sheets import cancel_all
from studio.submit import Wish, submit


def submit_all(studio: Studio, submitter: Submitter, wishes: Sequence[Wish]) -> list[Job]:
    """Their jobs in order. Where one is refused, those before it are cancelled. Raises as `studio.submit.submit`."""
    made: list[Job] = []
    try:
        for wish in wishes:
            made += submit(studio, submitter, wish)
    except SENTENCES:
        cancel_all(studio, submitter, [job.id for job in made])
        raise
    return made
