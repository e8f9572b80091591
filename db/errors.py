"""What can go wrong in the queue layer. Every message is one sentence that may be shown to a visitor."""

from __future__ import annotations

from characters.brief import Term, Translatable


class DbError(Translatable):
    """Base of all errors raised by db/. public: what visitors read in place of the message, where that is for the host:
    it names the machine's addresses and folders."""

    public: str | None = None


class DatabaseUnavailable(DbError):
    """The database cannot be read or written: locked, read-only, full, unreachable, or of an unknown kind."""

    public = "The studio cannot reach its database."


class NoDatabaseAddress(DatabaseUnavailable):
    """The address is mistyped, or names what the studio cannot use: waiting does not help."""


class DatabaseReplaced(DatabaseUnavailable):
    """The database is another one than this process has opened: waiting does not help, it has to start again."""

    public = "The studio's database was replaced while it ran; the host has to start the studio again."


class DatabaseTooNew(DbError):
    """The database was written by a newer version of the studio."""

    public = "The studio's database is of a newer version; the host has to update the studio."


class UnknownJob(DbError):
    """There is no job with this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__("There is no job with the id {id!r}.", id=job_id)


class IllegalTransition(DbError):
    """A state change that the table of legal transitions does not contain."""


class NotFailed(DbError):
    """What is to be tried again has not failed, or was tried again before."""

    def __init__(self, job_id: str) -> None:
        super().__init__("Job {id} has not failed, or it was hidden or tried again already.", id=job_id)


class TooManyQueued(DbError):
    """The submitter would have more waiting jobs than one submitter may have."""

    def __init__(self, limit: int, wanted: int = 1, waiting: int | None = None) -> None:
        self.limit = limit
        waiting = limit if waiting is None else waiting
        if wanted == 1:
            super().__init__(
                "You already have {waiting} jobs waiting, the most one visitor may have; wait or cancel one.",
                waiting=waiting,
            )
        else:
            super().__init__(
                "These {wanted} jobs were not queued: {waiting} of yours are waiting, and one visitor may have {limit} "
                "waiting at once. Ask for {fewer} or fewer, or wait.",
                wanted=wanted,
                waiting=waiting,
                limit=limit,
                fewer=max(limit - waiting, 0),
            )


class TooManyFromAddress(TooManyQueued):
    """All who share an address would have more waiting jobs than one address may have."""

    def __init__(self, limit: int, wanted: int, waiting: int) -> None:
        DbError.__init__(
            self,
            "{what}: {waiting} jobs from your network address are waiting, and {limit} may. Others who share it (a "
            "household, a room's network) count with you; wait until some are drawn, or ask the host.",
            what=_not_queued(wanted),
            waiting=waiting,
            limit=limit,
        )
        self.limit = limit


class QueueFull(TooManyQueued):
    """More jobs would wait, of everybody, than may."""

    def __init__(self, limit: int, wanted: int, waiting: int) -> None:
        DbError.__init__(
            self,
            "{what}: the queue is full, {waiting} jobs are waiting and {limit} may. Come back when some are drawn.",
            what=_not_queued(wanted),
            waiting=waiting,
            limit=limit,
        )
        self.limit = limit


def _not_queued(wanted: int) -> Term:
    return Term("This was not queued") if wanted == 1 else Term("These {wanted} jobs were not queued", wanted=wanted)


class TooManyThisHour(DbError):
    """The submitter would have asked for more jobs in an hour than one submitter may."""

    def __init__(self, limit: int, wanted: int, made: int) -> None:
        self.limit = limit
        fewer = max(limit - made, 0)
        if made == 1:
            super().__init__(
                "You have asked for {made} job in the last hour, and one visitor may ask for {limit}; ask for {fewer} "
                "or fewer now, or come back later.",
                made=made,
                limit=limit,
                fewer=fewer,
            )
        else:
            super().__init__(
                "You have asked for {made} jobs in the last hour, and one visitor may ask for {limit}; ask for {fewer} "
                "or fewer now, or come back later.",
                made=made,
                limit=limit,
                fewer=fewer,
            )


class TooManyFromAddressThisHour(TooManyThisHour):
    """All who share an address would have asked for more jobs in an hour than one address may."""

    def __init__(self, limit: int, wanted: int, made: int) -> None:
        DbError.__init__(
            self,
            "{what}: {made} jobs were asked for from your network address in the last hour, and {limit} may be. Others "
            "who share it count with you; come back later, or ask the host.",
            what=_not_queued(wanted),
            made=made,
            limit=limit,
        )
        self.limit = limit


class OverBudget(DbError):
    """A job would cost more than the host lets one job cost, in s of an executor that works on nothing else."""


class Banned(DbError):
    """The host has banned this visitor, or the address they come from."""

    def __init__(self) -> None:
        super().__init__("The host has closed the queue and the votes to you; ask the host to open them again.")


class CodeNeeded(DbError):
    """The event has a code, and this visitor has not shown it."""

    def __init__(self) -> None:
        super().__init__(
            "This event has a code: scan the QR code on the wall, or type the code that stands there, then ask again."
        )


class UnknownVisitor(DbError):
    """There is no visitor with this id."""

    def __init__(self, visitor: str) -> None:
        super().__init__("There is no visitor with the id {id!r}.", id=visitor)


class UnknownAction(DbError):
    """There is nothing to take back under this id."""

    def __init__(self, action_id: str) -> None:
        super().__init__(
            "There is nothing to take back with the id {id!r}; it may have been taken back already.", id=action_id
        )


class WordRefused(DbError):
    """A text holds a word from the host's list."""

    def __init__(self, word: str, what: str = "prompt") -> None:
        super().__init__(
            "The host does not allow {word!r} here; leave it out of your {what}.", word=word, what=Term(what)
        )


class EngineWithheld(DbError):
    """The host does not offer this engine."""

    def __init__(self, engine: str) -> None:
        super().__init__("The host does not offer the engine {engine!r} at the moment; choose another.", engine=engine)


class StillRunning(DbError):
    """Data cannot be deleted while executors work on it."""


class UnknownSubmission(DbError):
    """There is no submission with this id."""

    def __init__(self, submission_id: str) -> None:
        super().__init__("There is no sheet with the id {id!r}.", id=submission_id)


class UnknownRefinement(DbError):
    """There is no refinement with this id."""

    def __init__(self, refinement_id: str) -> None:
        super().__init__("There is no refinement with the id {id!r}.", id=refinement_id)


class UnknownBoard(DbError):
    """The visitor has no board of this name."""

    def __init__(self, name: str) -> None:
        super().__init__("There is no board {name!r} of yours; one is there as long as a picture is on it.", name=name)


class BoardTaken(DbError):
    """The visitor has a board of this name already."""

    def __init__(self, name: str) -> None:
        super().__init__("There is a board {name!r} of yours already; choose another name.", name=name)


class UnknownKey(DbError):
    """There is no key with this id."""

    def __init__(self, key_id: str) -> None:
        super().__init__("There is no key with the id {id!r}.", id=key_id)


class UnknownSession(DbError):
    """There is no session of the host with this id."""

    def __init__(self, session_id: str) -> None:
        super().__init__("There is no session with the id {id!r}.", id=session_id)


class OrderReused(DbError):
    """An idempotency key comes again, with another request."""

    def __init__(self, key: str) -> None:
        super().__init__(
            "The idempotency key {key!r} was used for another request; take a new one for each new request.", key=key
        )


class AlreadyOrdered(DbError):
    """The same request was made before: nothing is queued again. job_ids: those queued then, in their order."""

    def __init__(self, job_ids: list[str]) -> None:
        self.job_ids = job_ids
        super().__init__("This request was made before; its jobs are those queued then.")


class NotYours(DbError):
    """The job was submitted by somebody else."""

    def __init__(self, job_id: str) -> None:
        super().__init__("Job {id} was submitted by somebody else, so it cannot be changed from here.", id=job_id)


class LeaseLost(DbError):
    """The job no longer belongs to this worker; it must drop it without writing anything."""

    def __init__(self, job_id: str, worker_id: str) -> None:
        super().__init__(
            "Job {id} no longer belongs to executor {executor}: its lease ran out or it has ended.",
            id=job_id,
            executor=worker_id,
        )


class BadValue(DbError):
    """A value that no database can hold or that makes no sense, with what is permitted."""


class UnknownExport(BadValue):
    """There is no exported evening of this name."""

    def __init__(self, name: str) -> None:
        super().__init__("There is no export called {name!r}.", name=name)


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
            "That was fast: at most {most} votes count in {seconds:.0f} s. Take a moment to look at these two.",
            most=most,
            seconds=in_s,
        )


class StoreUnavailable(DbError):
    """The artefact store cannot be read or written."""

    public = "The studio cannot reach its pictures."


class StoreFull(StoreUnavailable):
    """No space is left in the artefact store."""

    public = "The studio has no space left for pictures."


class DiskNearlyFull(StoreFull):
    """A disk has less room left than the host wants kept free. free, least: in bytes."""

    public = "The studio's disk is nearly full: nothing new is taken until the host has made room. Try again later."

    def __init__(self, used_for: str, folder: str, free: int, least: int) -> None:
        self.used_for, self.free, self.least = used_for, free, least
        super().__init__(
            "The disk of the {used_for} ({folder}) has {free:.2f} GB left, and {least:.2f} GB are to stay free "
            "(T2I_MIN_FREE_BYTES): nothing new is taken until there is more room.",
            used_for=Term(used_for),
            folder=folder,
            free=free / 1e9,
            least=least / 1e9,
        )


class TooManyBytesGiven(DbError):
    """Pictures that somebody gives would take more room than given pictures may. used, most: in bytes."""

    def __init__(self, whose: Term, used: int, most: int) -> None:
        self.used, self.most = used, most
        super().__init__(
            "{whose} {used:.1f} MB here, and {most:.1f} MB are allowed: what you gave now was not kept. Start from one "
            "that is here already, or ask the host for room.",
            whose=whose,
            used=used / 1e6,
            most=most / 1e6,
        )


class Erased(DbError):
    """The host has deleted everything while this was being kept."""

    def __init__(self) -> None:
        super().__init__("The host has deleted everything meanwhile, this too; send it again.")


class SourceHidden(DbError):
    """The host has taken the picture out that something is to be made from."""

    def __init__(self) -> None:
        super().__init__("A picture this is made from was taken out by the host; choose another one.")


class UnknownArtefact(DbError):
    """There is nothing under this key or id."""


class NothingLearnt(DbError):
    """A job is to be stopped and kept that has made no step yet."""

    def __init__(self, job_id: str) -> None:
        super().__init__("Job {id} has made no step yet, so there is nothing to keep; cancel it instead.", id=job_id)


class NameTaken(DbError):
    """A model, or a run that is not over, has this name already."""

    def __init__(self, name: str, by: Term) -> None:
        super().__init__("{name} is the name of {by} already; choose another one.", name=name, by=by)


class UnknownDataset(DbError):
    """There is no dataset with that id, or it is somebody else's."""

    def __init__(self, dataset_id: str) -> None:
        super().__init__("There is no dataset with the id {id!r} that you gave.", id=dataset_id)
