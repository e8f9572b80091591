"""Jobs into the queue: one, or a set that is taken whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from db.engine import AHEAD_S, clock, own_clock, told_or_servers_clock, writing
from db.errors import (
    BadValue,
    Banned,
    QueueFull,
    SourceHidden,
    TooManyFromAddress,
    TooManyFromAddressThisHour,
    TooManyQueued,
    TooManyThisHour,
    UnknownArtefact,
    UnknownJob,
)
from db.jobs import Job, State, check_text, new_id, normalise, oldest_id
from db.prepared import Prepared
from db.queue import budget
from db.queue.fair_order import NEWEST_ID, NEWEST_TURN, newest_stamp
from db.queue.orders import TRACED, Order, check_new, remember
from db.queue.transitions import Noted
from db.rules import host_rules
from db.rules.visitors import BANNED, check_address, lock, lock_address
from db.schema import artefacts, host_settings, jobs
from db.schema.queue import STYLE

HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """What a job is asked to do. batch_key: jobs with the same key can share a batch. private: its picture is shown to
    nobody but whoever asks. pixels: of the picture it draws, None where that says nothing about a step. budgeted:
    whether what it costs is up to who asks for it."""

    engine: str
    checkpoint: str
    batch_key: str
    prompt: str
    params: Mapping[str, Any]
    total_steps: int
    priority: int = 0
    parent_id: str | None = None
    source_artefact_id: str | None = None
    max_attempts: int = 3
    sources: tuple[str, ...] = ()  # pictures it is made from, as its parameters name them
    private: bool = False
    pixels: int | None = None
    budgeted: bool = True
    budget_s: float | None = None  # in place of what any other job may cost

    def check(self) -> None:
        """Raises BadValue for what no database can hold."""
        for name, text, max_length in (
            ("engine", self.engine, 64),
            ("checkpoint", self.checkpoint, 128),
            ("batch_key", self.batch_key, 255),
            ("prompt", self.prompt, None),
        ):
            check_text(name, text, max_length)
        for name, number in (("total_steps", self.total_steps), ("max_attempts", self.max_attempts)):
            if number < 1:
                raise BadValue(f"{name} is {number}; at least 1 is needed.")
        try:
            json.dumps(dict(self.params), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise BadValue(f"The parameters are no JSON: {error}.") from None
        for name, value in self.params.items():
            _check_texts(name, value)


def _check_texts(name: str, value: Any) -> None:
    """Raises BadValue where a text in there, however deep, is one that a database cannot hold."""
    if isinstance(value, str):
        check_text(name, value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _check_texts(name, str(key))
            _check_texts(name, inner)
    elif isinstance(value, Sequence):
        for inner in value:
            _check_texts(name, inner)


@dataclass(frozen=True)
class Limits:
    """Most jobs one submitter may have waiting, and may ask for in an hour, and what one of them may cost in s of an
    executor that works on nothing else; None: no limit.

    The first two also of all who share an address, and the first of everybody together (in_all).
    """

    max_queued: int | None = None
    max_per_hour: int | None = None
    max_job_s: float | None = None
    own: bool = False  # given to this submitter alone: what the host sets for everybody does not change them
    max_queued_per_address: int | None = None
    max_per_hour_per_address: int | None = None
    max_queued_in_all: int | None = None

    def under(self, host: host_rules.Rules) -> Limits:
        """The host's own where there are any, else these."""
        max_job_s = self.max_job_s
        if max_job_s is not None and host.max_job_s is not None:  # none: whoever it is has no such limit at all
            max_job_s = host.max_job_s
        return Limits(
            max_queued=self.max_queued if self.own else host.max_queued or self.max_queued,
            max_per_hour=self.max_per_hour if self.own else host.max_per_hour or self.max_per_hour,
            max_job_s=max_job_s,
            own=self.own,
            max_queued_per_address=host.max_queued_per_address or self.max_queued_per_address,
            max_per_hour_per_address=host.max_per_hour_per_address or self.max_per_hour_per_address,
            max_queued_in_all=host.max_queued_in_all or self.max_queued_in_all,
        )


NO_LIMITS = Limits()
NO_ORDER = Order()

_BESIDE = ("prompt_search", "style", "address")  # what is not told by a Job
_ADD = Noted(
    sa.insert(jobs).values(
        {name: sa.bindparam(name, type_=jobs.c[name].type) for name in (*Job.__dataclass_fields__, *_BESIDE)}
    ),
    jobs.c.id,
)
_WAITING = sa.select(sa.func.count()).where(jobs.c.state == State.QUEUED)
_WAITING_OF = Prepared(_WAITING.where(jobs.c.submitter == sa.bindparam("who")))
_WAITING_FROM = Prepared(_WAITING.where(jobs.c.address == sa.bindparam("who")))
_WAITING_IN_ALL = Prepared(_WAITING)
# What has to be known of the studio and of who asks, beside each of the host's rules: each statement takes a way there
# and back. What waits is counted where there is a limit to it.
_LOOK = sa.select(
    BANNED.scalar_subquery().label("banned"),
    NEWEST_ID.scalar_subquery().label("newest_id"),
    NEWEST_TURN.scalar_subquery().label("newest_turn"),
    told_or_servers_clock("at").label("at"),
    sa.case(
        (
            sa.bindparam("limited", type_=sa.Boolean),
            _WAITING.where(jobs.c.submitter == sa.bindparam("visitor", type_=sa.String)).scalar_subquery(),
        )
    ).label("waiting"),
).subquery("look")
_LOOK_AND_RULES = Prepared(
    sa.select(*_LOOK.c, host_settings.c.name, host_settings.c.value).join_from(
        _LOOK, host_settings, sa.true(), isouter=True
    )
)
# The id keeps the count to one end of an index; what was cancelled before it started took nobody's time.
_SINCE = sa.select(sa.func.count()).where(
    jobs.c.id > sa.bindparam("first_id"),
    jobs.c.created_at > sa.bindparam("since"),
    jobs.c.created_at <= sa.bindparam("until"),
    sa.or_(jobs.c.state != State.CANCELLED, jobs.c.started_at.is_not(None)),
)
_SINCE_OF = Prepared(_SINCE.where(jobs.c.submitter == sa.bindparam("who")))
_SINCE_FROM = Prepared(_SINCE.where(jobs.c.address == sa.bindparam("who")))
# Who asks while the queue is nearly full is counted alone: PostgreSQL has many writers at a time.
NEARLY_FULL = 256
_EVERYBODY = "everybody"


def enqueue(db: sa.Engine, new: NewJob, *, submitter: str, limits: Limits = NO_LIMITS, order: Order = NO_ORDER) -> Job:
    """Add a job at the end of its submitter's line. Raises BadValue and what `add` raises."""
    check_text("submitter", submitter, 128)
    new.check()
    with writing(db) as conn:
        return add(conn, [new], submitter, limits, order)[0]


def add(
    conn: sa.Connection, wanted: Sequence[NewJob], submitter: str, limits: Limits, order: Order = NO_ORDER
) -> list[Job]:
    """Put checked jobs at the end of the submitter's line, in this order, in the caller's transaction.

    limits: unless the host has set others. order: what comes with them. Raises AlreadyOrdered, OrderReused, Banned,
    EngineWithheld, WordRefused, TooManyQueued, TooManyThisHour (or their like for an address and for all), OverBudget,
    and for a parent that is hidden or does not exist SourceHidden or UnknownJob; then nothing must be committed.
    """
    lock(conn, submitter)
    check_new(conn, submitter, order)
    known = {"visitor": submitter, "at": own_clock(conn), "limited": limits.max_queued is not None}
    rows = _LOOK_AND_RULES.all(conn, known)
    look, host = rows[0], host_rules.rules_of(rows)
    if look.banned is not None:
        raise Banned
    if order.address is not None:
        check_address(conn, order.address)
    for new in wanted:
        host.check_job(new.engine, [new.prompt, *_texts(new.params)])
    limits = limits.under(host)
    others_locked = _check_limits(conn, submitter, order.address, limits, len(wanted), look.waiting)
    if limits.max_job_s:
        budget.check(conn, wanted, limits.max_job_s)
    for parent_id in {new.parent_id for new in wanted} - {None}:
        assert parent_id is not None
        hidden = conn.scalar(sa.select(jobs.c.hidden).where(jobs.c.id == parent_id))
        if hidden is None:
            raise UnknownJob(parent_id)
        if hidden:
            raise SourceHidden
    now, newest = look.at, max(filter(None, (look.newest_id, look.newest_turn)), default=None)
    if others_locked:  # others may have been waited for since that look
        now, newest = clock(conn), newest_stamp(conn)
    made = [
        Job(
            id=new_id(after=newest),
            engine=new.engine,
            checkpoint=new.checkpoint,
            batch_key=new.batch_key,
            prompt=new.prompt,
            params=dict(new.params),
            state=State.QUEUED,
            priority=new.priority,
            submitter=submitter,
            attempt=1,
            max_attempts=new.max_attempts,
            step=0,
            total_steps=new.total_steps,
            history=[],
            cancel_requested=False,
            hidden=new.private,
            parent_id=new.parent_id,
            source_artefact_id=new.source_artefact_id,
            created_at=now,
            pixels=new.pixels,
            budget_s=limits.max_job_s or None if new.budgeted else new.budget_s,
        )
        for new in wanted
    ]
    # Whoever works on the job finds the trace in the event that says where it came from.
    traced = None if order.traceparent is None else f"{TRACED}{order.traceparent}"
    said = {"at": now, "kind": State.QUEUED, "worker_id": None, "detail": traced}
    _ADD.add(conn, [vars(job) | _beside(job) | {"address": order.address} for job in made], said)
    _keep_sources(conn, [reference for new in wanted for reference in new.sources])
    remember(conn, submitter, order, made)
    return made


def _beside(job: Job) -> dict[str, Any]:
    """What it is found by, and is told by its other columns."""
    style = job.params.get("style")
    known = isinstance(style, str) and len(style) <= STYLE
    return {"prompt_search": normalise(job.prompt), "style": style if known else None}


class _Undone(Exception):
    """Ends the transaction of a question."""


def check(
    db: sa.Engine, wanted: Sequence[NewJob], *, submitter: str, limits: Limits = NO_LIMITS, order: Order = NO_ORDER
) -> None:
    """Raises what `add` would raise for these jobs now; nothing is queued. Their sources need not be there yet.

    Asked before pictures are read and kept: what the queue refuses has cost nothing then.
    """
    check_text("submitter", submitter, 128)
    for new in wanted:
        new.check()
    try:
        with writing(db) as conn:
            add(conn, [replace(new, sources=()) for new in wanted], submitter, limits, order)
            raise _Undone
    except _Undone:
        return


def _keep_sources(conn: sa.Connection, references: Sequence[str]) -> None:
    """Pictures that were given stay from now on, since a job names them. Raises UnknownArtefact for one that is gone.

    After the jobs: everybody locks the tables in the order of db.evening.erasing.
    """
    for reference in dict.fromkeys(references):
        named = artefacts.c.key == reference if "/" in reference else artefacts.c.id == reference
        conn.execute(sa.update(artefacts).where(named, artefacts.c.due_at.is_not(None)).values(due_at=None))
        is_given = reference.startswith("uploads/") or "/" not in reference
        if is_given and conn.scalar(sa.select(artefacts.c.id).where(named)) is None:
            raise UnknownArtefact(
                "A picture this is made from ({picture}) is not there any more; give it again.", picture=reference
            )


def _texts(params: Mapping[str, Any]) -> list[str]:
    texts = [text for name in host_rules.TEXTS if isinstance(text := params.get(name), str)]
    return texts + [said["typed"] for said in params.get("wording", {}).values()]  # what was typed is shown as well


def _check_limits(
    conn: sa.Connection, submitter: str, address: str | None, limits: Limits, wanted: int, waiting: int | None
) -> bool:
    """The submitter's own first: what they can do something about themselves. Held until the jobs are there.

    waiting: how many of the submitter's do, None: not counted yet. Whether a lock was taken that others have as well.
    """
    others_locked = False
    _check_room(conn, TooManyQueued, _WAITING_OF, submitter, limits.max_queued, wanted, waiting)
    _check_hour(conn, TooManyThisHour, _SINCE_OF, submitter, limits.max_per_hour, wanted)
    if address is not None and (limits.max_queued_per_address or limits.max_per_hour_per_address):
        # Behind the submitter's own lock, and before that of everybody: all take them in this order.
        lock_address(conn, address)
        others_locked = True
        check_address(conn, address)  # as it is by now: a ban takes the same lock
        _check_room(conn, TooManyFromAddress, _WAITING_FROM, address, limits.max_queued_per_address, wanted)
        _check_hour(conn, TooManyFromAddressThisHour, _SINCE_FROM, address, limits.max_per_hour_per_address, wanted)
    if limits.max_queued_in_all is not None:
        if (_WAITING_IN_ALL.scalar(conn) or 0) + wanted + NEARLY_FULL > limits.max_queued_in_all:
            lock(conn, _EVERYBODY)
            others_locked = True
        _check_room(conn, QueueFull, _WAITING_IN_ALL, "", limits.max_queued_in_all, wanted)
    return others_locked


def _check_room(
    conn: sa.Connection,
    error: type[TooManyQueued],
    counting: Prepared,
    who: str,
    limit: int | None,
    wanted: int,
    waiting: int | None = None,
) -> None:
    if limit is None:
        return
    if waiting is None:
        waiting = counting.scalar(conn, {"who": who} if who else {}) or 0
    if waiting + wanted > limit:
        raise error(limit, wanted=wanted, waiting=waiting)


def _check_hour(
    conn: sa.Connection,
    error: type[TooManyThisHour],
    counting: Prepared,
    who: str,
    limit: int | None,
    wanted: int,
) -> None:
    if limit is None:
        return
    now = clock(conn)
    since = now - HOUR_S
    # Ids tell the time of the machine that made them, which may be a little off. What seems to be asked for later than
    # now was before the clock was set back: nobody is refused for as long as it was.
    values = {"who": who, "since": since, "until": now + AHEAD_S, "first_id": oldest_id(since - HOUR_S)}
    made = counting.scalar(conn, values) or 0
    if made + wanted > limit:
        raise error(limit, wanted=wanted, made=made)
