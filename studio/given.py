"""Pictures that somebody gave: their giver's alone. Others see them only in what was made from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from db.artefacts import Artefact, drafts, givers
from db.errors import UnknownArtefact
from db.jobs import Job
from generator.params import BadParams, JobParams, validate_job
from studio.context import Studio, Submitter
from studio.errors import BadWish

MAX_LISTED = 100
LEFT_OUT = (
    "Without the picture that was given with it: that is its giver's alone. Give one of your own, or go on from the "
    "finished picture."
)
_SHARED = "address:"  # how the ids begin of programs without a key: all at one address have the same


@dataclass(frozen=True)
class Shown:
    """A job's settings as somebody may see and take them over. withheld: the names of those that named pictures which
    somebody else gave; these are left out."""

    params: Mapping[str, Any]
    withheld: tuple[str, ...] = field(default=())


def is_one(submitter: Submitter) -> bool:
    """Whether they are told from everybody else: programs without a key are not from others at their address."""
    return not submitter.id.startswith(_SHARED)


def is_givers(studio: Studio, submitter: Submitter, picture: Artefact) -> bool:
    """Whether they gave it."""
    if picture.kind == "draft":
        return drafts.is_of(picture.key, submitter.id)
    return givers.giver_of(studio.db, picture) == submitter.id


def check_own(studio: Studio, submitter: Submitter, references: Iterable[str]) -> None:
    """Raises UnknownArtefact where one of these keys and ids names a picture that somebody else gave, or that is gone:
    nobody learns by trying which pictures there are."""
    for reference, picture in givers.given_among(studio.db, references).items():
        if picture is None or not is_givers(studio, submitter, picture):
            raise UnknownArtefact(
                "The picture {picture} is not here, or somebody else gave it; send the picture itself.",
                picture=reference,
            )


def shown(studio: Studio, submitter: Submitter, jobs: Sequence[Job]) -> dict[str, Shown]:
    """The settings of each of these jobs as they may see them, by job, in one look at the database."""
    found = {job.id: Shown(job.params) for job in jobs}
    named = {job.id: givers.named_in(job.params) for job in jobs if job.submitter != submitter.id}
    theirs = givers.given_among(studio.db, [one for some in named.values() for one in some])
    for job in jobs:
        private = [one for one in named.get(job.id, ()) if one in theirs]
        if private:
            found[job.id] = Shown(*givers.without(job.params, private))
    return found


def taken_over(studio: Studio, submitter: Submitter, job: Job) -> Shown:
    """The settings of a job as a new one may begin with them: those that follow from a picture left out are left out
    with it."""
    found = shown(studio, submitter, [job])[job.id]
    if "init_image" not in found.withheld:
        return found
    params = {**found.params, "mask_image": None} if "mask_image" in found.params else dict(found.params)
    if params.get("init") == "image":
        del params["init"]
    return Shown(params, found.withheld)


def validated(job: Job, taken: Shown) -> JobParams:
    """The settings that were taken over, checked. Raises BadParams, and BadWish where nothing is left to draw."""
    try:
        return validate_job(job.engine, dict(taken.params))
    except BadParams:
        if not taken.withheld:
            raise
        raise BadWish(
            "Nothing can be drawn from these settings without the picture that somebody else gave with them. Give one "
            "of your own, or go on from the finished picture."
        ) from None


def listed(studio: Studio, submitter: Submitter) -> list[Artefact]:
    """The pictures they have given, the newest first; none where they cannot be told from others."""
    return givers.of_giver(studio.db, submitter.id, limit=MAX_LISTED) if is_one(submitter) else []
