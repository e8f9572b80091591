"""What failed, as the host looks at it, and what the host does about it, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from db import queue
from db.errors import Banned, DbError, NotFailed, TooManyQueued, UnknownJob
from db.jobs import Job
from db.queue import Limits, retrying
from db.rules import host_rules, keys
from generator.params import BadParams, validate_job
from generator.registry import UnknownName
from studio.access import check_host
from studio.context import Studio, Submitter
from studio.engines import engines_making
from studio.errors import Refused
from studio.submit import check_sources, new_job

MAX_AT_ONCE = 200  # jobs that one press is about


@dataclass(frozen=True)
class Retried:
    """What became of a press of "Try again": new jobs by those that failed, and why others were not queued."""

    again: dict[str, str] = field(default_factory=dict)
    refused: dict[str, Exception] = field(default_factory=dict)


def failures(
    studio: Studio, submitter: Submitter, *, kind: str | None = None, before_id: str | None = None, limit: int = 50
) -> list[Job]:
    """Jobs that failed and were neither hidden nor tried again, the newest first; kind: of this kind of failure."""
    check_host(submitter)
    return retrying.failures(studio.db, kind=kind, before_id=before_id, limit=limit)


def kinds(studio: Studio, submitter: Submitter) -> dict[str, int]:
    """How many of them there are of each kind, the most first."""
    check_host(submitter)
    return retrying.kinds(studio.db)


def try_again(studio: Studio, submitter: Submitter, job_ids: Sequence[str]) -> Retried:
    """Each of these that failed is queued anew, with the same settings, for who asked for it; the oldest first, as many
    as the rules of the queue let in now, MAX_AT_ONCE at most."""
    check_host(submitter)
    done = Retried()
    limits = _Limits(studio)
    wanted = sorted(set(job_ids))
    for job_id in wanted[:MAX_AT_ONCE]:
        try:
            job = queue.get(studio.db, job_id)
            params = validate_job(job.engine, job.params)
            check_sources(studio, Submitter(job.submitter), params)
            title, source = job.prompt, job.source_artefact_id
            new = new_job(studio, job.engine, params, title=title, parent_id=job.parent_id, source=source)
            made = retrying.try_again(studio.db, job_id, new, limits=limits.of(job.submitter))
        except TooManyQueued as error:
            done.refused[job_id] = Refused(
                "Who asked for it has as many jobs waiting as one visitor may, {most}.", most=error.limit
            )
        except Banned:
            done.refused[job_id] = Refused("Who asked for it is banned.")
        except (UnknownJob, NotFailed, BadParams, UnknownName, Refused) as error:
            done.refused[job_id] = error
        except DbError as error:
            if error.public is not None:  # of the machine: it is the same for all that follow
                raise
            done.refused[job_id] = error
        else:
            done.again[job_id] = made.id
    for job_id in wanted[MAX_AT_ONCE:]:
        done.refused[job_id] = Refused("At most {most} are tried again at once.", most=MAX_AT_ONCE)
    return done


def try_kind_again(studio: Studio, submitter: Submitter, kind: str | None) -> Retried:
    """The same for all that failed with this kind, None: with any; the newest MAX_AT_ONCE of them."""
    return try_again(studio, submitter, [job.id for job in failures(studio, submitter, kind=kind, limit=MAX_AT_ONCE)])


def hide(studio: Studio, submitter: Submitter, job_ids: Sequence[str]) -> int:
    """Take jobs out of this list and all others; returns how many. The Pictures section brings them back."""
    check_host(submitter)
    found = queue.get_each(studio.db, sorted(set(job_ids))[:MAX_AT_ONCE])
    for job in found:
        queue.set_hidden(studio.db, job.id, copies=engines_making("picture"))
    return len(found)


class _Limits:
    """What each submitter may have waiting, and what a job of theirs may cost. What the host tries again counts in
    nobody's hour."""

    def __init__(self, studio: Studio) -> None:
        self._studio, self._rules = studio, host_rules.get(studio.db)
        self._keys = {key.submitter: key for key in keys.every(studio.db)}

    def of(self, submitter: str) -> Limits:
        key = self._keys.get(submitter)
        who = Submitter(submitter) if key is None else Submitter(submitter, key.scope == "host", limits=key.limits)
        held = self._studio.limits_of(who).under(self._rules)
        return Limits(held.max_queued, None, held.max_job_s, own=True)
