"""The queue: who may do what to a job, each step one guarded UPDATE ... RETURNING and one event row.

All calls take the engine of `db.engine.connect` first and are safe with any number of processes.
They raise the errors of `db.errors`; DatabaseUnavailable may come from any of them.
"""

from db.queue.asking import KEEP, PAUSE, asked_of, go_on, keep, pause
from db.queue.claiming import claim, claim_this
from db.queue.enqueueing import NO_LIMITS, NO_ORDER, Limits, NewJob, check, enqueue
from db.queue.estimate import places, position_and_wait
from db.queue.listing import (
    NOT_NARROWED,
    Event,
    Narrowed,
    children,
    counts,
    events,
    get,
    get_each,
    list_jobs,
    live_of,
    prompts_of,
    queued_jobs,
    running_jobs,
    seen_among,
    set_hidden,
    to_be_cancelled,
)
from db.queue.losses import came_back, lose, requeue_expired
from db.queue.orders import TRACED, Order, Webhook
from db.queue.orders import check as check_order
from db.queue.slices import to_make_room, waits
from db.queue.suspects import makes_way
from db.queue.transitions import (
    PAUSED,
    Progress,
    cancel_now,
    fail,
    heartbeat,
    heartbeats,
    release,
    request_cancel,
    succeed,
    to_front,
)

__all__ = [
    "KEEP",
    "NOT_NARROWED",
    "NO_LIMITS",
    "NO_ORDER",
    "PAUSE",
    "PAUSED",
    "TRACED",
    "Event",
    "Limits",
    "Narrowed",
    "NewJob",
    "Order",
    "Progress",
    "Webhook",
    "asked_of",
    "came_back",
    "cancel_now",
    "check",
    "check_order",
    "children",
    "claim",
    "claim_this",
    "counts",
    "enqueue",
    "events",
    "fail",
    "get",
    "get_each",
    "go_on",
    "heartbeat",
    "heartbeats",
    "keep",
    "list_jobs",
    "live_of",
    "lose",
    "makes_way",
    "pause",
    "places",
    "position_and_wait",
    "prompts_of",
    "queued_jobs",
    "release",
    "request_cancel",
    "requeue_expired",
    "running_jobs",
    "seen_among",
    "set_hidden",
    "succeed",
    "to_be_cancelled",
    "to_front",
    "to_make_room",
    "waits",
]
