"""The studio itself, its host, visitors and programs."""

from __future__ import annotations

import sqlalchemy as sa

from db.schema.base import metadata

# One row: what this database is told from every other by, see db/identity.py.
studio = sa.Table("studio", metadata, sa.Column("id", sa.String(32), primary_key=True))

# What the host has set while the studio runs; what is not here is as settings.py says. See db/rules/host_rules.py.
host_settings = sa.Table(
    "host_settings",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.JSON, nullable=False),
    sa.Column("changed_at", sa.Double, nullable=False),
)

# Only visitors who gave a name, were banned or have shown the event's code have a row. code: what stands for the one
# they have shown, see db/rules/event_code.py.
visitors = sa.Table(
    "visitors",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("name", sa.String(40)),
    sa.Column("banned_at", sa.Double),
    sa.Column("changed_at", sa.Double, nullable=False),
    sa.Column("code", sa.String(64)),
)

# Addresses that queue and votes are closed to. until: UTC s; NULL: until the host opens them again.
banned_addresses = sa.Table(
    "banned_addresses",
    metadata,
    sa.Column("address", sa.String(64), primary_key=True),
    sa.Column("banned_at", sa.Double, nullable=False),
    sa.Column("until", sa.Double),
)

# What the host did to several visitors at once, so that it can be taken back: see db/evening/bulk.py.
bulk_actions = sa.Table(
    "bulk_actions",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("done", sa.JSON, nullable=False),
    sa.Column("undone_at", sa.Double),
)

# What programs show to be let in: a key is kept as its SHA-256 alone. scope: read, submit or host, each with those
# before it. max_queued, max_per_hour: its own limits; NULL: those of everybody.
api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("name", sa.String(40), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("scope", sa.String(16), nullable=False),
    sa.Column("max_queued", sa.Integer),
    sa.Column("max_per_hour", sa.Integer),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("revoked_at", sa.Double),
)

# Browsers in which the host has signed in. sha256: of what its cookie holds; NULL until the browser has fetched that
# with the ticket (kept as its SHA-256 too), once and before ticket_until. credential: of the password then, so that
# another one ends it. label: the browser in words.
host_sessions = sa.Table(
    "host_sessions",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("sha256", sa.String(64), unique=True),
    sa.Column("ticket", sa.String(64), unique=True),
    sa.Column("ticket_until", sa.Double),
    sa.Column("label", sa.String(80), nullable=False),
    sa.Column("credential", sa.String(64), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("seen_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double),
)
