"""The wall for the projector: what may hang there, and what the host lets onto it where they want to be asked."""

from __future__ import annotations

from collections.abc import Sequence

from db import artefacts, queue
from db.artefacts import Artefact
from db.errors import BadValue, UnknownArtefact, UnknownJob
from db.evening import wall
from db.jobs import Job
from db.rules import host_rules
from db.rules.host_rules import Rules
from generator import registry
from studio.access import check_host
from studio.context import Studio, Submitter

KINDS = ("picture", "thumbnail", "preview", "mp4", "webp", "gif")  # of files that are shown there
MAX_AT_ONCE = 100


def may_hang(rules: Rules, job: Job) -> bool:
    """Whether the job and its files may be shown on the wall: to everybody in the room."""
    let_in = bool(job.on_wall) if rules.wall_approval else job.on_wall is not False
    return job.deleted_at is None and not job.hidden and let_in


def file(studio: Studio, artefact_id: str) -> Artefact:
    """The record of a file that hangs on the wall. Raises UnknownArtefact for every other."""
    found = artefacts.get(studio.db, artefact_id)
    try:
        if found.job_id is None or found.kind not in KINDS:
            raise UnknownArtefact
        if not may_hang(host_rules.get(studio.db), queue.get(studio.db, found.job_id)):
            raise UnknownArtefact
    except (UnknownArtefact, UnknownJob):
        raise UnknownArtefact("There is no artefact with the id {id!r}.", id=artefact_id) from None
    return found


def set_approval(studio: Studio, submitter: Submitter, wanted: bool) -> None:
    """Whether the wall shows only what the host has let onto it."""
    check_host(submitter)
    host_rules.change(studio.db, wall_approval=wanted)


def waiting(
    studio: Studio, submitter: Submitter, *, limit: int = 12, kept: Sequence[str] = ()
) -> tuple[list[Job], int]:
    """The newest pictures that the host has not decided about, behind those of `kept`; how many there are,
    wall.MAX_COUNTED at most."""
    check_host(submitter)
    return wall.waiting(studio.db, registry.drawing_engines(), limit=limit, kept=kept)


def approve(studio: Studio, submitter: Submitter, *job_ids: str) -> None:
    """These pictures may hang on the wall. Raises BadValue, UnknownJob."""
    _decide(studio, submitter, job_ids, True)


def decline(studio: Studio, submitter: Submitter, *job_ids: str) -> None:
    """These pictures stay off the wall; gallery, votes and sheets have them as before. Raises BadValue, UnknownJob."""
    _decide(studio, submitter, job_ids, False)


def reconsider(studio: Studio, submitter: Submitter, *job_ids: str) -> None:
    """These pictures wait for the host's word again. Raises BadValue, UnknownJob."""
    _decide(studio, submitter, job_ids, None)


def _decide(studio: Studio, submitter: Submitter, job_ids: Sequence[str], on_wall: bool | None) -> None:
    check_host(submitter)
    if not 1 <= len(job_ids) <= MAX_AT_ONCE:
        raise BadValue("{count} pictures at once; 1 to {most} are permitted.", count=len(job_ids), most=MAX_AT_ONCE)
    if not wall.decide(studio.db, job_ids, on_wall):
        raise UnknownJob(job_ids[0])
