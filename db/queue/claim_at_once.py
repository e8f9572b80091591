"""PostgreSQL: an executor looks and claims the job whose turn it is in one statement: each takes a way there and back.

It passes over what another executor is claiming just now, but never to a lower priority: where others hold all that it
finds of the highest one it claims nothing, and `db.queue.claiming` looks again.
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
from db.queue.fair_order import NEWEST_ID, NEWEST_TURN, claimable, in_turn, listed_values
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
# taking just now is passed over, at no look more.
SPARE = 12


def look_and_claim(
    conn: sa.Connection,
    *,
    worker_id: str,
    engines: Collection[str] | None,
    behind: Collection[str] = (),
    lease_s: float,
) -> Any:
    """A row of LOOK, and of the job that was claimed with it: its id is NULL where none was, as where the queue is
    paused or a suspect matters. engines, behind: as for `db.queue.fair_order.heads`."""
    lengths, listed = listed_values(engines=list(engines or ()), behind=sorted(behind))
    own = {"worker_id": worker_id, "lease_s": lease_s, "at": own_clock(conn), "new_turn": new_stamp()}
    return _statement(*lengths).all(conn, {**listed, **own})[0]


@lru_cache(128)
def _statement(engines: int, behind: int) -> Prepared:
    look = LOOK.cte("look").prefix_with("MATERIALIZED")
    paused = sa.cast(look.c.paused, sa.Text)
    free = sa.and_(
        sa.or_(paused.is_(None), paused == "false"), look.c.suspects_held == 0, look.c.suspect_waiting.is_(None)
    )
    ready, _, order = in_turn((engines, 0, behind, 0))
    highest = sa.select(sa.func.max(ready.c.priority)).scalar_subquery()
    first = (
        sa.select(ready.c.id)
        .where(sa.select(free).scalar_subquery(), ready.c.priority == highest)
        .order_by(*order)
        .limit(1 + SPARE)
        .cte("next")
        .prefix_with("MATERIALIZED")
    )
    # In that order, one after the other until one is free. Among all that wait no job is looked for: no index has what
    # coalesce makes of a state.
    locked = (
        sa.select(jobs.c.id)
        .where(jobs.c.id == first.c.id, sa.func.coalesce(jobs.c.state, "") == State.QUEUED, claimable(jobs))
        .correlate(first)
        .with_for_update(skip_locked=True)
        .lateral("locked")
    )
    one = sa.select(locked.c.id).select_from(first).join(locked, sa.true()).limit(1).scalar_subquery()
    at = told_or_servers_clock("at")  # which is the same all through a statement
    worker_id = sa.bindparam("worker_id", type_=sa.String)
    lease_s = sa.bindparam("lease_s", type_=sa.Double)
    changed = (
        to_running(one, {"worker_id": worker_id, "started_at": at, "turn": _turn(look), "lease_s": lease_s})
        .values(lease_expires_at=at + lease_s)
        .returning(*jobs.c)
        .cte("changed")
    )
    said: dict[str, Any] = {"at": at, "kind": sa.literal("claimed"), "worker_id": worker_id, "detail": sa.null()}
    return Prepared(
        sa.select(*look.c, *changed.c).join_from(look, changed, sa.true(), isouter=True).add_cte(noting(changed, said))
    )


def _turn(look: sa.CTE) -> sa.ScalarSelect[str]:
    """As `db.jobs.new_stamp`: the process's own, or one on from the newest where that is a stamp and not before it."""
    newest = sa.func.greatest(look.c.newest_id, look.c.newest_turn)
    number = sa.cast(sa.cast(sa.literal("x") + sa.func.left(newest, 14), BIT(56)), sa.BigInteger)
    following = sa.func.lpad(sa.func.to_hex(number + 1), 14, "0")
    is_stamp = newest.regexp_match("^(?!ffff)[0-9a-f]{14}")  # what begins so is beyond _MAX_US
    own = sa.bindparam("new_turn", type_=sa.String)
    return sa.select(sa.func.greatest(own, sa.case((is_stamp, following)))).select_from(look).scalar_subquery()


def to_running(one: sa.ScalarSelect[str], new: Mapping[str, sa.ColumnElement[Any]]) -> sa.Update:
    """The UPDATE that claims this job. new: who claims it, and when."""
    # Where the clock was set back meanwhile the job was asked for by now at the latest: no wait is negative.
    created_at = earlier(jobs.c.created_at, new["started_at"])
    values = {**new, "state": State.RUNNING, "from_step": jobs.c.step, "created_at": created_at}
    return sa.update(jobs).where(jobs.c.id == one).values(values)
