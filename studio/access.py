"""What may be seen, and by whom: what the host has hidden is there for the host alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from db import artefacts, queue
from db.artefacts import Artefact, drafts, sources
from db.artefacts.givers import KINDS as GIVEN
from db.errors import StoreUnavailable, UnknownArtefact, UnknownJob
from db.jobs import Job, State
from generator.output.licence import licence_in
from generator.params import BadParams
from studio import given
from studio.context import Studio, Submitter
from studio.engines import makes
from studio.errors import NotHost

MAX_PAGE = 100  # jobs that a program may ask for at once


def may_see(submitter: Submitter, job: Job) -> bool:
    """Whether the job, its prompt and its files are shown to them; what was deleted is shown to nobody."""
    if job.deleted_at is not None:
        return False
    return submitter.is_host or not job.hidden or (owns(submitter, job) and shows_what_was_given(job))


def shows_what_was_given(job: Job) -> bool:
    """Whether its picture is one that was sent along, but larger: hidden from the start, for whoever sent it alone."""
    return job.hidden and job.parent_id is None and makes(job.engine) == "picture"


def owns(submitter: Submitter, job: Job) -> bool:
    """Whether it is theirs: to be cancelled, and to be found among their own."""
    return job.submitter == submitter.id


def check_host(submitter: Submitter) -> None:
    """Raises NotHost."""
    if not submitter.is_host:
        raise NotHost


def job(studio: Studio, submitter: Submitter, job_id: str) -> Job:
    """The job with this id. Raises UnknownJob where there is none that they may see."""
    found = queue.get(studio.db, job_id)
    if not may_see(submitter, found):
        raise UnknownJob(job_id)
    return found


def those_seen(studio: Studio, submitter: Submitter, job_ids: Sequence[str]) -> list[Job]:
    """These jobs in their order, but for those that are gone or that they may not see."""
    found = queue.list_jobs(studio.db, among=job_ids, limit=len(job_ids), include_hidden=True) if job_ids else []
    there = {one.id: one for one in found if may_see(submitter, one)}
    return [there[job_id] for job_id in job_ids if job_id in there]


def finished(studio: Studio, submitter: Submitter, job_ids: Sequence[str]) -> list[tuple[Job, Artefact]]:
    """These jobs and their pictures. Raises UnknownJob, and BadParams for one that has no finished picture."""
    found = queue.get_each(studio.db, job_ids)
    for one in found:
        if not may_see(submitter, one):
            raise UnknownJob(one.id)
    files = artefacts.of_jobs(studio.db, [one.id for one in found])
    for one in found:
        if one.state != State.SUCCEEDED or "picture" not in files[one.id]:
            raise BadParams(f"Job {one.id} has no finished picture: it is {one.state}.")
    return [(one, files[one.id]["picture"]) for one in found]


def jobs(
    studio: Studio,
    submitter: Submitter,
    *,
    mine: bool = False,
    include_hidden: bool = False,
    only_hidden: bool = False,
    **filters: Any,
) -> list[Job]:
    """A page of jobs, newest first; `filters` as db.queue.list_jobs takes them.

    mine: their own alone. Raises NotHost where anybody else asks for hidden ones.
    """
    if include_hidden or only_hidden:
        check_host(submitter)
    return queue.list_jobs(
        studio.db,
        submitter=submitter.id if mine else None,
        include_hidden=include_hidden,
        only_hidden=only_hidden,
        **filters,
    )


def made_from(studio: Studio, submitter: Submitter, child: Job) -> Job | None:
    """The job whose picture this one was made from; None where there is none that they may see."""
    try:
        return None if child.parent_id is None else job(studio, submitter, child.parent_id)
    except UnknownJob:
        return None


def file(studio: Studio, submitter: Submitter, artefact: Artefact) -> bytes:
    """The bytes of a job's file as it is asked for. Raises UnknownJob where the host has hidden the job by then."""
    if artefact.job_id is not None:
        job(studio, submitter, artefact.job_id)
    return studio.store.get(artefact.key)


def licence(studio: Studio, found: Artefact) -> str | None:
    """What a job's picture is under, as its settings have it; None where they tell none or cannot be read now."""
    settings = None if found.job_id is None else artefacts.of_job(studio.db, found.job_id).get("json")
    try:
        return None if settings is None else licence_in(studio.store.get(settings.key))
    except (UnknownArtefact, StoreUnavailable):
        return None


def artefact(studio: Studio, submitter: Submitter, artefact_id: str) -> Artefact:
    """The record of a file. Raises UnknownArtefact where there is none that they may see.

    What a job in progress keeps to go on from is of use to executors alone; what somebody sent along is theirs, and
    only the host looks at it beside them.
    """
    found = artefacts.get(studio.db, artefact_id)
    try:
        if found.kind == "state" or (found.kind in GIVEN and not _looks_at_given(studio, submitter, found)):
            raise UnknownArtefact
        if found.job_id is not None:
            job(studio, submitter, found.job_id)
    except (UnknownArtefact, UnknownJob):
        raise UnknownArtefact("There is no artefact with the id {id!r}.", id=artefact_id) from None
    return found


def _looks_at_given(studio: Studio, submitter: Submitter, picture: Artefact) -> bool:
    return submitter.is_host or (given.is_one(submitter) and given.is_givers(studio, submitter, picture))


def preview(studio: Studio, submitter: Submitter, artefact_id: str) -> tuple[bytes, str] | None:
    """A job's picture so far and its media type; None where it is gone by now, cannot be read, or they may not see it.

    The next one replaces it while a job runs, so that to miss one is no error.
    """
    try:
        found = artefact(studio, submitter, artefact_id)
        return studio.store.get(found.key), found.media_type
    except (UnknownArtefact, StoreUnavailable):
        return None


def check_source(studio: Studio, submitter: Submitter, reference: str) -> None:
    """Whether they may start from a picture that a setting names by its key or by the id of its record.

    Raises SourceHidden for everybody where the host took it out, and UnknownArtefact where it is gone or was given by
    somebody else.
    """
    if drafts.is_draft(reference):
        drafts.get(studio.db, submitter.id, reference)
    given.check_own(studio, submitter, [reference])
    sources.check(studio.db, studio.store, [reference])


def source(studio: Studio, submitter: Submitter, reference: str) -> bytes:
    """A picture that a setting names by its key or by the id of its record, to be shown beside the setting.

    Raises as `check_source`.
    """
    check_source(studio, submitter, reference)
    return studio.store.get(sources.key_of(studio.db, studio.store, reference))
