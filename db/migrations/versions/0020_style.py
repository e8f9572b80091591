"""The style of a job in a column of its own, so that those of one style are found by an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("style", sa.String(length=64), nullable=True))
    jobs = sa.table("jobs", sa.column("style", sa.String), sa.column("params", sa.JSON))
    style = jobs.c.params["style"].as_string()
    op.execute(sa.update(jobs).where(sa.func.length(style) <= 64).values(style=style))
    op.create_index("ix_jobs_style", "jobs", ["style", "state", "id"])
