"""Who did what, by visitor and by address, and what the host does about several at once; it can be taken back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from db.engine import clock, newest, reading, writing
from db.errors import UnknownAction
from db.jobs import LIVE, State, is_id, new_id
from db.queue.listing import copies_of
from db.queue.transitions import end_or_ask
from db.rules.visitors import lock, lock_address, put
from db.schema import artefacts, banned_addresses, bulk_actions, datasets, jobs, votes
from db.schema import visitors as visitors_table

_AT_ONCE = 500
_SHOWN = sa.select(jobs.c.id).where(jobs.c.id == sa.bindparam("id"), jobs.c.hidden == sa.false())


@dataclass(frozen=True)
class Doings:
    """What one visitor, or all of one address, did. id: of the visitor, or what stands for the address. Times in UTC s.

    datasets: kept of captioned pictures, dataset_bytes in all.
    address: the last one known of a visitor. visitors: how many share the address. banned_until: of an address, None
    where it is not banned or until the host lifts it.
    """

    id: str
    asked: int = 0
    waiting: int = 0
    running: int = 0
    votes: int = 0
    uploads: int = 0
    datasets: int = 0
    dataset_bytes: int = 0
    visitors: int = 1
    first_at: float | None = None
    last_at: float | None = None
    address: str | None = None
    name: str | None = None
    banned_at: float | None = None
    banned_until: float | None = None

    @property
    def live(self) -> int:
        """How many of their jobs wait or run."""
        return self.waiting + self.running


@dataclass(frozen=True)
class Action:
    """What was done to several at once: how many jobs ended and were hidden, who was banned. Times in UTC s."""

    id: str
    at: float
    cancelled: int
    hidden: int
    visitors: tuple[str, ...]
    addresses: tuple[str, ...]
    undone_at: float | None


def by_visitor(db: sa.Engine, *, limit: int = 50) -> list[Doings]:
    """Everybody who is banned, then who asked, voted or sent pictures, the last one first."""
    with reading(db) as conn:
        found = _gathered(conn, (jobs.c.submitter, votes.c.voter, artefacts.c.giver, datasets.c.submitter))
        for row in conn.execute(sa.select(visitors_table.c.id, visitors_table.c.name, visitors_table.c.banned_at)):
            if row.id in found or row.banned_at is not None:
                found[row.id] = replace(found.get(row.id, Doings(row.id)), name=row.name, banned_at=row.banned_at)
    return _sorted(found.values(), limit)


def by_address(db: sa.Engine, *, limit: int = 50) -> list[Doings]:
    """The same, of all who share an address together."""
    with reading(db) as conn:
        found = _gathered(conn, (jobs.c.address, votes.c.address, artefacts.c.address, datasets.c.address))
        now = clock(conn)
        for row in conn.execute(sa.select(banned_addresses)):
            if row.until is None or row.until > now:
                known = found.get(row.address, Doings(row.address, visitors=0))
                found[row.address] = replace(known, banned_at=row.banned_at, banned_until=row.until)
    return _sorted(found.values(), limit)


def _sorted(found: Collection[Doings], limit: int) -> list[Doings]:
    return sorted(found, key=lambda one: (one.banned_at is None, -(one.last_at or 0.0)))[:limit]


def _gathered(conn: sa.Connection, by: tuple[sa.Column[Any], ...]) -> dict[str, Doings]:
    asker, voter, giver, teacher = by
    counts = [
        sa.func.count().label("n"),
        sa.func.count(sa.case((jobs.c.state == State.QUEUED, 1))).label("waiting"),
        sa.func.count(sa.case((jobs.c.state == State.RUNNING, 1))).label("running"),
        sa.func.count(sa.distinct(jobs.c.submitter)).label("visitors"),
    ]
    found: dict[str, Doings] = {}
    for row in conn.execute(_grouped(asker, jobs.c.created_at, jobs.c.address, *counts)):
        known = Doings(row.who, row.n, row.waiting, row.running, visitors=row.visitors)
        found[row.who] = replace(known, first_at=row.first, last_at=row.last, address=row.address)
    cast = sa.func.count().label("n"), sa.func.count(sa.distinct(votes.c.voter)).label("visitors")
    for row in conn.execute(_grouped(voter, votes.c.at, votes.c.address, *cast)):
        found[row.who] = _more(found, row, votes=row.n, visitors=max(row.visitors, _of(found, row.who).visitors))
    sent = (sa.func.count().label("n"),)
    for row in conn.execute(_grouped(giver, artefacts.c.created_at, artefacts.c.address, *sent)):
        found[row.who] = _more(found, row, uploads=row.n)
    kept = sa.func.count().label("n"), sa.func.sum(datasets.c.bytes).label("bytes")
    for row in conn.execute(_grouped(teacher, datasets.c.created_at, datasets.c.address, *kept)):
        found[row.who] = _more(found, row, datasets=row.n, dataset_bytes=int(row.bytes))
    return found


def _grouped(by: sa.Column[Any], at: sa.Column[float], address: sa.Column[Any], *counts: Any) -> sa.Select[Any]:
    span = sa.func.min(at).label("first"), sa.func.max(at).label("last"), sa.func.max(address).label("address")
    return sa.select(by.label("who"), *counts, *span).where(by.is_not(None)).group_by(by)


def _of(found: dict[str, Doings], who: str) -> Doings:
    return found.get(who, Doings(who))


def _more(found: dict[str, Doings], row: Any, **counts: Any) -> Doings:
    known = _of(found, row.who)
    first = row.first if known.first_at is None else min(known.first_at, row.first)
    last = row.last if known.last_at is None else max(known.last_at, row.last)
    return replace(known, first_at=first, last_at=last, address=known.address or row.address, **counts)


def addresses_of(db: sa.Engine, job_ids: Sequence[str]) -> dict[str, str | None]:
    """What stands for the address each of these jobs came from; None: not known."""
    found: dict[str, str | None] = {}
    with reading(db) as conn:
        for i in range(0, len(job_ids), _AT_ONCE):
            some = sa.select(jobs.c.id, jobs.c.address).where(jobs.c.id.in_(job_ids[i : i + _AT_ONCE]))
            found.update({row.id: row.address for row in conn.execute(some)})
    return found


def act(
    db: sa.Engine,
    *,
    visitors: Sequence[str] = (),
    addresses: Sequence[str] = (),
    cancel: bool = False,
    hide: bool = False,
    ban: bool = False,
    ban_s: float | None = None,
    copies: Collection[str] = (),
) -> Action:
    """End what these have in progress (cancel, ban), take out their pictures (hide), close queue and votes (ban).

    ban_s: how long addresses stay banned, in s; None: until it is lifted. copies: engines that make the same picture
    again, hidden with it. All of it or nothing.
    """
    with writing(db) as conn:
        now = clock(conn)
        newly: list[str] = []
        if ban:
            for visitor in sorted(set(visitors)):
                lock(conn, visitor)
                newly += _ban_visitor(conn, visitor, now)
            for address in sorted(set(addresses)):
                lock_address(conn, address)
        ended = 0
        if cancel or ban:
            for job_id in _their_jobs(conn, visitors, addresses, lambda: jobs.c.state.in_(LIVE)):
                end_or_ask(conn, job_id)
                ended += 1
        hidden: list[str] = []
        if hide:
            own = set(_their_jobs(conn, visitors, addresses, lambda: jobs.c.hidden == sa.false()))
            copied = sorted(copies_of(conn, own, copies))
            hidden = sorted(own | {one for one in copied if conn.scalar(_SHOWN, {"id": one}) is not None})
            _set_hidden(conn, hidden, True)
        before: dict[str, tuple[float, float | None]] = {}
        if ban:  # behind the jobs: everybody locks the tables in the order of db.evening.erasing
            for address in sorted(set(addresses)):
                older = _take_ban(conn, address)
                if older is not None:
                    before[address] = older.banned_at, older.until
                until = None if ban_s is None else now + ban_s
                conn.execute(sa.insert(banned_addresses).values(address=address, banned_at=now, until=until))
        done = {
            "cancelled": ended,
            "hidden": hidden,
            "visitors": newly,
            "addresses": sorted(set(addresses)) if ban else [],
            "before": before,
        }
        row = {"id": new_id(newest(conn, bulk_actions.c.id)), "at": now, "done": done, "undone_at": None}
        conn.execute(sa.insert(bulk_actions).values(**row))
    return _action(row)


def undo(db: sa.Engine, action_id: str) -> Action:
    """Show again what an action hid and lift the bans it made; jobs that it ended stay so.

    Bans that were made since then stay, and those of addresses that it took the place of are there again. Raises
    UnknownAction.
    """
    if not is_id(action_id):
        raise UnknownAction(action_id)
    with writing(db) as conn:
        now = clock(conn)
        row = conn.execute(
            sa.update(bulk_actions)
            .where(bulk_actions.c.id == action_id, bulk_actions.c.undone_at.is_(None))
            .values(undone_at=now)
            .returning(bulk_actions)
        ).one_or_none()
        if row is None:
            raise UnknownAction(action_id)
        its_own = visitors_table.c.id.in_(row.done["visitors"]), visitors_table.c.banned_at == row.at
        conn.execute(sa.update(visitors_table).where(*its_own).values(banned_at=None, changed_at=now))
        for address in row.done["addresses"]:
            if _take_ban(conn, address, made_at=row.at) is not None:
                _put_back(conn, address, *row.done.get("before", {}).get(address, ()))
        _set_hidden(conn, row.done["hidden"], False)
    return _action(row._mapping)


def _take_ban(conn: sa.Connection, address: str, made_at: float | None = None) -> Any:
    """The ban of an address, which is lifted with this; None where there is none, or none made then."""
    found = sa.delete(banned_addresses).where(banned_addresses.c.address == address)
    if made_at is not None:
        found = found.where(banned_addresses.c.banned_at == made_at)
    return conn.execute(found.returning(*banned_addresses.c)).one_or_none()


def _put_back(conn: sa.Connection, address: str, banned_at: float | None = None, until: float | None = None) -> None:
    """The ban that another took the place of, unless it was taken back meanwhile."""
    undone = sa.select(bulk_actions.c.id).where(bulk_actions.c.at == banned_at, bulk_actions.c.undone_at.is_not(None))
    if banned_at is not None and conn.scalar(undone.limit(1)) is None:
        conn.execute(sa.insert(banned_addresses).values(address=address, banned_at=banned_at, until=until))


def lift_address(db: sa.Engine, address: str) -> None:
    """Open queue and votes to an address again."""
    with writing(db) as conn:
        conn.execute(sa.delete(banned_addresses).where(banned_addresses.c.address == address))


def actions(db: sa.Engine, *, limit: int = 5) -> list[Action]:
    """What was done to several at once, the last first."""
    with reading(db) as conn:
        rows = conn.execute(sa.select(bulk_actions).order_by(bulk_actions.c.id.desc()).limit(limit)).all()
    return [_action(row._mapping) for row in rows]


def _action(row: Any) -> Action:
    done = row["done"]
    return Action(
        row["id"],
        row["at"],
        done["cancelled"],
        len(done["hidden"]),
        tuple(done["visitors"]),
        tuple(done["addresses"]),
        row["undone_at"],
    )


def _ban_visitor(conn: sa.Connection, visitor: str, now: float) -> list[str]:
    """Who was not banned before, so that taking this back does not lift an older ban."""
    if conn.scalar(sa.select(visitors_table.c.banned_at).where(visitors_table.c.id == visitor)) is not None:
        return []
    put(conn, visitor, {"banned_at": now})
    return [visitor]


def _their_jobs(
    conn: sa.Connection,
    who: Sequence[str],
    addresses: Sequence[str],
    wanted: Callable[[], sa.ColumnElement[bool]],
) -> Iterator[str]:
    found: set[str] = set()
    for column, some in ((jobs.c.submitter, who), (jobs.c.address, addresses)):
        for i in range(0, len(some), _AT_ONCE):
            found.update(conn.scalars(sa.select(jobs.c.id).where(column.in_(some[i : i + _AT_ONCE]), wanted())))
    yield from sorted(found)


def _set_hidden(conn: sa.Connection, job_ids: Sequence[str], hidden: bool) -> None:
    for i in range(0, len(job_ids), _AT_ONCE):
        conn.execute(sa.update(jobs).where(jobs.c.id.in_(job_ids[i : i + _AT_ONCE])).values(hidden=hidden))
