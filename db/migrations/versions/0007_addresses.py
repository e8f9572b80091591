"""Who gave a file and from where jobs, files and votes came, so that limits hold for more than a cookie."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("address", sa.String(length=64), nullable=True))
    op.create_index("ix_jobs_address", "jobs", ["address", "state", "id"], unique=False)
    op.add_column("artefacts", sa.Column("giver", sa.String(length=128), nullable=True))
    op.add_column("artefacts", sa.Column("address", sa.String(length=64), nullable=True))
    op.create_index("ix_artefacts_giver", "artefacts", ["giver", "id"], unique=False)
    op.create_index("ix_artefacts_address", "artefacts", ["address", "id"], unique=False)
    op.add_column("votes", sa.Column("address", sa.String(length=64), nullable=True))
    op.add_column("votes", sa.Column("voter_since", sa.Double(), nullable=True))
