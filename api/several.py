"""Wishes that belong to one request: all of them queued, or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from db.jobs import Job
from studio.context import Studio, Submitter
from studio.errors import SENTENCES
from studio.sheets import cancel_all
from studio.submit import Wish, submit


@contextmanager
def all_or_none(studio: Studio, submitter: Submitter) -> Iterator[list[Job]]:
    """A list for the jobs that the block queues: they are cancelled where one after them is refused."""
    made: list[Job] = []
    try:
        yield made
    except SENTENCES:
        cancel_all(studio, submitter, [job.id for job in made])
        raise


def submit_all(studio: Studio, submitter: Submitter, wishes: Sequence[Wish]) -> list[Job]:
    """Their jobs in order. Where one is refused, those before it are cancelled. Raises as `studio.submit.submit`."""
    with all_or_none(studio, submitter) as made:
        for wish in wishes:
            made += submit(studio, submitter, wish)
    return made
