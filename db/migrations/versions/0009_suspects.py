"""Jobs whose executor was lost run alone until they are past that step, and what failed can be tried again, once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("suspect_step", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("suspect_ran_s", sa.Double(), nullable=True))
    op.add_column("jobs", sa.Column("losses", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("lost_alone", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("retried_as", sa.String(length=32), nullable=True))
    op.create_index("ix_jobs_suspect", "jobs", ["state", "suspect_step"], unique=False)
