"""What programs send along with the jobs they ask for: a key that makes asking twice safe, and whom to tell at the end.

An order is remembered in the transaction that queues its jobs, so that a request which is repeated because its answer
was lost finds them. (Idempotency-Key: draft-ietf-httpapi-idempotency-key-header.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from db.engine import clock, reading
from db.errors import AlreadyOrdered, OrderReused
from db.jobs import Job, check_text
from db.schema import orders, webhooks

# What stands before the traceparent in the detail of the event that says a job was queued.
TRACED = "traceparent "
KEPT_S = 24 * 3600.0
MAX_KEY_LENGTH = 255


@dataclass(frozen=True)
class Webhook:
    """Where the end of a job is told, and the secret that signs what is sent there."""

    url: str
    secret: str


@dataclass(frozen=True)
class Order:
    """One request. key: the program's own name for it, None: it has none; fingerprint: a hash of what it asks for.

    traceparent: the span it is answered in (https://www.w3.org/TR/trace-context/), where traces are made. note: is told
    the ids of its jobs as they are queued, and those of the first time where it was made before. address: what stands
    for the one it comes from, see studio/addresses.py; None: not known, or none that counts.
    """

    key: str | None = None
    fingerprint: str = ""
    webhook: Webhook | None = None
    traceparent: str | None = None
    note: Callable[[Sequence[str]], None] | None = None
    address: str | None = None


def check(db: sa.Engine, submitter: str, order: Order) -> None:
    """Raises AlreadyOrdered, OrderReused, and BadValue for a key that cannot be kept."""
    with reading(db) as conn:
        check_new(conn, submitter, order)


def check_new(conn: sa.Connection, submitter: str, order: Order) -> None:
    """As `check`, inside the caller's transaction."""
    if order.key is None:
        return
    check_text("idempotency key", order.key, MAX_KEY_LENGTH)
    found = sa.select(orders).where(orders.c.submitter == submitter, orders.c.key == order.key)
    row = conn.execute(found.where(sa.not_(_outlived(clock(conn))))).one_or_none()
    if row is None:
        return
    if row.fingerprint != order.fingerprint:
        raise OrderReused(order.key)
    if order.note is not None:
        order.note(row.job_ids)
    raise AlreadyOrdered(list(row.job_ids))


def remember(conn: sa.Connection, submitter: str, order: Order, made: Sequence[Job]) -> None:
    """Note the jobs of an order in the transaction that queues them."""
    now = clock(conn) if order.key is not None or order.webhook is not None else 0.0
    if order.key is not None:
        conn.execute(sa.delete(orders).where(_outlived(now)))
        row = {"submitter": submitter, "key": order.key, "fingerprint": order.fingerprint, "created_at": now}
        conn.execute(sa.insert(orders).values(**row, job_ids=[job.id for job in made]))
    if order.webhook is not None:
        hook = {"url": order.webhook.url, "secret": order.webhook.secret, "tries": 0, "due_at": now, "since": now}
        conn.execute(sa.insert(webhooks), [{"job_id": job.id, **hook} for job in made])
    if order.note is not None:
        order.note([job.id for job in made])


def _outlived(now: float) -> sa.ColumnElement[bool]:
    """Made too long ago, or so far ahead that the clock must have been wrong then: kept on until that day otherwise."""
    return sa.or_(orders.c.created_at <= now - KEPT_S, orders.c.created_at >= now + KEPT_S)
