"""Wishes that belong to one request: all of them queued, or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from db.jobs import Job
from studio.context import Studio, Submitter
from studio.errors import SENTENCES
from studio.limits import check_welcome
from studio.sheets import cancel_all
from studio.submit import Wish, ask_planned, check_wanted, planned
from studio.uploads import gone_if_refused


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
    """Their jobs in order. There is room for all of them before the first picture is kept; where one is refused all the
    same, those before it are cancelled. Raises as `studio.submit.submit`."""
    check_welcome(studio, submitter)
    plans = [planned(studio, submitter, wish) for wish in wishes]
    if any(plan.given or plan.copies for plan in plans):
        check_wanted(studio, submitter, [new for plan in plans for new in plan.jobs])
    with gone_if_refused(studio) as kept, all_or_none(studio, submitter) as made:
        for plan in plans:
            kept += plan.keep(studio, submitter)
        for plan in plans:
            made += ask_planned(studio, submitter, plan)
    return made
