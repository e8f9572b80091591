"""Boards: pictures that a visitor keeps under a name, and favourites; the gallery in the order of the scores."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.create_table(
        "boards",
        sa.Column("submitter", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"]),
        sa.PrimaryKeyConstraint("submitter", "name", "job_id"),
    )
    op.create_index("ix_boards_job", "boards", ["job_id"])
    op.create_index("ix_jobs_score", "jobs", ["state", "score", "id"])
