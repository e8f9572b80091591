"""Deleting all that an event has left: jobs, files, votes, sheets, names and bans. The host's rules and keys stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from db.artefacts import Store
from db.engine import reading, writing
from db.errors import StillRunning
from db.jobs import State
from db.rules import host_rules
from db.schema import (
    artefacts,
    banned_addresses,
    bulk_actions,
    events,
    jobs,
    marks,
    members,
    orders,
    refinements,
    stages,
    submissions,
    visitors,
    votes,
    webhooks,
)

AT_ONCE = 500

# What refers to a job goes before the jobs.
_TABLES = (votes, marks, stages, refinements, members, submissions, events, webhooks, orders, artefacts, jobs)
# Whoever writes to several of these does so in this order, so that nobody waits for somebody who waits for them.
# Writing to any other table follows, in the same transaction, a write to one of these.
LOCKED = (visitors, refinements, submissions, jobs, artefacts, votes)


@dataclass(frozen=True)
class Forgotten:
    """How much was deleted."""

    jobs: int
    files: int


def forget_everything(db: sa.Engine, store: Store) -> Forgotten:
    """Delete every job, waiting ones included, with its files, events and votes, every upload, name and ban.

    The queue must be paused and nothing may run, so that no executor writes to what is being deleted: raises
    StillRunning otherwise. Where it is broken off, the next call goes on.
    """
    with reading(db) as conn:
        _check_still(conn)
    files = 0
    # Files first, some at a time: rows without files can be deleted later, files without rows would be forgotten.
    while keys := _next_keys(db):
        files += _delete(store, keys)
        with writing(db) as conn:
            conn.execute(sa.delete(artefacts).where(artefacts.c.key.in_(keys)))
    with writing(db) as conn:
        if conn.dialect.name == "postgresql":
            conn.execute(sa.text(f"LOCK TABLE {', '.join(table.name for table in LOCKED)} IN EXCLUSIVE MODE"))
        _check_still(conn)
        late = conn.scalars(sa.select(artefacts.c.key)).all()
        count = conn.scalar(sa.select(sa.func.count()).select_from(jobs)) or 0
        conn.execute(sa.update(jobs).where(jobs.c.parent_id.is_not(None)).values(parent_id=None))
        for table in _TABLES:
            conn.execute(sa.delete(table))
        # Keys stay, and what they are called with their pictures.
        conn.execute(sa.delete(visitors).where(visitors.c.id.not_like("key:%")))
        for table in (banned_addresses, bulk_actions):
            conn.execute(sa.delete(table))
    return Forgotten(count, files + _delete(store, late))


def _check_still(conn: sa.Connection) -> None:
    running = conn.scalar(sa.select(sa.func.count()).where(jobs.c.state == State.RUNNING)) or 0
    if running or not host_rules.paused(conn):
        doing = f"{running} {'job is' if running == 1 else 'jobs are'} running" if running else "The queue is open"
        raise StillRunning(f"{doing}: pause the queue, wait until nothing runs, then delete.")


def _next_keys(db: sa.Engine) -> Sequence[str]:
    with reading(db) as conn:
        return conn.scalars(sa.select(artefacts.c.key).order_by(artefacts.c.id).limit(AT_ONCE)).all()


def _delete(store: Store, keys: Sequence[str]) -> int:
    for key in keys:
        store.delete(key)
    return len(keys)
