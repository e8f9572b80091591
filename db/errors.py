"""What can go wrong in the queue layer. Every message is one sentence that may be shown to a visitor."""

from __future__ import annotations

from db.wording import duration


class DbError(Exception):
    """Base of all errors raised by db/. public: what visitors read in place of the message, where that is for the host:
    it names the machine's addresses and folders."""

    public: str | None = None


class DatabaseUnavailable(DbError):
    """The database cannot be read or written: locked, read-only, full, unreachable, or of an unknown kind."""

    public = "The studio cannot reach its database."


class NoDatabaseAddress(DatabaseUnavailable):
    """The address is mistyped, or names what the studio cannot use: waiting does not help."""


class DatabaseTooNew(DbError):
    """The database was written by a newer version of the studio."""

    public = "The studio's database is of a newer version; the host has to update the studio."


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


class TooManyThisHour(DbError):
    """The submitter would have asked for more jobs in an hour than one submitter may."""

    def __init__(self, limit: int, wanted: int, made: int) -> None:
        self.limit = limit
        super().__init__(
            f"You have asked for {made} {'job' if made == 1 else 'jobs'} in the last hour, and one visitor may ask for "
            f"{limit}; ask for {max(limit - made, 0)} or fewer now, or come back later."
        )


class OverBudget(DbError):
    """A job would cost more than the host lets one job cost. Both in s of an executor that works on nothing else."""

    def __init__(
        self, cost_s: float, budget_s: float, *, sure: bool = True, steps: int | None = None, which: str = "This"
    ) -> None:
        """sure: that is what such jobs took; else at least so long. steps: of the job, where fewer may be asked for.

        which: how the sentence begins, where several are asked for."""
        self.cost_s, self.budget_s = cost_s, budget_s
        about = "about" if sure else "at least"
        if duration(cost_s) == duration(budget_s):
            about = "a little more than"
        fits = 0 if steps is None else int(steps * budget_s / cost_s)
        fits = fits if fits < 100 else fits // 10 ** (len(str(fits)) - 2) * 10 ** (len(str(fits)) - 2)
        fewer = f"{fits:,} steps or fewer instead of {steps:,}, or for " if fits and steps else ""
        super().__init__(
            f"{which} would take {about} {duration(cost_s)} here, and the host allows one job {duration(budget_s)}; "
            f"ask for {fewer}a smaller size."
        )


class Banned(DbError):
    """The host has banned this visitor."""

    def __init__(self) -> None:
        super().__init__("The host has closed the queue and the votes to you; ask the host to open them again.")


class UnknownVisitor(DbError):
    """There is no visitor with this id."""

    def __init__(self, visitor: str) -> None:
        super().__init__(f"There is no visitor with the id {visitor!r}.")


class WordRefused(DbError):
    """A text holds a word from the host's list."""

    def __init__(self, word: str, what: str = "prompt") -> None:
        super().__init__(f"The host does not allow {word!r} here; leave it out of your {what}.")


class EngineWithheld(DbError):
    """The host does not offer this engine."""

    def __init__(self, engine: str) -> None:
        super().__init__(f"The host does not offer the engine {engine!r} at the moment; choose another.")


class StillRunning(DbError):
    """Data cannot be deleted while executors work on it."""


class UnknownSubmission(DbError):
    """There is no submission with this id."""

    def __init__(self, submission_id: str) -> None:
        super().__init__(f"There is no sheet with the id {submission_id!r}.")


class UnknownRefinement(DbError):
    """There is no refinement with this id."""

    def __init__(self, refinement_id: str) -> None:
        super().__init__(f"There is no refinement with the id {refinement_id!r}.")


class UnknownKey(DbError):
    """There is no key with this id."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"There is no key with the id {key_id!r}.")


class OrderReused(DbError):
    """An idempotency key comes again, with another request."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The idempotency key {key!r} was used for another request; take a new one for each new request."
        )


class AlreadyOrdered(DbError):
    """The same request was made before: nothing is queued again. job_ids: those queued then, in their order."""

    def __init__(self, job_ids: list[str]) -> None:
        self.job_ids = job_ids
        super().__init__("This request was made before; its jobs are those queued then.")


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


class UnknownExport(BadValue):
    """There is no exported evening of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no export called {name!r}.")


class AlreadyVoted(DbError):
    """This voter has already compared these two pictures, in either order."""


class PairGone(DbError):
    """A picture that was voted on is hidden or deleted by now."""

    def __init__(self) -> None:
        super().__init__("One of these two pictures was taken out meanwhile, so this vote does not count.")


class TooFast(DbError):
    """This voter has given more votes than somebody who looks at the pictures can."""

    def __init__(self, most: int, in_s: float) -> None:
        super().__init__(
            f"That was fast: at most {most} votes count in {in_s:.0f} s. Take a moment to look at these two."
        )


class StoreUnavailable(DbError):
    """The artefact store cannot be read or written."""

    public = "The studio cannot reach its pictures."


class StoreFull(StoreUnavailable):
    """No space is left in the artefact store."""

    public = "The studio has no space left for pictures."


class SourceHidden(DbError):
    """The host has taken the picture out that something is to be made from."""

    def __init__(self) -> None:
        super().__init__("A picture this is made from was taken out by the host; choose another one.")


class UnknownArtefact(DbError):
    """There is nothing under this key or id."""
