"""What can go wrong in the queue layer. Every message is one sentence that may be shown to a visitor."""

from __future__ import annotations


class DbError(Exception):
    """Base of all errors raised by db/."""


class DatabaseUnavailable(DbError):
    """The database cannot be read or written: locked, read-only, full, unreachable, or of an unknown kind."""


class DatabaseTooNew(DbError):
    """The database was written by a newer version of the studio."""


class UnknownJob(DbError):
    """There is no job with this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job with the id {job_id!r}.")


class IllegalTransition(DbError):
    """A state change that the table of legal transitions does not contain."""


class TooManyQueued(DbError):
    """The submitter would have more waiting jobs than one submitter may have."""

    def __init__(self, limit: int, wanted: int = 1, waiting: int | None = None) -> None:
        self.limit = limit
        waiting = limit if waiting is None else waiting
        if wanted == 1:
            text = f"You already have {waiting} jobs waiting, the most one visitor may have; wait or cancel one."
        else:
            text = (
                f"These {wanted} jobs were not queued: {waiting} of yours are waiting, and one visitor may have "
                f"{limit} waiting at once. Ask for {max(limit - waiting, 0)} or fewer, or wait."
            )
        super().__init__(text)


class UnknownSubmission(DbError):
    """There is no submission with this id."""

    def __init__(self, submission_id: str) -> None:
        super().__init__(f"There is no sheet with the id {submission_id!r}.")


class UnknownRefinement(DbError):
    """There is no refinement with this id."""

    def __init__(self, refinement_id: str) -> None:
        super().__init__(f"There is no refinement with the id {refinement_id!r}.")


class NotYours(DbError):
    """The job was submitted by somebody else."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"Job {job_id} was submitted by somebody else, so it cannot be changed from here.")


class LeaseLost(DbError):
    """The job no longer belongs to this worker; it must drop it without writing anything."""

    def __init__(self, job_id: str, worker_id: str) -> None:
        super().__init__(f"Job {job_id} no longer belongs to executor {worker_id}: its lease ran out or it has ended.")


class BadValue(DbError):
    """A value that no database can hold or that makes no sense, with what is permitted."""


class AlreadyVoted(DbError):
    """This voter has already compared these two pictures, in either order."""


class StoreUnavailable(DbError):
    """The artefact store cannot be read or written."""


class StoreFull(StoreUnavailable):
    """No space is left in the artefact store."""


class UnknownArtefact(DbError):
    """There is nothing under this key or id."""
