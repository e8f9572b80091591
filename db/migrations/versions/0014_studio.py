"""A database says which studio it belongs to, so that it is not mistaken for another; a job says what it waits for."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

from db.identity import APPLICATION_ID

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("waits_for", sa.String(length=16), nullable=True))
    table = op.create_table("studio", sa.Column("id", sa.String(length=32), primary_key=True))
    op.bulk_insert(table, [{"id": secrets.token_hex(16)}])
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"PRAGMA application_id = {APPLICATION_ID}")
