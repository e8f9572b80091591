"""Whether the host lets a job's picture onto the wall."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("on_wall", sa.Boolean(), nullable=True))
    op.create_index("ix_jobs_wall", "jobs", ["on_wall", "state", "id"])
