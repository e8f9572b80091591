"""Pictures that were given and that no job names go again: when each is due."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("artefacts", sa.Column("due_at", sa.Double(), nullable=True))
    op.create_index("ix_artefacts_due", "artefacts", ["due_at"], unique=False)
