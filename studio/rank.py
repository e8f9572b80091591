"""Pictures in the order in which CLIP sees a prompt in them."""

from __future__ import annotations

from collections.abc import Sequence

from db.jobs import Job
from db.queue import NewJob
from db.sheets import submissions
from db.sheets.submissions import Submission
from generator.params import validate_job
from generator.wording import as_ranked, common
from studio.context import Studio, Submitter
from studio.errors import BadWish
from studio.limits import check_typed
from studio.submit import check_sources, enqueue, new_job


def rank(
    studio: Studio,
    submitter: Submitter,
    sheet: Submission,
    pictures: Sequence[str],
    *,
    prompt: str,
    clip: Sequence[str],
    once: bool = False,
) -> Job:
    """Rank pictures of a sheet, named by the ids of their artefacts. Raises BadParams, TooManyQueued.

    once: a sheet that has been ranked is not ranked again, unless that failed a while ago.
    """
    return submissions.add_about(
        studio.db,
        sheet.id,
        _ranking(studio, submitter, pictures, prompt, clip),
        submitter=submitter.id,
        label="ranking",
        once=once,
        limits=studio.limits_of(submitter),
        order=submitter.order,
    )


def rank_any(studio: Studio, submitter: Submitter, pictures: Sequence[str], *, prompt: str, clip: Sequence[str]) -> Job:
    """Rank any pictures, named by the ids of their artefacts. Raises BadParams, TooManyQueued."""
    return enqueue(studio, submitter, _ranking(studio, submitter, pictures, prompt, clip))


def _ranking(studio: Studio, submitter: Submitter, pictures: Sequence[str], prompt: str, clip: Sequence[str]) -> NewJob:
    if len(pictures) < 2:
        raise BadWish("There is nothing to rank yet: it takes two finished pictures.")
    check_typed(studio, [prompt])
    # Pictures of one sheet that each drew a choice of their own are ranked by what they have in common.
    shared = common(prompt) or prompt
    wanted = {"prompt": as_ranked(shared, clip), "pictures": tuple(pictures), "clip": tuple(clip)}
    params = validate_job("rank", wanted)
    check_sources(studio, submitter, params)
    return new_job(studio, "rank", params)
