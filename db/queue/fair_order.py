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
from functools import lru_cache
from typing import Any, TypeVar

import sqlalchemy as sa

from db.jobs import State, microseconds
from db.prepared import Prepared
from db.schema import jobs

# An executor fills its places with jobs of the batch that runs for so long, then with whose turn it is.
SAME_BATCH_S = 5.0
# So many visitors of one address are served as if each had an address of their own; more of them share their turns.
ADDRESS_TURNS = 4
HELD_BACK = "pause"  # what is asked of a job that nobody is to claim
NEARLY = 0.1  # of a slice: a job that would be done in so long is let finish

T = TypeVar("T", int, float)


# Two looks at the ends of indexes: max() of two columns of one table would read all of it.
NEWEST_ID = sa.select(sa.func.max(jobs.c.id))
NEWEST_TURN = sa.select(sa.func.max(jobs.c.turn)).where(jobs.c.turn.is_not(None))
_NEWEST = Prepared(sa.select(NEWEST_ID.scalar_subquery(), NEWEST_TURN.scalar_subquery()))


def newest_stamp(conn: sa.Connection) -> str | None:
    """The last stamp there is, of a job that came or of one that was claimed: the next one counts on from it."""
    return max((stamp for stamp in _NEWEST.all(conn)[0] if stamp is not None), default=None)


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
    if engines is not None and not engines:
        return []
    lengths, listed = listed_values(
        engines=list(engines or ()), without=list(without), behind=sorted(behind), not_of=sorted(not_of)
    )
    values: dict[str, Any] = {**listed, "at_most": limit}
    if batch_key is not None:
        values["batch_key"] = batch_key
    which = None if suspects is None else "suspects" if suspects else "no suspects"
    return _heads(lengths, batch_key is not None, which).all(conn, values)


def listed_values(**lists: Sequence[str]) -> tuple[tuple[int, ...], dict[str, str]]:
    """How many parameters each of these lists has in a statement, and all of them by name: NAME_0, NAME_1, ..."""
    filled = {name: _padded(listed) for name, listed in lists.items()}
    values = {f"{name}_{n}": one for name, listed in filled.items() for n, one in enumerate(listed)}
    return tuple(map(len, filled.values())), values


def _padded(listed: Sequence[str]) -> list[str]:
    """The same, its last one said again until there are 0, 1, 2, 4, 8, ... of them: few lengths are few statements."""
    return [*listed, *[listed[-1]] * ((1 << (len(listed) - 1).bit_length()) - len(listed))] if listed else []


_HEAD = ("id", "submitter", "priority", "batch_key", "engine", "suspect_step")


@lru_cache(512)
def _heads(lengths: tuple[int, ...], of_batch: bool, which: str | None) -> Prepared:
    """The statement of `heads` for lists of these lengths; made once, since that takes longer than running it."""
    ready, since, order = in_turn(lengths, of_batch, which)
    return Prepared(
        sa.select(*(ready.c[name] for name in _HEAD), since.label("ready"))
        .order_by(ready.c.priority.desc(), *order)
        .limit(sa.bindparam("at_most", type_=sa.Integer))
    )


def in_turn(
    lengths: tuple[int, ...], of_batch: bool = False, which: str | None = None
) -> tuple[sa.CTE, sa.ColumnElement[Any], list[sa.ColumnElement[Any]]]:
    """The first jobs of all lines as a part of a statement: the stamp since which each is ready, and in what order
    those of one priority have their turns. lengths: how many `engines`, `without`, `behind` and `not_of` there are.
    """
    engines, without, behind, not_of = lengths
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
    wanted = in_line(first, line.c.submitter, engines, which)
    if of_batch:
        wanted.append(first.c.batch_key == sa.bindparam("batch_key"))
    if without:
        wanted.append(first.c.id.not_in(_listed("without", without)))
    head_id = (
        sa.select(first.c.id).where(*wanted).order_by(first.c.priority.desc(), first.c.id).limit(1).scalar_subquery()
    )
    earlier = jobs.alias("earlier")
    served = sa.select(sa.func.max(earlier.c.turn)).where(
        earlier.c.submitter == line.c.submitter, earlier.c.turn.is_not(None)
    )
    of_line = [head_id.label("id"), served.scalar_subquery().label("served")]
    if of_batch:
        of_line.append(_first_of_line(line.c.submitter, engines, which).label("paused"))
    # PostgreSQL would ask for each of them wherever it is named, and for that of every job.
    turn = sa.select(*of_line).select_from(line).cte("turn").prefix_with("MATERIALIZED", dialect="postgresql")
    own = sa.case((turn.c.served > jobs.c.id, turn.c.served), else_=jobs.c.id)
    # The second condition is always true. PostgreSQL takes so few lines for granted then that it looks each head up; it
    # would read a whole table that was small when it made its plan, and goes by that plan while the table grows.
    head = sa.and_(jobs.c.id == turn.c.id, turn.c.id == sa.func.coalesce(turn.c.id, ""))
    first_jobs = sa.select(
        *(jobs.c[name] for name in _HEAD), own.label("own"), _address_ready().label("shared")
    ).join_from(turn, jobs, head)
    if of_batch:
        first_jobs = first_jobs.where(turn.c.paused.is_(None))
    if not_of:
        first_jobs = first_jobs.where(jobs.c.submitter.not_in(_listed("not_of", not_of)))
    ready = first_jobs.cte("ready").prefix_with("MATERIALIZED", dialect="postgresql")
    both = sa.case((ready.c.shared > ready.c.own, ready.c.shared), else_=ready.c.own)
    order: list[sa.ColumnElement[Any]] = [both, ready.c.own, ready.c.id]
    if behind:
        later = ready.c.submitter.in_(_listed("behind", behind))
        order.insert(0, sa.case((later, 1), else_=0))
    return ready, both, order


def _listed(name: str, length: int) -> list[sa.BindParameter[str]]:
    """A parameter for each of a list: one for all of it would be compiled anew whenever it is asked."""
    return [sa.bindparam(f"{name}_{n}", type_=sa.String) for n in range(length)]


def in_line(of: sa.FromClause, submitter: Any, engines: int, which: str | None) -> list[sa.ColumnElement[bool]]:
    """What waits in a submitter's line, for these engines, where any are named, and as far as suspects matter."""
    wanted = [of.c.state == State.QUEUED, of.c.submitter == submitter, claimable(of)]
    if engines:
        wanted.append(of.c.engine.in_(_listed("engines", engines)))
    if which is not None:
        wanted.append(of.c.suspect_step >= 0 if which == "suspects" else of.c.suspect_step.is_(None))
    return wanted


def _first_of_line(submitter: sa.ColumnElement[str], engines: int, which: str | None) -> sa.ScalarSelect[Any]:
    """The turn of the first job in a submitter's line, of any batch: set where that job was paused."""
    any_ = jobs.alias("any")
    wanted = in_line(any_, submitter, engines, which)
    first = sa.select(any_.c.turn).where(*wanted).order_by(any_.c.priority.desc(), any_.c.id).limit(1)
    return first.scalar_subquery()


def claimable(of: sa.FromClause) -> sa.ColumnElement[bool]:
    """Which of these jobs are not held back by their owners, see `db.queue.asking`."""
    return sa.or_(of.c.asked.is_(None), of.c.asked != HELD_BACK)


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
