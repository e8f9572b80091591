"""Tables of the studio. Times are UTC seconds since 1970 (float), ids are text that sorts in the order of making.

The tables as they are now; how an older database becomes this one is in `db/migrations/`.
"""

from db.schema.base import REVISION, metadata
from db.schema.people import api_keys, banned_addresses, bulk_actions, host_sessions, host_settings, studio, visitors
from db.schema.pictures import (
    artefacts,
    boards,
    datasets,
    marks,
    members,
    refinements,
    stages,
    submissions,
    trained_models,
    votes,
)
from db.schema.queue import erasures, events, jobs, orders, webhooks, workers
from db.schema.search import embeddings, searches

__all__ = [
    "REVISION",
    "api_keys",
    "artefacts",
    "banned_addresses",
    "boards",
    "bulk_actions",
    "datasets",
    "embeddings",
    "erasures",
    "events",
    "host_sessions",
    "host_settings",
    "jobs",
    "marks",
    "members",
    "metadata",
    "orders",
    "refinements",
    "searches",
    "stages",
    "studio",
    "submissions",
    "trained_models",
    "visitors",
    "votes",
    "webhooks",
    "workers",
]
