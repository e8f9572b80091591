"""Turns by a counter, the length of leases, and when waits began: the queue keeps its order when a clock is set."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("turn", sa.String(length=32), nullable=True))
    op.add_column("jobs", sa.Column("lease_s", sa.Double(), nullable=True))
    op.add_column("webhooks", sa.Column("since", sa.Double(), nullable=True))
    # Turns that still count are the last ones of those who wait: to write to all jobs would take long.
    stamp = (
        "printf('%014x', CAST(started_at * 1000000 AS INTEGER))"
        if op.get_bind().dialect.name == "sqlite"
        else "lpad(to_hex(CAST(started_at * 1000000 AS BIGINT)), 14, '0')"
    )
    op.execute(
        f"UPDATE jobs SET turn = {stamp} WHERE started_at IS NOT NULL AND id IN ("
        "SELECT id FROM (SELECT id, state, row_number() OVER (PARTITION BY submitter ORDER BY started_at DESC) AS nth "
        "FROM jobs WHERE started_at IS NOT NULL AND submitter IN ("
        "SELECT submitter FROM jobs WHERE state IN ('queued', 'running'))) AS latest "
        "WHERE nth = 1 OR state = 'running')"
    )
    op.drop_index("ix_jobs_served", "jobs")
    op.create_index("ix_jobs_served", "jobs", ["submitter", "turn"], unique=False)
    op.create_index("ix_jobs_turn", "jobs", ["turn"], unique=False)
