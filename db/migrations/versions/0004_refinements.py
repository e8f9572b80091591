"""Refinements: rows of pictures, each made from what was marked in an earlier one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "refinements",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("submitter", sa.String(length=128), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_refinements_submitter", "refinements", ["submitter", "id"], unique=False)
    op.create_table(
        "stages",
        sa.Column("submission_id", sa.String(length=32), nullable=False),
        sa.Column("refinement_id", sa.String(length=32), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["submission_id"], ["submissions.id"]),
        sa.ForeignKeyConstraint(["refinement_id"], ["refinements.id"]),
        sa.PrimaryKeyConstraint("submission_id"),
        sa.UniqueConstraint("refinement_id", "place", name="uq_stages_place"),
    )
    op.create_table(
        "marks",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("refinement_id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"]),
        sa.ForeignKeyConstraint(["refinement_id"], ["refinements.id"]),
        sa.PrimaryKeyConstraint("job_id"),
    )
    op.create_index("ix_marks_refinement", "marks", ["refinement_id"], unique=False)
