"""Turns by address, bans of addresses, who has shown the event's code, and what the host did to many at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_index("ix_jobs_address_turn", "jobs", ["address", "turn"], unique=False)
    op.create_index("ix_jobs_address_id", "jobs", ["address", "id"], unique=False)
    op.create_index("ix_votes_address", "votes", ["address", "id"], unique=False)
    op.add_column("visitors", sa.Column("code", sa.String(length=64), nullable=True))
    op.create_table(
        "banned_addresses",
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("banned_at", sa.Double(), nullable=False),
        sa.Column("until", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("address"),
    )
    op.create_table(
        "bulk_actions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("done", sa.JSON(), nullable=False),
        sa.Column("undone_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
