"""Fair turns: whose job is next.

Every submitter has a line of waiting jobs (highest priority first, then oldest). Among the heads of all
lines the highest priority goes first, and between equals the submitter who has been ready for longest:
since their last job was claimed, or since the head of their line was enqueued, whichever is later. Both
are stamps (see db/jobs.py), which count on when a clock is set back. So lines take turns, a newcomer
waits for one job of each other line at most, and nobody is passed over for ever. (Round robin over active
flows: Nagle, "On packet switches with infinite storage", RFC 970, 1985.)

Ids cost nothing, addresses do: all lines of one address together get ADDRESS_TURNS turns while a line of
another gets one. For that an address has been ready only since the last but ADDRESS_TURNS - 1 of its jobs was
claimed, and so have its lines; which of those goes first is told by their own turns. Where all come from one
address, or each from another, nothing of this changes anything. Who has no address (keys of programs) is alone.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import sqlalchemy as sa

from db.jobs import State, microseconds
from db.schema import jobs

# An executor fills its places with jobs of the batch that runs for so long, then with whose turn it is.
SAME_BATCH_S = 5.0
# So many visitors of one address are served as if each had an address of their own; more of them share their turns.
ADDRESS_TURNS = 4
HELD_BACK = "pause"  # what is asked of a job that nobody is to claim
NEARLY = 0.1  # of a slice: a job that would be done in so long is let finish

T = TypeVar("T", int, float)


# Two looks at the ends of indexes: max() of two columns of one table would read all of it. Plain SQL, since it is asked
# whenever a job comes, and making less of it takes half as long.
_NEWEST = "SELECT (SELECT max(id) FROM jobs), (SELECT max(turn) FROM jobs)"


def newest_stamp(conn: sa.Connection) -> str | None:
    """The last stamp there is, of a job that came or of one that was claimed: the next one counts on from it."""
    return max((stamp for stamp in conn.exec_driver_sql(_NEWEST).one() if stamp is not None), default=None)


def heads(
    conn: sa.Connection,
    *,
    limit: int,
    engines: Collection[str] | None = None,
    batch_key: str | None = None,
    without: Collection[str] = (),
    suspects: bool | None = None,
    behind: Collection[str] = (),
    not_of: Collection[str] = (),
) -> Sequence[Any]:
    """The first job of up to `limit` lines, in the order of their turns: rows (id, submitter, priority, batch_key,
    engine, suspect_step, ready). ready: the stamp since which its submitter, and their address, is ready.

    batch_key: only jobs of this batch, and none of a line whose first job was paused: that goes on when it is its
    turn, and the others behind it. without: not these jobs. suspects: only those (see `db.queue.suspects`), or none of
    them; None: whoever it is. behind: submitters who are served after all others of the same priority. not_of:
    submitters who are not.
    The cost grows with the number of submitters who wait, not with the number of waiting jobs.
    """
    values: dict[str, Any] = {"at_most": limit}
    if engines is not None:
        values["engines"] = list(engines)
    if batch_key is not None:
        values["batch_key"] = batch_key
    if without:
        values["without"] = list(without)
    if behind:
        values["behind"] = sorted(behind)
    if not_of:
        values["not_of"] = sorted(not_of)
    only = set() if suspects is None else {"suspects" if suspects else "no suspects"}
    return conn.execute(_heads(frozenset(values) | only), values).all()


_HEAD = ("id", "submitter", "priority", "batch_key", "engine", "suspect_step")


@cache
def _heads(given: frozenset[str]) -> sa.Select[Any]:
    """The statement of `heads` for these parameters; made once, since that takes longer than running it."""
    # A loose index scan: hops from one waiting submitter to the next.
    waiting = jobs.alias("waiting")
    line = (
        sa.select(sa.func.min(waiting.c.submitter).label("submitter"))
        .where(waiting.c.state == State.QUEUED)
        .cte("line", recursive=True)
    )
    following = (
        sa.select(sa.func.min(waiting.c.submitter))
        .where(waiting.c.state == State.QUEUED, waiting.c.submitter > line.c.submitter)
        .scalar_subquery()
    )
    line = line.union_all(sa.select(following).where(line.c.submitter.is_not(None)))

    first = jobs.alias("first")
    wanted = [first.c.state == State.QUEUED, first.c.submitter == line.c.submitter, claimable(first)]
    if "engines" in given:
        wanted.append(first.c.engine.in_(sa.bindparam("engines", expanding=True)))
    if "batch_key" in given:
        wanted.append(first.c.batch_key == sa.bindparam("batch_key"))
    if "without" in given:
        wanted.append(first.c.id.not_in(sa.bindparam("without", expanding=True)))
    wanted += _suspects(first, given)
    head_id = (
        sa.select(first.c.id).where(*wanted).order_by(first.c.priority.desc(), first.c.id).limit(1).scalar_subquery()
    )
    earlier = jobs.alias("earlier")
    served = sa.select(sa.func.max(earlier.c.turn)).where(earlier.c.submitter == line.c.submitter)
    turn = sa.select(head_id.label("id"), served.scalar_subquery().label("served")).select_from(line).subquery("turn")
    own = sa.case((turn.c.served > jobs.c.id, turn.c.served), else_=jobs.c.id)
    first_jobs = sa.select(
        *(jobs.c[name] for name in _HEAD), own.label("own"), _address_ready().label("shared")
    ).join_from(turn, jobs, jobs.c.id == turn.c.id)
    if "batch_key" in given:
        first_jobs = first_jobs.where(_first_of_line(given).is_(None))
    if "not_of" in given:
        first_jobs = first_jobs.where(jobs.c.submitter.not_in(sa.bindparam("not_of", expanding=True)))
    ready = first_jobs.subquery("ready")
    both = sa.case((ready.c.shared > ready.c.own, ready.c.shared), else_=ready.c.own)
    order: list[sa.ColumnElement[Any]] = [ready.c.priority.desc(), both, ready.c.own, ready.c.id]
    if "behind" in given:
        later = ready.c.submitter.in_(sa.bindparam("behind", expanding=True))
        order.insert(1, sa.case((later, 1), else_=0))
    return (
        sa.select(*(ready.c[name] for name in _HEAD), both.label("ready"))
        .order_by(*order)
        .limit(sa.bindparam("at_most"))
    )


def _first_of_line(given: frozenset[str]) -> sa.ScalarSelect[Any]:
    """The turn of the first job in a submitter's line, of any batch: set where that job was paused."""
    any_ = jobs.alias("any")
    wanted = [any_.c.state == State.QUEUED, any_.c.submitter == jobs.c.submitter, claimable(any_)]
    if "engines" in given:
        wanted.append(any_.c.engine.in_(sa.bindparam("engines", expanding=True)))
    wanted += _suspects(any_, given)
    first = sa.select(any_.c.turn).where(*wanted).order_by(any_.c.priority.desc(), any_.c.id).limit(1)
    return first.correlate(jobs).scalar_subquery()


def claimable(of: sa.FromClause) -> sa.ColumnElement[bool]:
    """Which of these jobs are not held back by their owners, see `db.queue.asking`."""
    return sa.or_(of.c.asked.is_(None), of.c.asked != HELD_BACK)


def _suspects(of: sa.FromClause, given: frozenset[str]) -> list[sa.ColumnElement[bool]]:
    """Which of these jobs may be taken, as far as suspects matter."""
    if "suspects" in given:
        return [of.c.suspect_step >= 0]
    return [of.c.suspect_step.is_(None)] if "no suspects" in given else []


def _address_ready() -> sa.ScalarSelect[Any]:
    """Since when the address of a job has been ready: its last turn but ADDRESS_TURNS - 1; NULL: always."""
    nth = jobs.alias("nth")
    return (
        sa.select(nth.c.turn)
        .where(nth.c.address == jobs.c.address, nth.c.turn.is_not(None))
        .order_by(nth.c.turn.desc())
        .limit(1)
        .offset(ADDRESS_TURNS - 1)
        .correlate(jobs)
        .scalar_subquery()
    )


def service_order(conn: sa.Connection) -> Iterator[str]:
    """Ids of all queued jobs in the order in which they would be claimed one by one if nothing else came."""
    return (row.id for row in line_in_order(conn))


# What is known of a job that waits; made once, since making a statement takes longer than running it.
_LINE = (
    sa.select(
        *(
            jobs.c[name]
            for name in (
                *("id", "engine", "batch_key", "step", "total_steps", "submitter", "priority", "turn"),
                *("spent_s", "pixels", "address", "suspect_step"),
            )
        )
    )
    .where(jobs.c.state == State.QUEUED, claimable(jobs))
    .order_by(jobs.c.submitter, jobs.c.priority.desc(), jobs.c.id)
)


def line_in_order(conn: sa.Connection) -> Iterator[Any]:
    """As `service_order`: rows with the columns of _LINE."""
    rows = conn.execute(_LINE).all()
    lines: dict[str, deque[Any]] = defaultdict(deque)
    for row in rows:
        lines[row.submitter].append(row)
    served = last_served(conn, list(lines))
    recent = last_turns(conn)
    # The lines of each address (or the one line of who has none), the first to be served in front: there the address's
    # own turns make no difference. And the addresses by their first lines, with a number that says which entry counts.
    shared: dict[str, list[tuple[int, int, str, str]]] = defaultdict(list)
    for who, line in lines.items():
        shared[_shares(line[0])].append(
            (-line[0].priority, max(microseconds(line[0].id), served.get(who, 0)), line[0].id, who)
        )
    ready: list[tuple[int, int, int, str, str, int]] = []
    newest: dict[str, int] = defaultdict(int)

    def put(group: str) -> None:
        newest[group] += 1
        if shared[group]:
            priority, own, job_id, _ = shared[group][0]
            both = max(own, ready_since(recent.get(group, {}), own))
            heapq.heappush(ready, (priority, both, own, job_id, group, newest[group]))

    for group in list(shared):
        heapq.heapify(shared[group])
        put(group)
    # Turns taken in this look ahead count up from a stamp later than any in the table.
    now = max(
        [entry[1] for some in shared.values() for entry in some]
        + [us for some in recent.values() for us in some.values()],
        default=0,
    )
    while ready:
        *_, group, entry = heapq.heappop(ready)
        if entry != newest[group]:
            continue
        who = heapq.heappop(shared[group])[-1]
        now += 1
        job = lines[who].popleft()
        yield job
        if job.address is not None:
            take_turn(recent.setdefault(group, {}), job.id, now)
        if lines[who]:
            head = lines[who][0]
            heapq.heappush(shared[_shares(head)], (-head.priority, now, head.id, who))
            put(_shares(head))
        if not lines[who] or _shares(lines[who][0]) != group:
            put(group)


def _shares(job: Any) -> str:
    """Whose turns a job's line shares: its address, or its submitter alone where none is known."""
    return f"submitter {job.submitter}" if job.address is None else str(job.address)


def take_turn(turns: dict[str, T], job_id: str, at: T) -> None:
    """A job takes a turn of its address, of which these are the last ones by job; going on it takes no other."""
    turns.pop(job_id, None)
    turns[job_id] = at
    if len(turns) > ADDRESS_TURNS:
        del turns[next(iter(turns))]


def ready_since(turns: Mapping[str, T], always: T) -> T:
    """Since when an address with these last turns has been ready; `always` where it had less than ADDRESS_TURNS."""
    return next(iter(turns.values())) if len(turns) == ADDRESS_TURNS else always


def _last_turns() -> sa.Select[Any]:
    """Of each address that waits the ids of the jobs that took its last ADDRESS_TURNS turns."""
    here = sa.select(jobs.c.address).where(jobs.c.state == State.QUEUED, jobs.c.address.is_not(None)).distinct()
    waiting = here.subquery("waiting")
    turns = []
    for n in range(ADDRESS_TURNS):
        nth = jobs.alias(f"nth_{n}")
        turns.append(
            sa.select(nth.c.id)
            .where(nth.c.address == waiting.c.address, nth.c.turn.is_not(None))
            .order_by(nth.c.turn.desc())
            .limit(1)
            .offset(n)
            .scalar_subquery()
        )
    return sa.select(waiting.c.address, *turns)


# Made once, since making a statement takes longer than running it.
_LAST_TURNS = _last_turns()
_STAMPS = sa.select(jobs.c.id, jobs.c.turn).where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)))


def last_turns(conn: sa.Connection) -> dict[str, dict[str, int]]:
    """The last ADDRESS_TURNS turns of each address that waits, by job, as `microseconds` of them, the oldest first."""
    of = {job_id: address for address, *ids in conn.execute(_LAST_TURNS) for job_id in ids}
    found: dict[str, dict[str, int]] = defaultdict(dict)
    ids = [job_id for job_id in of if job_id is not None]
    stamps: dict[str, str] = {}
    for i in range(0, len(ids), 500):
        rows = conn.execute(_STAMPS, {"ids": ids[i : i + 500]})
        stamps.update({row.id: row.turn for row in rows if row.turn is not None})
    for job_id, stamp in sorted(stamps.items(), key=lambda one: one[1]):
        found[of[job_id]][job_id] = microseconds(stamp)
    return dict(found)


def last_served(conn: sa.Connection, submitters: Sequence[str]) -> dict[str, int]:
    """When a job of each of these submitters was last claimed, as `microseconds` of its turn; those never served are
    left out."""
    served: dict[str, int] = {}
    for i in range(0, len(submitters), 500):
        rows = conn.execute(
            sa.select(jobs.c.submitter, sa.func.max(jobs.c.turn))
            .where(jobs.c.submitter.in_(submitters[i : i + 500]), jobs.c.turn.is_not(None))
            .group_by(jobs.c.submitter)
        )
        served.update({who: microseconds(turn) for who, turn in rows})
    return served
