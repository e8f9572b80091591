"""PostgreSQL: an executor looks and claims the job whose turn it is in one statement: each takes a way there and back.

It passes over what another executor is claiming just now, to the first jobs of other lines and then to the next ones of
each, but never to a lower priority: where others hold all that it finds of the highest one it claims nothing, and
`db.queue.claiming` looks again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import BIT

from db.engine import own_clock, told_or_servers_clock
from db.jobs import State, new_stamp
from db.prepared import Prepared
from db.queue.fair_order import NEWEST_ID, NEWEST_TURN, claimable, in_line, in_turn, listed_values
from db.queue.suspects import SUSPECT_WAITING, SUSPECTS_HELD
from db.queue.transitions import earlier, noting
from db.rules import host_rules
from db.schema import jobs

# What an executor has to know before it looks whose turn it is.
LOOK = sa.select(
    sa.select(jobs.c.id).where(jobs.c.state == State.QUEUED).limit(1).scalar_subquery().label("waits"),
    host_rules.PAUSED.scalar_subquery().label("paused"),
    SUSPECTS_HELD.scalar_subquery().label("suspects_held"),
    SUSPECT_WAITING.scalar_subquery().label("suspect_waiting"),
    NEWEST_ID.scalar_subquery().label("newest_id"),
    NEWEST_TURN.scalar_subquery().label("newest_turn"),
    told_or_servers_clock("at").label("at"),
)
# So many more jobs are looked at than are wanted where several executors can claim at a time: what another one is
# taking just now is passed over, at no look more. A batch is taken in one transaction, and others take some meanwhile.
SPARE = 12
LOOKED_AT = (1 + SPARE, 128, 1024)  # and more and more where all of them are being taken
_BEHIND_ALL_IDS = "g"  # they are made of hexadecimal digits


def look_and_claim(
    conn: sa.Connection,
    *,
    worker_id: str,
    engines: Collection[str] | None,
    behind: Collection[str] = (),
    lease_s: float,
    wanted: int = 1,
    batch_key: str | None = None,
    looked_at: int = 0,
) -> list[Any]:
    """Rows of LOOK, each with a job that was claimed with it, in the order of their turns; one whose id is NULL where
    none was, as where the queue is paused or a suspect matters. engines, behind, batch_key: as for
    `db.queue.fair_order.heads`. wanted: how many at most. looked_at: 0 for the first job of each line alone; else
    the next ones of fewer lines as well, so many in all. `seen` is how many were looked at."""
    lengths, listed = listed_values(engines=list(engines or ()), behind=sorted(behind))
    own = {"worker_id": worker_id, "lease_s": lease_s, "at": own_clock(conn), "new_turn": int(new_stamp(), 16)}
    own |= {"wanted": wanted} | ({} if batch_key is None else {"batch_key": batch_key})
    rows = _statement(*lengths, batch_key is not None, looked_at).all(conn, {**listed, **own})
    return sorted(rows, key=lambda row: row.turn or "")


@lru_cache(128)
def _statement(engines: int, behind: int, of_batch: bool, looked_at: int) -> Prepared:
    look = LOOK.cte("look").prefix_with("MATERIALIZED")
    paused = sa.cast(look.c.paused, sa.Text)
    free = sa.and_(
        sa.or_(paused.is_(None), paused == "false"), look.c.suspects_held == 0, look.c.suspect_waiting.is_(None)
    )
    ready, _, order = in_turn((engines, 0, behind, 0), of_batch)
    highest = sa.select(sa.func.max(ready.c.priority)).scalar_subquery()
    place = sa.func.row_number().over(order_by=order).label("place")
    heads = (
        sa.select(ready.c.id, ready.c.submitter, ready.c.priority, place)
        .where(sa.select(free).scalar_subquery(), ready.c.priority == highest)
        .order_by(place)
        .limit(looked_at or LOOKED_AT[0])
        .cte("heads")
        .prefix_with("MATERIALIZED")
    )
    first = heads
    if looked_at:
        first = _with_the_next(heads, engines, of_batch, looked_at).cte("next").prefix_with("MATERIALIZED")
    # In that order, one after the other until one is free. Among all that wait no job is looked for: no index has what
    # coalesce makes of a state.
    locked = (
        sa.select(jobs.c.id)
        .where(jobs.c.id == first.c.id, sa.func.coalesce(jobs.c.state, "") == State.QUEUED, claimable(jobs))
        .correlate(first)
        .with_for_update(skip_locked=True)
        .lateral("locked")
    )
    picked = (
        sa.select(locked.c.id, first.c.place)
        .select_from(first)
        .join(locked, sa.true())
        .limit(sa.bindparam("wanted", type_=sa.Integer))
        .cte("picked")
        .prefix_with("MATERIALIZED")
    )
    at = told_or_servers_clock("at")  # which is the same all through a statement
    worker_id = sa.bindparam("worker_id", type_=sa.String)
    lease_s = sa.bindparam("lease_s", type_=sa.Double)
    # As an array, they are looked up one by one, however large the server takes the table for.
    these = sa.any_(sa.func.array(sa.select(picked.c.id).scalar_subquery()))
    changed = (
        to_running({"worker_id": worker_id, "started_at": at, "turn": _turn(look, picked), "lease_s": lease_s})
        .where(jobs.c.id == these)
        .values(lease_expires_at=at + lease_s)
        .returning(*jobs.c)
        .cte("changed")
    )
    said: dict[str, Any] = {"at": at, "kind": sa.literal("claimed"), "worker_id": worker_id, "detail": sa.null()}
    seen = sa.select(sa.func.count()).select_from(first).scalar_subquery().label("seen")
    every = sa.select(*look.c, seen, *changed.c).join_from(look, changed, sa.true(), isouter=True)
    return Prepared(every.add_cte(noting(changed, said)))


def _with_the_next(heads: sa.CTE, engines: int, of_batch: bool, looked_at: int) -> sa.Select[Any]:
    """The first jobs of these lines; where there are few of them, then the second ones, and so on. In a batch, a line
    ends before a paused job, which is not taken with the batch, and which nobody passes."""
    lines = sa.select(sa.func.count()).select_from(heads).scalar_subquery()

    def of_line(of: sa.FromClause) -> list[sa.ColumnElement[bool]]:
        return [*in_line(of, heads.c.submitter, engines, None), of.c.priority == heads.c.priority]

    job = jobs.alias("following")
    nth = sa.func.row_number().over(order_by=job.c.id).label("nth")
    wanted = of_line(job)
    if of_batch:
        paused = jobs.alias("paused")
        first_paused = sa.select(sa.func.min(paused.c.id)).where(*of_line(paused), paused.c.turn.is_not(None))
        wanted.append(job.c.id < sa.func.coalesce(first_paused.correlate(heads).scalar_subquery(), _BEHIND_ALL_IDS))
        wanted.append(job.c.batch_key == sa.bindparam("batch_key"))
    following = (
        sa.select(job.c.id, nth)
        .where(*wanted)
        .order_by(job.c.id)
        .offset(1)
        .limit(looked_at // lines)
        .lateral("following_jobs")
    )
    further = (
        sa.select(following.c.id, following.c.nth, heads.c.place)
        .select_from(heads)
        .join(following, sa.true())
        .where(lines < looked_at)
    )
    every = sa.union_all(sa.select(heads.c.id, sa.literal(1).label("nth"), heads.c.place), further).subquery()
    place = sa.func.row_number().over(order_by=(every.c.nth, every.c.place)).label("place")
    return sa.select(every.c.id, place).order_by(place).limit(looked_at)


def _turn(look: sa.CTE, picked: sa.CTE) -> sa.ScalarSelect[str]:
    """As `db.jobs.new_stamp` for each of those that are picked: the process's own, or one on from the newest where that
    is a stamp and not before it."""
    newest = sa.func.greatest(look.c.newest_id, look.c.newest_turn)
    number = sa.cast(sa.cast(sa.literal("x") + sa.func.left(newest, 14), BIT(56)), sa.BigInteger)
    is_stamp = newest.regexp_match("^(?!ffff)[0-9a-f]{14}")  # what begins so is beyond _MAX_US
    own = sa.bindparam("new_turn", type_=sa.BigInteger)
    first = sa.select(sa.func.greatest(own, sa.case((is_stamp, number + 1)))).select_from(look).scalar_subquery()
    before = picked.alias("before")
    earlier_ones = sa.select(sa.func.count()).where(before.c.place < picked.c.place).scalar_subquery()
    stamp = sa.func.lpad(sa.func.to_hex(first + earlier_ones), 14, "0")
    return sa.select(stamp).where(picked.c.id == jobs.c.id).scalar_subquery()


def to_running(new: Mapping[str, sa.ColumnElement[Any]]) -> sa.Update:
    """The UPDATE that claims jobs. new: who claims them, and when."""
    # Where the clock was set back meanwhile the job was asked for by now at the latest: no wait is negative.
    created_at = earlier(jobs.c.created_at, new["started_at"])
    values = {**new, "state": State.RUNNING, "from_step": jobs.c.step, "created_at": created_at}
    return sa.update(jobs).values(values)
