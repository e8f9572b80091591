"""Indexes of what few jobs have hold those jobs alone, so that every change of another job touches fewer pages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

INDEXES = {
    "ix_jobs_style": (["style", "state", "id"], "style"),
    "ix_jobs_served": (["submitter", "turn"], "turn"),
    "ix_jobs_turn": (["turn"], "turn"),
    "ix_jobs_parent": (["parent_id", "id"], "parent_id"),
    "ix_jobs_address": (["address", "state", "id"], "address"),
    "ix_jobs_address_turn": (["address", "turn"], "turn"),
    "ix_jobs_address_id": (["address", "id"], "address"),
    "ix_jobs_finished": (["engine", "state", "finished_at"], "finished_at"),
    "ix_jobs_score": (["state", "score", "id"], "score"),
    "ix_jobs_suspect": (["state", "suspect_step"], "suspect_step"),
}


def upgrade() -> None:
    for name, (columns, column) in INDEXES.items():
        is_set = sa.text(f"{column} IS NOT NULL")
        op.drop_index(name, "jobs")
        op.create_index(name, "jobs", columns, sqlite_where=is_set, postgresql_where=is_set)


def downgrade() -> None:
    for name, (columns, _) in INDEXES.items():
        op.drop_index(name, "jobs")
        op.create_index(name, "jobs", columns)
