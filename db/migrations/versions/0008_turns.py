"""What jobs cost and may cost, and how executors share their places, so that one press does not block the studio."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    for name in ("spent_s", "budget_s", "ran_s"):
        op.add_column("jobs", sa.Column(name, sa.Double(), nullable=True))
    op.add_column("jobs", sa.Column("from_step", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("pixels", sa.BigInteger(), nullable=True))
    for name in ("slice_s", "share"):
        op.add_column("workers", sa.Column(name, sa.Double(), nullable=True))
