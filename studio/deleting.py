"""Deleting what is one's own: a job with its picture, or a picture that was given; and the link that does it later."""

from __future__ import annotations

from itsdangerous import BadSignature, URLSafeSerializer

from db import artefacts, queue
from db.artefacts.givers import KINDS
from db.errors import NotYours, UnknownArtefact, UnknownJob
from db.evening import deleting
from db.evening.deleting import Deleted
from db.jobs import Job, check_text, is_id
from db.rules.salt import salt
from studio import access
from studio.context import Studio, Submitter
from studio.errors import Refused
from studio.given import is_givers

_PURPOSE = "delete a job"  # a signature for something else does not do


class BadLink(Refused):
    """A link that deletes nothing."""

    def __init__(self) -> None:
        super().__init__("This link deletes nothing here: it is not whole, or of another studio.")


def link_for(studio: Studio, job_id: str) -> str:
    """What lets whoever has it delete this job, and nothing else: a signed text for an address."""
    check_text("job", job_id, 32)
    return str(_signer(studio).dumps(job_id))


def job_of_link(studio: Studio, link: str) -> str:
    """The id of the job that it deletes. Raises BadLink."""
    try:
        found = _signer(studio).loads(link)
    except (BadSignature, UnicodeEncodeError):
        raise BadLink from None
    if not isinstance(found, str) or not is_id(found):
        raise BadLink
    return found


def may_delete(submitter: Submitter, job: Job) -> bool:
    """Whether they may without a link."""
    return submitter.is_host or access.owns(submitter, job)


def delete_job(studio: Studio, submitter: Submitter, job_id: str, link: str | None = None) -> Deleted:
    """Delete a job of theirs with all that it has made; with its link anybody's. What was made from it stays.

    Raises UnknownJob, NotYours, BadLink, StoreUnavailable.
    """
    found = queue.get(studio.db, job_id)
    if link is not None:
        if job_of_link(studio, link) != job_id:
            raise BadLink
    elif not may_delete(submitter, found):
        access.job(studio, submitter, job_id)  # whether there is one they may see is no secret
        raise NotYours(job_id)
    if found.deleted_at is not None and not studio.store.names(f"jobs/{job_id}"):
        raise UnknownJob(job_id)
    return deleting.delete_job(studio.db, studio.store, job_id)


def delete_given(studio: Studio, submitter: Submitter, artefact_id: str) -> None:
    """Delete a picture they gave; what was made from it stays, what needs it now fails.

    Raises UnknownArtefact, also for one that somebody else gave, and StoreUnavailable.
    """
    picture = artefacts.get(studio.db, artefact_id)
    if picture.kind not in KINDS or not (submitter.is_host or is_givers(studio, submitter, picture)):
        raise UnknownArtefact("There is no picture with the id {id!r} that you gave.", id=artefact_id)
    deleting.delete_given(studio.db, studio.store, picture)


def _signer(studio: Studio) -> URLSafeSerializer:
    return URLSafeSerializer(salt(studio.db), salt=_PURPOSE)
